"""The reader at work: packs a question and its candidate sentences, and scores them on ONNX Runtime.

Its model reads the morphemes of question, heading, sentence and neighbours (`compression.reading.model`). Training and
serving pack with the same `pack`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compression.reading.vectors import MORPHEMES, load_vectors
from compression.runtime import session
from retrieval.morphology import Morpheme, tagged_morphemes

Floats = NDArray[np.float32]

MODEL, VECTORS = "reader.onnx", "vectors.safetensors"
QUESTION, HEADING, SENTENCE, BEFORE, AFTER, EARLIER = range(1, 7)
SEGMENTS = {QUESTION: 28, EARLIER: 8, HEADING: 10, SENTENCE: 44, BEFORE: 8, AFTER: 8}
"""Morphemes kept of each segment."""
_TAGS = (
    "NNG NNP NNB NR NP VV VA VX VCP VCN MM MAG MAJ IC JKS JKC JKG JKO JKB JKV JKQ JX JC EP EF EC ETN ETM XPN XSN XSV "
    "XSA XSM XR SL SH SN SB UN W_URL W_EMAIL W_HASHTAG W_MENTION W_SERIAL W_EMOJI Z_CODA Z_SIOT USER0"
).split()
_TAG_NUMBERS = {tag: number for number, tag in enumerate(_TAGS, 1)}
_OTHER_TAG = 60
_PUNCTUATION = frozenset("SF SP SS SSO SSC SE SW SO".split())
_FUNCTION = frozenset("JKS JKC JKG JKO JKB JKV JKQ JX JC EP EF EC ETN ETM".split())
_MULTIPLE = 8
_RARITY = 10.0
_LONGEST = 400


@dataclass(frozen=True)
class Text:
    """A candidate as it is read: the sentence, title and headings above it, and its neighbours."""

    heading: str
    sentence: str
    before: str
    after: str


@dataclass(frozen=True)
class Packed:
    """Candidates of one question as arrays of [rows, length]: see `ReaderModel.forward`."""

    morphemes: NDArray[np.int64]
    tags: NDArray[np.int64]
    forms: NDArray[np.int64]
    segments: NDArray[np.int64]
    positions: NDArray[np.int64]
    weights: Floats


def pack(question: str, carried: Sequence[str], rarity: Mapping[str, float], texts: Sequence[Text]) -> Packed:
    """Packs candidates.

    Args:
        question: what is asked.
        carried: words of the conversation's topic that it leaves out.
        rarity: inverse document frequency of the question's words.
        texts: the candidates; at least one.
    """
    numbers: dict[str, int] = {}
    asked = [(QUESTION, _read(question)), (EARLIER, _read(" ".join(carried)))]
    rows = [
        [
            *asked,
            (HEADING, _read(text.heading)),
            (SENTENCE, _read(text.sentence)),
            (BEFORE, _content(text.before)),
            (AFTER, _content(text.after)),
        ]
        for text in texts
    ]
    kept = [[(part, _cut(part, morphemes)) for part, morphemes in row] for row in rows]
    longest = max(sum(len(morphemes) for _, morphemes in row) for row in kept)
    shape = (len(texts), -(-longest // _MULTIPLE) * _MULTIPLE)
    packed = Packed(
        morphemes=np.full(shape, MORPHEMES, np.int64),
        tags=np.zeros(shape, np.int64),
        forms=np.tile(-1 - np.arange(shape[1]), (shape[0], 1)),  # padding equals nothing
        segments=np.zeros(shape, np.int64),
        positions=np.zeros(shape, np.int64),
        weights=np.zeros(shape, np.float32),
    )
    for i, row in enumerate(kept):
        place = 0
        for part, morphemes in row:
            for position, morpheme in enumerate(morphemes):
                packed.morphemes[i, place] = morpheme.id if 0 <= morpheme.id < MORPHEMES else MORPHEMES
                packed.tags[i, place] = _TAG_NUMBERS.get(morpheme.tag, _OTHER_TAG)
                packed.forms[i, place] = numbers.setdefault(_form(morpheme), len(numbers))
                packed.segments[i, place], packed.positions[i, place] = part, position
                if part in (QUESTION, EARLIER):
                    packed.weights[i, place] = rarity.get(_form(morpheme), 0.0) / _RARITY
                place += 1
    return packed


class Reader:
    """Scores candidates; thread-safe."""

    def __init__(self, folder: Path, threads: int | None = None) -> None:
        """Loads the model and its morpheme vectors.

        Raises:
            ModelMissingError: a file is not there.
            ModelCorruptError: a file is damaged.
        """
        table, scales = load_vectors(folder / VECTORS)
        unknown = np.zeros((1, table.shape[1]), np.int8)
        self._table, self._scales = np.concatenate([table, unknown]), np.append(scales, np.float32(0))
        self._session = session(folder / MODEL, threads)

    def scores(self, packed: Packed, features: Floats, prior: Floats) -> Floats:
        """One score a candidate, float32 [rows]; all below 0 when none seems to answer.

        Args:
            packed: the candidates.
            features: float32 [rows, features].
            prior: float32 [rows], scores of the first stage.
        """
        inputs = {
            "vectors": self._table[packed.morphemes] * self._scales[packed.morphemes][..., None],
            "tags": packed.tags,
            "forms": packed.forms,
            "segments": packed.segments,
            "positions": packed.positions,
            "weights": packed.weights,
            "features": features.astype(np.float32),
            "prior": prior.astype(np.float32),
        }
        return np.asarray(self._session.run(["scores"], inputs)[0], np.float32)


def _read(text: str) -> list[Morpheme]:
    return [morpheme for morpheme in tagged_morphemes(text[:_LONGEST]) if morpheme.tag not in _PUNCTUATION]


def _content(text: str) -> list[Morpheme]:
    return [morpheme for morpheme in _read(text) if morpheme.tag not in _FUNCTION]


def _cut(segment: int, morphemes: list[Morpheme]) -> list[Morpheme]:
    """As many as the segment keeps: of what stands above or before, the last ones."""
    most = SEGMENTS[segment]
    return morphemes[-most:] if segment in (HEADING, BEFORE) else morphemes[:most]


def _form(morpheme: Morpheme) -> str:
    """What makes two morphemes the same word; a particle or an ending is never the same as a noun."""
    form = morpheme.form.replace(",", "").lower()
    return f"{form}/{morpheme.tag[0]}" if morpheme.tag in _FUNCTION else form
