"""Pruning on a schedule: small weights, or whole hidden units, so that the layers themselves become smaller.

Unstructured pruning keeps the layers' shapes and only makes zeros. Where real speed and a small file are wanted,
whole units go: what is left is an ordinary dense network.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def cubic_sparsity(step: int, steps: int, final: float) -> float:
    """The share of weights gone after a step: fast at first, when most weights do not matter, then ever slower.

    Zhu & Gupta 2017 (arXiv:1710.01878), from nothing: final · (1 − (1 − step/steps)³).

    Args:
        step: from 0 (nothing gone) to ``steps`` (``final`` gone).
        steps: pruning steps in all, at least 1.
        final: share of weights gone in the end, in [0, 1).

    Raises:
        ValueError: an argument is out of its range.
    """
    if not 0 <= step <= steps or steps < 1:
        raise ValueError(f"step must be in [0, {steps}] and steps at least 1, not {step} of {steps}")
    _check_sparsity(final)
    return final * (1 - (1 - step / steps) ** 3)


def magnitude_masks(weights: Sequence[Floats], sparsity: float) -> list[Floats]:
    """Masks (1 stays, 0 goes) that drop the smallest weights of all layers together.

    Args:
        weights: float arrays of any shapes; a weight's size is measured against its layer's root mean square,
            so that no layer goes just because it is scaled lower.
        sparsity: share of all weights to drop, in [0, 1).

    Returns:
        float32 masks of the weights' shapes; exactly floor(sparsity · count) zeros, earlier ones first in a tie.

    Raises:
        ValueError: ``sparsity`` is outside [0, 1).
    """
    _check_sparsity(sparsity)
    sizes = np.concatenate([np.abs(weight).ravel() / _root_mean_square(weight) for weight in weights])
    flat = np.ones(len(sizes), np.float32)
    flat[np.argsort(sizes, kind="stable")[: int(sparsity * len(sizes))]] = 0
    ends = np.cumsum([weight.size for weight in weights])[:-1]
    return [mask.reshape(weight.shape) for mask, weight in zip(np.split(flat, ends), weights, strict=True)]


def widths_for(widths: Sequence[int], sparsity: float, least: int = 1) -> list[int]:
    """The widths of a multilayer perceptron whose hidden layers shrink by one common share.

    Args:
        widths: units of the input, of every hidden layer and of the output; the ends stay.
        sparsity: share of the weights that must be gone, in [0, 1).
        least: units that a hidden layer keeps if it has them, so that a bottleneck is not closed.

    Returns:
        The largest such widths that leave at most (1 − sparsity) of the weights, or the narrowest if none does.

    Raises:
        ValueError: ``sparsity`` is outside [0, 1).
    """
    _check_sparsity(sparsity)
    allowed = (1 - sparsity) * _weight_count(widths)
    largest = max(widths[1:-1], default=1)
    for units in range(largest, 0, -1):
        shrunk = [max(min(least, width), width * units // largest) for width in widths[1:-1]]
        candidate = [widths[0], *shrunk, widths[-1]]
        if _weight_count(candidate) <= allowed:
            break
    return candidate


def unit_influence(activations: Floats, outgoing: Floats) -> Floats:
    """How much each hidden unit moves the next layer: std(activation) · ‖outgoing weights‖, float32 [units].

    A unit that hardly varies can be replaced by its mean (see `remove_units`), so only its spread counts.

    Args:
        activations: float [records, units] on calibration data.
        outgoing: float [units, next], the next layer's weight.
    """
    influence: Floats = activations.std(axis=0) * np.linalg.norm(outgoing, axis=1)
    return influence


def strongest(influence: Floats, count: int) -> NDArray[np.intp]:
    """The indices of the ``count`` largest, in their old order; earlier ones in a tie."""
    return np.sort(np.argsort(-influence, kind="stable")[:count])


def remove_units(
    incoming: Floats, bias: Floats, outgoing: Floats, next_bias: Floats, means: Floats, kept: NDArray[np.intp]
) -> tuple[Floats, Floats, Floats, Floats]:  # fmt: skip
    """Take hidden units away; the next bias takes over the mean of what they sent on.

    Args:
        incoming: float [inputs, units].
        bias: float [units].
        outgoing: float [units, next].
        next_bias: float [next].
        means: float [units], mean activations on calibration data.
        kept: indices of the units that stay.

    Returns:
        The four arrays without the units.
    """
    gone = np.setdiff1d(np.arange(len(bias)), kept)
    sent = means[gone] @ outgoing[gone]
    return incoming[:, kept], bias[kept], outgoing[kept], (next_bias + sent).astype(np.float32)


def _root_mean_square(weight: Floats) -> float:
    return float(np.sqrt(np.mean(np.square(weight)))) or 1.0


def _weight_count(widths: Sequence[int]) -> int:
    return sum(a * b for a, b in zip(widths[:-1], widths[1:], strict=True))


def _check_sparsity(sparsity: float) -> None:
    if not 0 <= sparsity < 1:
        raise ValueError(f"sparsity must be in [0, 1), not {sparsity}")
