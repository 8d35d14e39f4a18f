"""Reciprocal rank fusion: one ranking out of several whose scores cannot be compared."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

Item = TypeVar("Item", bound=Hashable)


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
