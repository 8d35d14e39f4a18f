"""Shares a budget of parameters among layers: where a direction of the weight buys most, it is kept.

All directions of all layers stand in one pool, ordered by energy per parameter; the budget takes the best of
them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compression.methods.svd import rank_for


@dataclass(frozen=True)
class Spectrum:
    """What a layer's directions are worth.

    Attributes:
        rows: output features, m.
        columns: input features, n.
        energy: float64 [min(m, n)], descending, see `svd.Decomposition`.
    """

    rows: int
    columns: int
    energy: NDArray[np.float64]

    @property
    def parameters(self) -> int:
        """Parameters of the dense layer."""
        return self.rows * self.columns


def break_even(rows: int, columns: int) -> int:
    """The largest rank whose factors hold fewer parameters than the dense layer: ⌈mn / (m + n)⌉ − 1, at least 1."""
    return max(1, -(-rows * columns // (rows + columns)) - 1)


def uniform_ranks(layers: Mapping[str, Spectrum], keep: float) -> dict[str, int | None]:
    """The rank of every layer when each keeps the same share of its parameters; None stays dense.

    Raises:
        ValueError: ``keep`` is outside (0, 1].
    """
    ranks = {name: rank_for(layer.rows, layer.columns, keep) for name, layer in layers.items()}
    return {name: None if keep == 1 else _or_dense(rank, layers[name]) for name, rank in ranks.items()}


def pooled_ranks(
    layers: Mapping[str, Spectrum], keep: float, relative: bool = False, least: float = 0.25
) -> dict[str, int | None]:
    """The ranks that keep most energy for ``keep`` of all layers' parameters.

    Args:
        layers: their shapes and energies.
        keep: kept share of the parameters of all layers together, in (0, 1].
        relative: compare energies as shares of their layer's. Right for the energies of weights, whose scale
            depends on what feeds them; energies of outputs, which whitening gives, are compared as they are.
        least: of the uniform rank, what every layer keeps at least: one layer that is cut too far stops the
            whole model, whatever its share of the energy.

    Returns:
        A rank for every layer, or None for one that stays dense because its factors would be no smaller.

    Raises:
        ValueError: ``keep`` is outside (0, 1].
    """
    uniform = uniform_ranks(layers, keep)
    if keep == 1:
        return uniform
    owner = np.repeat(np.arange(len(layers)), [len(layer.energy) for layer in layers.values()])
    gains = np.concatenate([_gains(layer, relative) for layer in layers.values()])
    costs = np.concatenate([_costs(layer) for layer in layers.values()])
    floored = np.concatenate([_floored(layer, keep * least) for layer in layers.values()])
    order = np.lexsort((-gains, ~floored))
    budget = keep * sum(layer.parameters for layer in layers.values())
    taken = order[: int(np.searchsorted(np.cumsum(costs[order]), budget, "right"))]
    counts = np.bincount(owner[taken], minlength=len(layers))
    return {
        name: _or_dense(max(int(count), 1), layers[name]) for name, count in zip(layers, counts, strict=True)
    }


def kept_parameters(layers: Mapping[str, Spectrum], ranks: Mapping[str, int | None]) -> int:
    """Parameters of all layers at these ranks."""
    return sum(
        layer.parameters if (rank := ranks[name]) is None else rank * (layer.rows + layer.columns)
        for name, layer in layers.items()
    )


def _gains(layer: Spectrum, relative: bool) -> NDArray[np.float64]:
    """Energy per parameter of each direction."""
    whole = float(layer.energy.sum()) if relative else 1.0
    return layer.energy / (whole or 1.0) / (layer.rows + layer.columns)


def _floored(layer: Spectrum, keep: float) -> NDArray[np.bool_]:
    """The directions that a layer keeps before any pooling."""
    return np.arange(len(layer.energy)) < rank_for(layer.rows, layer.columns, keep)


def _costs(layer: Spectrum) -> NDArray[np.int64]:
    """Parameters that each direction adds; past break-even the layer is dense, and all the rest is free."""
    totals = np.arange(len(layer.energy) + 1) * (layer.rows + layer.columns)
    return np.diff(np.minimum(totals, layer.parameters))


def _or_dense(rank: int, layer: Spectrum) -> int | None:
    return rank if rank <= break_even(layer.rows, layer.columns) else None
