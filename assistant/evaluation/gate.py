"""Fits the evidence gate on questions people asked of encyclopedia, public-service and our own texts.

Small collections ("worlds") are indexed as a person's documents would be. A part of the passages is left out, so
that the questions about them become near misses: the same topic is there, the answer is not. The first stage and
the reader learn which sentence holds the answer, or that none does. Both are scored on dialogues that were not
fitted.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from agents.encoder import Encoder
from assistant.context import context_of
from assistant.evaluation.paraphrases import paraphrase_lists
from assistant.evaluation.reading import List, Schedule, Trainer, export_readers
from assistant.evaluation.samples import packed
from assistant.evaluation.worlds import worlds
from assistant.grounding import (
    READ,
    SENTENCE_FEATURES,
    Candidate,
    ConditionalLogit,
    Question,
    choice,
    reading_list,
    relative,
    sentence_features,
)
from assistant.history import Message
from assistant.lookup import look_up
from assistant.reading import MODEL, VECTORS
from compression.language.collections import Asked, Collection, dialogue_collections
from compression.reading.vectors import kiwi_vectors, save_vectors
from retrieval.index import Index

Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]

_PARAPHRASES = Schedule(epochs=0.7)
_QUESTIONS = Schedule(epochs=1.5)
_READERS = 2
"""Trained from different seeds; their scores are averaged."""
_DIMENSION = 128
"""Of the reader's morpheme vectors: cosines in the leading 128 directions of 256 agree at .994."""


@dataclass(frozen=True)
class Observed:
    """What the search gave for one question.

    Attributes:
        candidates: sentences with their features.
        right: which of them hold the answer.
        weights: the index's idf of the question's terms as it was then.
    """

    question: Question
    candidates: list[Candidate]
    right: NDArray[np.bool_]
    weights: dict[str, float]

    def idf(self, terms: Sequence[str]) -> Floats:
        """The remembered weights, so that this stands in for the index."""
        return np.array([self.weights[term] for term in terms], np.float64)


def observe(world: Collection, encoder: Encoder) -> Iterator[Observed]:
    """Asks every question of a collection's index."""
    with tempfile.TemporaryDirectory() as home, tempfile.TemporaryDirectory() as folder:
        for name, text in world.documents.items():
            (Path(folder) / name).write_text(text, encoding="utf-8")
        with Index.open(Path(home), encoder) as index:
            index.ingest([Path(folder)])
            ids = {document.name: document.id for document in index.documents()}
            for asked in world.questions:
                if (observed := _observed(asked, ids, index, encoder)) is not None:
                    yield observed


def _observed(asked: Asked, ids: dict[str, str], index: Index, encoder: Encoder) -> Observed | None:
    """One question; earlier turns are taken to have been answered from its document."""
    outcome = {"sources": [{"document_id": ids[asked.document]}]} if asked.document in ids else None
    earlier = [
        message
        for q in asked.history
        for message in (Message("user", q, None, 0), Message("assistant", "", outcome, 0))
    ]
    context = context_of(asked.question, earlier)
    question, hits = look_up(asked.question, context, index, encoder)
    candidates = sentence_features(question, hits, index, encoder)
    if not candidates:
        return None
    weights = dict(zip(question.terms, index.idf(question.terms).tolist(), strict=True))
    return Observed(question, candidates, _right(asked, candidates), weights)


def _right(asked: Asked, candidates: Sequence[Candidate]) -> NDArray[np.bool_]:
    """Which candidates hold one of the answers, or are part of it."""
    texts = [packed(c.text) if c.hit.passage.document == asked.document else "" for c in candidates]
    return np.array([any(_holds(text, answer) for answer in asked.answers) for text in texts], np.bool_)


def _holds(text: str, answer: str) -> bool:
    """Whether a packed sentence holds an answer or is part of it; a table row is known by its cells."""
    if "|" in answer:
        cells = [packed(cell) for cell in answer.split("|") if cell.strip()]
        return bool(text) and all(cell in text for cell in cells)
    wanted = packed(answer)
    return wanted in text or (len(text) > 8 and text in wanted)


