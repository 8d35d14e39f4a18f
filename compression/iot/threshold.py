"""Where normal ends: a threshold from held-out normal scores, and a vote over neighbouring records."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ALPHA = 0.005
"""Share of normal records that may lie above; half of the 1 % that is promised, because devices drift."""
_TAIL = 0.05
_FEWEST = 30  # exceedances that a tail fit needs

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Vote:
    """An alarm needs several conspicuous records among the last few, so that one odd packet is none.

    Attributes:
        window: records that vote.
        needed: how many of them must lie above the threshold.
    """

    window: int = 5
    needed: int = 3


def fit_threshold(scores: Scores, alpha: float = ALPHA) -> float:
    """The score that normal records exceed with probability ``alpha``.

    The (1 − alpha) quantile, or the tail's estimate if that is higher: with few records the quantile is a single
    record's score and too low half of the time.

    Args:
        scores: [records], of normal records that did not train the network.
        alpha: in (0, 0.05].

    Raises:
        ValueError: no scores, or ``alpha`` is out of its range.
    """
    if not len(scores) or not 0 < alpha <= _TAIL:
        raise ValueError(f"needs scores and alpha in (0, {_TAIL}], not {len(scores)} and {alpha}")
    quantile = float(np.quantile(scores, 1 - alpha))
    return max(quantile, tail_quantile(scores, alpha))


def tail_quantile(scores: Scores, alpha: float) -> float:
    """The (1 − alpha) quantile by a generalised Pareto distribution over the highest twentieth.

    Peaks over a threshold as in Siffer et al. 2017 ("SPOT"), with the probability-weighted moments of Hosking &
    Wallis (1987) in the place of likelihood, because they have a closed form.

    Args:
        scores: [records].
        alpha: in (0, 0.05].

    Returns:
        The estimate; the plain quantile when the tail has too few records or no spread.
    """
    start = float(np.quantile(scores, 1 - _TAIL))
    excess = np.sort(scores[scores > start] - start)
    plain = float(np.quantile(scores, 1 - alpha))
    if len(excess) < _FEWEST:
        return plain
    rank = (np.arange(1, len(excess) + 1) - 0.35) / len(excess)
    first, second = float(excess.mean()), float(np.mean((1 - rank) * excess))
    if first <= 0 or first - 2 * second <= 0:
        return plain
    shape = first / (first - 2 * second) - 2  # Hosking & Wallis's k: negative for a heavy tail
    scale = 2 * first * second / (first - 2 * second)
    beyond = alpha * len(scores) / len(excess)
    if abs(shape) < 1e-6:
        return start - scale * float(np.log(beyond))
    return start + scale / shape * (1 - float(beyond**shape))


def voted(above: NDArray[np.bool_], vote: Vote) -> NDArray[np.bool_]:
    """Whether each record, with those before it, makes an alarm.

    Args:
        above: [records], in the order of time.
        vote: how many of how many.

    Returns:
        bool [records].
    """
    total = np.cumsum(np.concatenate([np.zeros(vote.window, np.int64), above]))
    counts: NDArray[np.bool_] = total[vote.window :] - total[: -vote.window] >= vote.needed
    return counts
