"""Training examples as token arrays: grounded turns, small talk, running text and drills, in two phases.

The first phase teaches Korean and copying; the second, during which the learning rate decays, is mostly
questions that people wrote. Every number of the mixture is here.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from compression.language.corpus import articles, is_prose, read_jsonl, split_sentences
from compression.language.endings import is_plain, polite
from compression.language.grounded import (
    Turn,
    answer_text,
    korquad2_turns,
    natural_turns,
    smalltalk_turns,
    wiki_turns,
)
from compression.language.prompt import END, SPECIAL_TOKENS, Evidence, prompt_text

LENGTHS = (64, 128, 192, 256, 384)
"""Row lengths that batches are padded to: few, so that a compiled model is compiled few times."""


LABEL_WEIGHT = 10.0
"""Weight of an answer's label in the loss: one token decides which forty are copied."""


@dataclass(frozen=True)
class Example:
    """One row to train on.

    Attributes:
        ids: token ids, uint16 [length].
        loss_from: first position whose token is predicted for the loss.
        first_weight: weight of that token in the loss; the others weigh 1.
    """

    ids: NDArray[np.uint16]
    loss_from: int
    first_weight: float = 1.0


@dataclass(frozen=True)
class Mixture:
    """Shares of tokens by kind in one phase; they need not sum to one."""

    text: float
    wiki: float
    natural: float
    smalltalk: float
    induction: float


PHASES = (Mixture(0.24, 0.40, 0.30, 0.05, 0.01), Mixture(0.06, 0.24, 0.60, 0.10, 0.0))


def turn_example(turn: Turn, tokenizer: Tokenizer) -> Example | None:
    """A turn as tokens, with loss on the answer only; None when it is longer than the longest row."""
    prompt = tokenizer.encode(prompt_text(turn.question, turn.evidence, turn.history)).ids
    answer = tokenizer.encode(answer_text(turn)).ids
    if len(prompt) + len(answer) > LENGTHS[-1]:
        return None
    return Example(np.array(prompt + answer, np.uint16), len(prompt), LABEL_WEIGHT if turn.evidence else 1.0)


def _paragraphs(data: Path, shards: Sequence[int], rng: random.Random) -> Iterator[str]:
    for shard in shards:
        for article in articles(data, shard):
            if is_prose(article.text[:1500]):
                sentences = [s for s in split_sentences(article.text[:2500]) if len(s) < 200]
                styled = (
                    [polite(s) if is_plain(s) else s for s in sentences] if rng.random() < 0.4 else sentences
                )
                yield " ".join(styled)


def _colloquial(data: Path) -> Iterator[str]:
    for item in read_jsonl(data / "text" / "nsmc.jsonl.xz"):
        yield item["text"]


def text_examples(texts: Iterable[str], tokenizer: Tokenizer, length: int = 256) -> Iterator[Example]:
    """Running text packed into rows of one length, documents parted by the end token."""
    end = tokenizer.encode(END).ids
    buffer: list[int] = []
    for text in texts:
        buffer += tokenizer.encode(text).ids + end
        while len(buffer) >= length:
            yield Example(np.array(buffer[:length], np.uint16), 1)
            buffer = buffer[length:]


def induction_examples(vocab: int, seed: int, length: int = 128) -> Iterator[Example]:
    """Random token strings repeated: the quickest teacher of induction heads (Olsson et al., 2022)."""
    rng = np.random.default_rng(seed)
    low = len(SPECIAL_TOKENS)
    while True:
        period = int(rng.integers(8, length // 2))
        block = rng.integers(low, vocab, period)
        yield Example(np.resize(block, length).astype(np.uint16), period)


def _turn_examples(turns: Iterable[Turn], tokenizer: Tokenizer) -> Iterator[Example]:
    return (example for turn in turns if (example := turn_example(turn, tokenizer)) is not None)


def _strangers(data: Path) -> list[Evidence]:
    sample = itertools.islice(articles(data, 3), 0, 4000, 8)
    return [Evidence(a.title, s) for a in sample for s in split_sentences(a.text[:600])[:2] if len(s) < 150]


def _natural_passes(data: Path, seed: int) -> Iterator[Turn]:
    """Endless passes over people's questions, each with other distractors; KorQuAD 2 is read once."""
    strangers = _strangers(data)
    korquad2 = list(korquad2_turns(data, strangers, random.Random(seed)))  # noqa: S311
    for epoch in itertools.count():
        rng = random.Random(seed + epoch)  # noqa: S311
        turns = [*natural_turns(data, strangers, rng), *korquad2]
        rng.shuffle(turns)
        yield from turns


def sources(data: Path, tokenizer: Tokenizer, seed: int) -> dict[str, Iterator[Example]]:
    """An endless stream of examples for each kind in `Mixture`."""
    rng = random.Random(seed)  # noqa: S311
    wiki = itertools.chain.from_iterable(
        wiki_turns(data, (1, 2, 0, 3), rng, 10**9) for _ in itertools.count()
    )
    encyclopedic = text_examples(itertools.cycle(_paragraphs(data, (0, 3, 2, 1), rng)), tokenizer)
    colloquial = text_examples(itertools.cycle(_colloquial(data)), tokenizer)
    smalltalk = itertools.chain.from_iterable(smalltalk_turns(data) for _ in itertools.count())
    return {
        "text": _alternate(encyclopedic, colloquial, every=5),
        "wiki": _turn_examples(wiki, tokenizer),
        "natural": _turn_examples(_natural_passes(data, seed), tokenizer),
        "smalltalk": _shuffled(_turn_examples(smalltalk, tokenizer), rng),
        "induction": induction_examples(tokenizer.get_vocab_size(), seed),
    }


def _alternate(main: Iterator[Example], other: Iterator[Example], every: int) -> Iterator[Example]:
    for count in itertools.count():
        yield next(other if count % every == every - 1 else main)


def _shuffled(examples: Iterator[Example], rng: random.Random, window: int = 12_000) -> Iterator[Example]:
    while block := list(itertools.islice(examples, window)):
        rng.shuffle(block)
        yield from block


def batches(
    streams: dict[str, Iterator[Example]], mixture: Mixture, tokens_per_batch: int, seed: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Endless padded batches of one mixture.

    Yields:
        ids int64 [rows, length] padded with the end token, and float32 [rows, length]: how much each token's
        prediction weighs in the loss. ``rows · length`` is about ``tokens_per_batch``, ``length`` one of
        `LENGTHS`.
    """
    rng = random.Random(seed)  # noqa: S311
    shares = {kind: share for kind in streams if (share := getattr(mixture, kind)) > 0}
    spent = dict.fromkeys(shares, 0.0)
    waiting: dict[int, list[Example]] = {length: [] for length in LENGTHS}
    while True:
        kind = min(shares, key=lambda name: spent[name] / shares[name] + rng.random() * 1e-3)
        example = next(streams[kind])
        spent[kind] += len(example.ids)
        length = next(size for size in LENGTHS if len(example.ids) <= size)
        waiting[length].append(example)
        if len(waiting[length]) * length >= tokens_per_batch:
            yield _pad(waiting[length], length)
            waiting[length] = []


def _pad(examples: list[Example], length: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    ids = np.zeros((len(examples), length), np.int64)
    weights = np.zeros((len(examples), length), np.float32)
    for row, example in enumerate(examples):
        ids[row, : len(example.ids)] = example.ids
        weights[row, example.loss_from : len(example.ids)] = 1
        weights[row, example.loss_from] = example.first_weight
    return ids, weights