def _fit_sentences(seen: Sequence[Observed]) -> ConditionalLogit:
    """Maximum likelihood of a right candidate, or of none where there is none, by L-BFGS."""
    from scipy.optimize import minimize  # type: ignore[import-untyped]

    features = np.concatenate([relative(np.stack([c.features for c in o.candidates])) for o in seen])
    mean, scale = features.mean(axis=0), features.std(axis=0) + 1e-3
    inputs = np.column_stack([(features - mean) / scale, np.ones(len(features))])
    right = np.concatenate([o.right for o in seen])
    sizes = np.array([len(o.candidates) for o in seen])
    starts, question = np.cumsum(sizes) - sizes, np.repeat(np.arange(len(seen)), sizes)

    def loss(weights: Floats) -> tuple[float, Floats]:
        scores = inputs @ weights
        highest = np.maximum(np.maximum.reduceat(scores, starts), 0)
        exponents = np.exp(scores - highest[question])
        total = np.add.reduceat(exponents, starts) + np.exp(-highest)
        good = np.add.reduceat(exponents * right, starts)
        wanted = np.where(good > 0, good, np.exp(-highest))
        chosen = exponents * right / np.where(good > 0, good, 1)[question]
        gradient = inputs.T @ (exponents / total[question] - chosen) / len(seen) + 2e-4 * weights
        return float(np.mean(np.log(total / wanted)) + 1e-4 * weights @ weights), gradient

    found = minimize(loss, np.zeros(inputs.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 300}).x
    return ConditionalLogit(mean, scale, found[:-1], float(found[-1]))


def _read(observed: Observed, model: ConditionalLogit) -> List:
    """What the reader reads of it: the best of the first stage, and right ones that it left behind."""
    rows = relative(np.stack([c.features for c in observed.candidates]))
    prior = model.scores(rows)
    order = np.argsort(-prior, kind="stable")
    kept = [*order[:READ], *(i for i in order[READ:] if observed.right[i])]
    packed = reading_list(observed.question, [observed.candidates[i] for i in kept], observed)
    return List.of(
        packed, observed.right[kept], rows[kept].astype(np.float32), prior[kept].astype(np.float32)
    )


def fit(
    data: Path, out: Path, seed: int = 1, threshold: float = 0.33, vectors: Floats32 | None = None
) -> dict[str, Any]:
    """Fits both stages and writes them with the figures on the dev dialogues; an hour on two cores.

    Args:
        data: folder of training data.
        out: folder of the gate, e.g. ``models/gate``.
        seed: of the collections and the reader.
        threshold: probability from which the assistant answers.
        vectors: of the morphemes; taken from Kiwi unless given.

    Returns:
        ``sentence_accuracy`` (best sentence right, of questions whose answer was found), ``gate_auroc``.
    """
    encoder = Encoder.load()
    fitted, held_out = worlds(data, seed), list(dialogue_collections("dev"))
    bar = tqdm([*fitted, *held_out], unit="collection")
    observed = [list(observe(collection, encoder)) for collection in bar]
    train, test = sum(observed[: len(fitted)], []), sum(observed[len(fitted) :], [])
    sentence = _fit_sentences(train)
    table = kiwi_vectors(_texts(fitted), _DIMENSION) if vectors is None else vectors
    paraphrases, lists = paraphrase_lists(data, table, seed), [_read(o, sentence) for o in train]
    readers = [Trainer(table, 3 * len(SENTENCE_FEATURES), seed + i) for i in range(_READERS)]
    for reader in readers:
        reader.learn(paraphrases, _PARAPHRASES, "paraphrases")
        reader.normalise(lists)
        reader.learn(lists, _QUESTIONS, "questions")
    out.mkdir(parents=True, exist_ok=True)
    export_readers([reader.model for reader in readers], out / MODEL)
    save_vectors(table, out / VECTORS)
    figures = _figures([_read(o, sentence) for o in test], readers)
    config = {"sentence": _numbers(sentence), "reader": True, "threshold": threshold, "figures": figures}
    (out / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    return figures


def _texts(collections: Sequence[Collection]) -> Iterator[str]:
    for collection in collections:
        yield from collection.documents.values()


def _figures(test: Sequence[List], readers: Sequence[Trainer]) -> dict[str, Any]:
    from sklearn.metrics import roc_auc_score

    scores = [
        np.mean(some, axis=0) for some in zip(*(reader.scores(test) for reader in readers), strict=True)
    ]
    first = np.array([bool(item.right[values.argmax()]) for item, values in zip(test, scores, strict=True)])
    answerable = [bool(item.right.any()) for item in test]
    probabilities = [choice(values.astype(np.float64)).max() for values in scores]
    return {
        "questions": len(test),
        "sentence_accuracy": round(float(first[answerable].mean()), 4),
        "gate_auroc": round(float(roc_auc_score(answerable, probabilities)), 4),
    }


def _numbers(model: ConditionalLogit) -> dict[str, Any]:
    rounded = {key: [round(float(v), 6) for v in getattr(model, key)] for key in ("mean", "scale", "weights")}
    return {**rounded, "bias": round(model.bias, 6)}
