"""Low-rank factorisation of linear layers: ``W ≈ up @ down``, two small products instead of a large one.

Plain truncation is optimal for the weight itself (Eckart–Young); the whitened form is optimal for the layer's
outputs on the inputs that it really sees (Chen et al. 2021, "DRONE"; Wang et al. 2024, "SVD-LLM").

Factors are nested: the best factors of a smaller rank are the first rows of ``down`` and the first columns of
``up``. A layer is therefore decomposed once, and its rank can be chosen afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

_ROWS_AT_ONCE = 1024  # rows of a weight that are held in double precision
_NOTHING = 1e-7  # of the largest singular value: below it, float32 weights hold no direction


@dataclass(frozen=True)
class Decomposition:
    """A weight [out, in] as ``up @ down``, its most important directions first.

    Attributes:
        down: float32 [rank, in].
        up: float32 [out, rank].
        energy: float64 [min(out, in)], what each direction adds to the squared norm of the weight or, when
            whitened, of its outputs; descending, and not cut to ``rank``.
    """

    down: Floats
    up: Floats
    energy: Doubles


def rank_for(out_features: int, in_features: int, keep: float) -> int:
    """The rank whose two factors hold ``keep`` of the dense layer's parameters, at least 1.

    Args:
        out_features: rows of the weight, m.
        in_features: columns of the weight, n.
        keep: kept share of m·n parameters, in (0, 1].

    Returns:
        floor(m·n·keep / (m + n)), at least 1.

    Raises:
        ValueError: ``keep`` is outside (0, 1].
    """
    if not 0 < keep <= 1:
        raise ValueError(f"keep must be in (0, 1], not {keep}")
    return max(1, int(out_features * in_features * keep / (out_features + in_features)))


def relative_error(energy: Doubles, rank: int) -> float:
    """Error of a layer, or of its outputs, at a rank: √(lost energy / all energy)."""
    total = float(energy.sum())
    return float(np.sqrt(energy[rank:].sum() / total)) if total else 0.0


def truncated_svd(weight: Floats, rank: int) -> tuple[Floats, Floats]:
    """The best factors of a weight in the Frobenius norm.

    Args:
        weight: float32 [out, in].
        rank: from 1 to min(out, in).

    Returns:
        ``down`` float32 [rank, in] and ``up`` float32 [out, rank]; the singular values are shared evenly, so
        that both factors have the same scale when they are quantised or tuned.

    Raises:
        ValueError: the rank does not fit the weight.
    """
    found = decompose(weight, rank)
    return found.down, found.up


def whitened_svd(weight: Floats, gram: Floats, rank: int) -> tuple[Floats, Floats]:
    """The factors that change the layer's outputs least on inputs with second moment ``gram``.

    Args:
        weight: float32 [out, in].
        gram: float [in, in], Σ x xᵀ over the calibration inputs (any positive scale).
        rank: from 1 to min(out, in).

    Returns:
        ``down`` = UᵀW float32 [rank, in] and ``up`` = U float32 [out, rank].

    Raises:
        ValueError: the rank or the gram matrix does not fit the weight.
    """
    found = decompose(weight, rank, gram)
    return found.down, found.up


def decompose(weight: Floats, rank: int, gram: Floats | None = None) -> Decomposition:
    """Factors of a weight up to a rank, and the energy of all its directions.

    The work is one symmetric eigenproblem of the smaller side in double precision; a polyglot-ko-1.3b layer needs
    none above 2,048.

    Args:
        weight: float32 [out, in].
        rank: from 1 to min(out, in).
        gram: float [in, in], Σ x xᵀ over calibration inputs; None for plain truncation.

    Returns:
        The factors of `truncated_svd` or `whitened_svd` with their energies.

    Raises:
        ValueError: the rank or the gram matrix does not fit the weight.
    """
    _check_rank(weight, rank)
    if gram is None:
        return _plain(weight, rank)
    if gram.shape != (weight.shape[1], weight.shape[1]):
        raise ValueError(f"gram must be [{weight.shape[1]}, {weight.shape[1]}], not {list(gram.shape)}")
    whitened = _whitened_wide if weight.shape[0] <= weight.shape[1] else _whitened_tall
    return whitened(weight, gram, rank)


def _plain(weight: Floats, rank: int) -> Decomposition:
    if weight.shape[0] < weight.shape[1]:
        turned = _plain(weight.T, rank)
        return Decomposition(_rows(turned.up.T), _rows(turned.down.T), turned.energy)
    energy, right = _leading(_product(weight))
    roots = energy[:rank] ** 0.25
    leading = right[:, :rank]
    up = _project(weight, leading * _inverse(roots, _NOTHING**0.5))
    return Decomposition(_rows((leading * roots).T), up, energy)


def decompose_outputs(weight: Floats, rank: int, moment: NDArray[np.floating[Any]]) -> Decomposition:
    """The whitened factors from the second moment of the layer's outputs, which is W C Wᵀ: U are its eigenvectors.

    For a layer that is wider than tall this is the smaller matrix, to sum and to keep.

    Args:
        weight: float32 [out, in], no taller than wide.
        rank: from 1 to out.
        moment: float [out, out], Σ y yᵀ over y = Wx, without the bias.

    Returns:
        As `decompose` with a gram matrix: projecting on U minimises E‖Wx − UUᵀWx‖².

    Raises:
        ValueError: the rank or the moment does not fit the weight.
    """
    _check_rank(weight, rank)
    if weight.shape[0] > weight.shape[1] or moment.shape != (len(weight), len(weight)):
        raise ValueError(f"moment must be [{len(weight)}, {len(weight)}] of a layer no taller than wide")
    energy, left = _leading(np.asarray(moment, np.float64))
    up = _rows(left[:, :rank])
    return Decomposition(up.T @ weight, up, energy)


def _whitened_wide(weight: Floats, gram: Floats, rank: int) -> Decomposition:
    exact = np.asarray(weight, np.float64)
    return decompose_outputs(weight, rank, exact @ np.asarray(gram, np.float64) @ exact.T)


def _whitened_tall(weight: Floats, gram: Floats, rank: int) -> Decomposition:
    """The same U from the smaller side: with C = SSᵀ, U = W S V / σ for the eigenvectors V of SᵀWᵀWS."""
    root = _root(np.asarray(gram, np.float64))
    energy, right = _leading(root.T @ _product(weight) @ root)
    up = _project(weight, root @ right[:, :rank] * _inverse(np.sqrt(energy[:rank]), _NOTHING))
    return Decomposition(up.T @ weight, up, energy)


def _rows(matrix: NDArray[np.floating[Any]]) -> Floats:
    """In float32, row after row in memory, as files want it."""
    return np.ascontiguousarray(matrix, np.float32)


def _root(gram: Doubles) -> Doubles:
    """S with SSᵀ = C: Cholesky's where C is definite, else the far slower symmetric one."""
    try:
        return np.asarray(np.linalg.cholesky(gram), np.float64)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(gram)
        return np.asarray(vectors * np.sqrt(np.maximum(values, 0)), np.float64)


