"""Trains the static sentence encoder: ``damso train encoder --data DIR``.

Subwords by a unigram language model (Kudo 2018, arXiv:1804.10959), starting vectors from the spectrum of the
positive pointwise mutual information of subwords that stand near each other (Levy & Goldberg 2014), then
contrastive training with in-batch negatives (Henderson et al. 2017, arXiv:1705.00652) in PyTorch on one core.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from tqdm import tqdm

from agents import corpus, encoder
from agents.corpus import Pairs
from agents.encoder import Encoder
from compression.language.corpus import read_jsonl
from compression.language.spectral import positive_pmi

if TYPE_CHECKING:
    import torch

UNKNOWN = "[UNK]"


@dataclass(frozen=True)
class Recipe:
    """How an encoder is trained.

    Attributes:
        vocabulary: number of subwords.
        dimension: length of a vector.
        sample_characters: plain text for the vocabulary and the co-occurrence counts.
        clozes_per_article: inverse-cloze pairs taken from one Wikipedia article.
        steps: optimiser steps.
        batch: pairs a step.
        learning_rate: Adam's peak rate, falling to zero along a line.
        temperature: divides the cosines before the softmax.
        similarity_weight: weight of the KorSTS regression beside the contrastive loss.
        seed: of everything random.
    """

    vocabulary: int = 32_000
    dimension: int = 256
    sample_characters: int = 16_000_000
    clozes_per_article: int = 2
    steps: int = 1500
    batch: int = 1024
    learning_rate: float = 5e-3
    temperature: float = 0.05
    similarity_weight: float = 2.0
    seed: int = 0


def train(data: Path, out: Path, recipe: Recipe | None = None) -> dict[str, float]:
    """Train an encoder and write it with its figures.

    Args:
        data: the data folder.
        out: where ``encoder.safetensors``, ``tokenizer.json`` and ``config.json`` go.
        recipe: sizes and rates; None means the embedded encoder's.

    Returns:
        The figures of :func:`evaluate`.

    Raises:
        TrainingDataError: a file of ``data`` is missing or malformed.
    """
    recipe = recipe or Recipe()
    chooser = random.Random(recipe.seed)  # noqa: S311
    wiki = corpus.wikipedia(data, chooser, recipe.clozes_per_article, recipe.sample_characters)
    sources = [wiki.titles, wiki.clozes, wiki.judged, *supervised(data, chooser)]
    sample = wiki.sample + colloquial(data, chooser)
    tokenizer = train_tokenizer(sample, recipe.vocabulary)
    start = spectral_rows(
        Bags.of(tokenizer, sample), tokenizer.get_vocab_size(), recipe.dimension, recipe.seed
    )
    rows = contrastive_rows(tokenizer, start, sources, corpus.similarity_scores(data, "train"), recipe)
    encoder.save(out, f"damso-static-{recipe.dimension}", tokenizer, rows, UNKNOWN)
    return evaluate(Encoder.load(out), data)


def supervised(data: Path, chooser: random.Random) -> list[Pairs]:
    """Every source of labelled pairs."""
    return [
        *corpus.question_pairs(data),
        corpus.welfare_pairs(data),
        corpus.inference_pairs(data),
        corpus.similarity_pairs(data),
        corpus.paraphrase_pairs(data, chooser),
        corpus.small_talk_pairs(data),
    ]


def colloquial(data: Path, chooser: random.Random) -> list[str]:
    """Film reviews and small talk, so that spoken endings get subwords too."""
    reviews = [row["text"] for row in read_jsonl(data / "text" / "nsmc.jsonl.xz")]
    talk = corpus.small_talk_pairs(data)
    return chooser.sample(reviews, min(60_000, len(reviews))) + talk.anchors + talk.positives


def train_tokenizer(texts: Sequence[str], vocabulary: int) -> Tokenizer:
    """A unigram tokenizer without word-start marks: a noun is the same subword wherever it stands."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.UnigramTrainer(
        vocab_size=vocabulary,
        special_tokens=[UNKNOWN],
        unk_token=UNKNOWN,
        max_piece_length=8,
        show_progress=False,
    )
    tokenizer.train_from_iterator(_without_rare_characters(texts), trainer, length=len(texts))
    return tokenizer


def _without_rare_characters(texts: Sequence[str], least: int = 50) -> list[str]:
    """Rare characters become spaces: each would take a row of the vocabulary."""
    characters, counts = np.unique(np.array(list("".join(texts))), return_counts=True)
    table = {ord(character): " " for character in characters[counts < least]}
    return [text.translate(table) for text in texts]


