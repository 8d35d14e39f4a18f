"""One ranking out of what words and meaning say of passages."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Item = TypeVar("Item", bound=Hashable)
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Ranks:
    """Fuses by rank alone, see `reciprocal_rank_fusion`; the context of a question adds words, not meaning.

    Attributes:
        lexical: weight of BM25's ranking.
        dense: weight of the ranking by cosine.
        k: dampens the difference between high ranks.
    """

    lexical: float = 1.0
    dense: float = 0.3
    k: int = 5


@dataclass(frozen=True)
class Scores:
    """Fuses by score: a convex combination, and late interaction over the best passages.

    ``(1 - dense) · BM25 / its maximum + dense · cosine + late · late interaction``; the last only where the encoder
    gives vectors of tokens. The convex combination of normalised scores is Bruch, Gai and Ingber's "An Analysis of
    Fusion Functions for Hybrid Retrieval", 2023. The context of a question is part of its meaning.

    Attributes:
        dense: weight of meaning against words, in [0, 1].
        late: weight of `late_interaction`.
        depth: how many of the best passages it is computed for.
    """

    dense: float = 0.3
    late: float = 1.5
    depth: int = 32


Fusion = Ranks | Scores
DEFAULT: Fusion = Scores()
"""What an index uses unless told otherwise. The answer gate is fitted on what it finds: change both together."""


def reciprocal_rank_fusion(
    rankings: Iterable[tuple[float, Sequence[Item]]], k: int = 60
) -> dict[Item, float]:
    """Fuses weighted rankings: score(d) = Σ weight / (k + rank(d)), ranks from 1.

    Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning
    Methods", SIGIR 2009.

    Args:
        rankings: pairs of a weight and items, best first.
        k: dampens the difference between high ranks; 60 in the paper.

    Returns:
        Scores of all items that occur; higher is better.
    """
    fused: dict[Item, float] = {}
    for weight, items in rankings:
        for rank, item in enumerate(items, 1):
            fused[item] = fused.get(item, 0.0) + weight / (k + rank)
    return fused


def convex_combination(lexical: Floats, cosines: Floats, dense: float) -> Floats:
    """``(1 - dense) · lexical / max(lexical) + dense · cosine``, cosines below zero as zero.

    Args:
        lexical: BM25 scores, float32 [n], not negative.
        cosines: float32 [n].
        dense: weight of the cosines.

    Returns:
        float32 [n] in [0, 1].
    """
    highest = max(float(lexical.max(initial=0.0)), 1e-9)
    combined = (1 - dense) / highest * lexical + dense * np.maximum(cosines, 0)
    return np.asarray(combined, np.float32)


def late_interaction(query: Floats, passages: Sequence[Floats]) -> Floats:
    """For each passage the mean over the query's tokens of the cosine to the passage's nearest token.

    MaxSim of Khattab and Zaharia, "ColBERT", 2020, with the query's tokens weighed by the length of their vectors.

    Args:
        query: vectors of the query's tokens, float32 [m, dimension].
        passages: vectors of each passage's tokens, float32 [n, dimension].

    Returns:
        float32 [len(passages)] in [-1, 1]; 0 for a text without tokens.
    """
    scores = np.zeros(len(passages), np.float32)
    filled = [number for number, tokens in enumerate(passages) if len(tokens)]
    weights = np.linalg.norm(query, axis=1)
    if not filled or not weights.any():
        return scores
    tokens = _directions(np.concatenate([passages[number] for number in filled]))
    starts = np.cumsum([0, *(len(passages[number]) for number in filled[:-1])])
    nearest = np.maximum.reduceat(_directions(query) @ tokens.T, starts, axis=1)
    scores[filled] = weights @ nearest / weights.sum()
    return scores


def _directions(vectors: Floats) -> Floats:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    directions: Floats = np.divide(vectors, np.maximum(lengths, 1e-9), dtype=np.float32)
    return directions