def _leading(symmetric: Doubles) -> tuple[Doubles, Doubles]:
    """Eigenvalues, none below zero, and eigenvectors in columns; the largest first."""
    values, vectors = np.linalg.eigh(symmetric)
    return np.maximum(values[::-1], 0), vectors[:, ::-1]


def _inverse(sizes: Doubles, least: float) -> Doubles:
    """1 / size; 0 where it is less than ``least`` of the largest: such a direction holds nothing but rounding."""
    solid = sizes > least * sizes[0]
    return np.divide(1.0, sizes, out=np.zeros_like(sizes), where=solid)


def _product(weight: Floats) -> Doubles:
    """WᵀW."""
    product = np.zeros((weight.shape[1], weight.shape[1]))
    for part in _parts(weight):
        product += part.T @ part
    return product


def _parts(weight: Floats) -> Iterator[Doubles]:
    """The weight in double precision, some rows at a time."""
    for start in range(0, len(weight), _ROWS_AT_ONCE):
        yield weight[start : start + _ROWS_AT_ONCE].astype(np.float64)


def _project(weight: Floats, directions: Doubles) -> Floats:
    return np.concatenate([(part @ directions).astype(np.float32) for part in _parts(weight)])


def _check_rank(weight: Floats, rank: int) -> None:
    if not 1 <= rank <= min(weight.shape):
        raise ValueError(f"rank must be in [1, {min(weight.shape)}], not {rank}")