@dataclass(frozen=True)
class Bags:
    """Subwords of many texts, one after another.

    Attributes:
        ids: int32 [subwords].
        offsets: int64 [texts + 1]; text ``i`` is ``ids[offsets[i]:offsets[i + 1]]``.
    """

    ids: NDArray[np.int32]
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, tokenizer: Tokenizer, texts: Sequence[str]) -> Bags:
        """Tokenize ``texts``, dropping unknown subwords."""
        bags: list[NDArray[np.int32]] = []
        for start in range(0, len(texts), 1000):
            for encoding in tokenizer.encode_batch_fast(
                list(texts[start : start + 1000]), add_special_tokens=False
            ):
                ids = np.asarray(encoding.ids, dtype=np.int32)
                bags.append(ids[ids != 0])
        offsets = np.cumsum([0, *map(len, bags)], dtype=np.int64)
        return cls(np.concatenate(bags) if bags else np.zeros(0, np.int32), offsets)

    def take(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Ids of the chosen texts, and where each begins among them."""
        lengths = self.offsets[rows + 1] - self.offsets[rows]
        begins = np.cumsum(lengths) - lengths
        places = np.repeat(self.offsets[rows] - begins, lengths) + np.arange(lengths.sum())
        return self.ids[places], begins


def spectral_rows(
    bags: Bags, vocabulary: int, dimension: int, seed: int, window: int = 4
) -> NDArray[np.float32]:
    """Rows from a truncated SVD of the positive PMI matrix, weighted by inverse frequency.

    Contexts are smoothed with the power 0.75 (Levy, Goldberg & Dagan 2015); a row's length is a/(a+p) of its
    frequency p (Arora, Liang & Ma 2017), which makes the plain mean a good start.

    Returns:
        float32 [vocabulary, dimension].
    """
    from sklearn.utils.extmath import randomized_svd

    counts = _cooccurrences(bags, vocabulary, window)
    positive, occurrences = positive_pmi(counts)
    vectors, values, _ = randomized_svd(positive, dimension, n_iter=2, n_oversamples=16, random_state=seed)
    rows = encoder.normalised((vectors * np.sqrt(values)).astype(np.float32))
    frequency = occurrences / counts.sum()
    weighted: NDArray[np.float32] = rows * (1e-3 / (1e-3 + frequency))[:, None].astype(np.float32)
    return weighted


def _cooccurrences(bags: Bags, vocabulary: int, window: int) -> Any:
    """Symmetric counts of subwords at most ``window`` apart, as a sparse float32 matrix in CSR form."""
    from scipy.sparse import coo_array, csr_array  # type: ignore[import-untyped]

    text = np.repeat(np.arange(len(bags.offsets) - 1), np.diff(bags.offsets))
    counts = csr_array((vocabulary, vocabulary), dtype=np.float32)
    for distance in range(1, window + 1):
        together = text[:-distance] == text[distance:]
        first, second = bags.ids[:-distance][together], bags.ids[distance:][together]
        near = coo_array(
            (np.full(len(first), 1 / distance, np.float32), (first, second)), counts.shape
        ).tocsr()
        counts = counts + near
    return csr_array(counts + counts.T)


def contrastive_rows(
    tokenizer: Tokenizer,
    start: NDArray[np.float32],
    sources: Sequence[Pairs],
    scores: Sequence[tuple[str, str, float]],
    recipe: Recipe,
) -> NDArray[np.float32]:
    """Train the rows on pairs; a batch is from one source, so that its other positives are fair negatives."""
    import torch

    torch.manual_seed(recipe.seed)
    chooser = np.random.default_rng(recipe.seed)
    sources = [source for source in sources if len(source)]
    drawers = [_Drawer(tokenizer, source, chooser) for source in tqdm(sources, "tokenizing", mininterval=5)]
    shares = np.array([source.share for source in sources])
    similar = _Similar(tokenizer, scores)
    rows = torch.nn.EmbeddingBag.from_pretrained(torch.from_numpy(start.copy()), freeze=False, mode="mean")
    optimiser = torch.optim.Adam(rows.parameters(), lr=recipe.learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / recipe.steps)
    for _ in (progress := tqdm(range(recipe.steps), "training", mininterval=5)):
        drawer = drawers[chooser.choice(len(drawers), p=shares / shares.sum())]
        loss = contrastive_loss(rows, drawer.draw(recipe.batch), recipe.temperature)
        loss = loss + recipe.similarity_weight * similar.loss(rows, chooser)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        progress.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
    trained: NDArray[np.float32] = rows.weight.detach().numpy()
    return trained


Batch = tuple[tuple[NDArray[np.int32], NDArray[np.int64]], ...]


class _Drawer:
    """Draws (anchors, positives[, negatives]) from one source, no positive twice in a batch."""

    def __init__(self, tokenizer: Tokenizer, source: Pairs, chooser: np.random.Generator) -> None:
        self._sides = [Bags.of(tokenizer, source.anchors), Bags.of(tokenizer, source.positives)]
        if any(source.negatives):
            self._sides.append(Bags.of(tokenizer, source.negatives))
        keys = {text: number for number, text in enumerate(dict.fromkeys(source.positives))}
        self._keys = np.array([keys[text] for text in source.positives])
        self._chooser = chooser

    def draw(self, size: int) -> Batch:
        rows = self._chooser.integers(0, len(self._keys), size)
        rows = rows[np.unique(self._keys[rows], return_index=True)[1]]
        return tuple(side.take(rows) for side in self._sides)


class _Similar:
    """KorSTS training pairs: the cosine is drawn to the score over five."""

    def __init__(self, tokenizer: Tokenizer, scores: Sequence[tuple[str, str, float]]) -> None:
        self._first = Bags.of(tokenizer, [first for first, _, _ in scores])
        self._second = Bags.of(tokenizer, [second for _, second, _ in scores])
        self._scores = np.array([score for _, _, score in scores], dtype=np.float32) / 5

    def loss(
        self, rows: torch.nn.EmbeddingBag, chooser: np.random.Generator, size: int = 256
    ) -> torch.Tensor:
        import torch

        chosen = chooser.integers(0, len(self._scores), size)
        cosines = (vectors(rows, self._first.take(chosen)) * vectors(rows, self._second.take(chosen))).sum(1)
        return torch.nn.functional.mse_loss(cosines, torch.from_numpy(self._scores[chosen]))


def vectors(rows: torch.nn.EmbeddingBag, bag: tuple[NDArray[np.int32], NDArray[np.int64]]) -> torch.Tensor:
    """Normalised means of the bags' rows: float32 [texts, dimension]."""
    import torch

    ids, begins = bag
    mean = rows(torch.from_numpy(ids.astype(np.int64)), torch.from_numpy(begins))
    return torch.nn.functional.normalize(mean, dim=1)


def contrastive_loss(rows: torch.nn.EmbeddingBag, batch: Batch, temperature: float) -> torch.Tensor:
    """Softmax cross-entropy of every anchor against all positives (and hard negatives), and back."""
    import torch

    anchors, *others = (vectors(rows, side) for side in batch)
    targets = torch.arange(len(anchors))
    forwards = anchors @ torch.cat(others).T / temperature
    backwards = forwards[:, : len(anchors)].T
    entropy = torch.nn.functional.cross_entropy
    return (entropy(forwards, targets) + entropy(backwards, targets)) / 2


def evaluate(model: Encoder, data: Path) -> dict[str, float]:
    """Figures of an encoder.

    Returns:
        ``korsts_dev_spearman``, and ``recall_at_1`` and ``recall_at_10``: the share of held-out questions of
        TyDi QA and KorQuAD 1 whose passage is among the nearest, among all passages of both sets.
    """
    from scipy.stats import spearmanr  # type: ignore[import-untyped]

    scores = corpus.similarity_scores(data, "dev")
    first = model.encode([row[0] for row in scores])
    second = model.encode([row[1] for row in scores])
    found = corpus.questions(data)
    passages = list(dict.fromkeys(question.passage for question in found))
    place = {passage: number for number, passage in enumerate(passages)}
    asked = [question for question in found if question.held_out]
    cosines = model.encode([question.text for question in asked]) @ model.encode(passages).T
    right = cosines[np.arange(len(asked)), [place[question.passage] for question in asked]]
    ranks = (cosines > right[:, None]).sum(axis=1)
    return {
        "korsts_dev_spearman": round(
            float(spearmanr((first * second).sum(1), [row[2] for row in scores])[0]), 4
        ),
        "recall_at_1": round(float((ranks < 1).mean()), 4),
        "recall_at_10": round(float((ranks < 10).mean()), 4),
        "held_out_questions": len(asked),
        "passages": len(passages),
    }
