"""Low-rank factorisation of linear layers: ``W ≈ up @ down``, two small products instead of a large one.

Plain truncation is optimal for the weight itself (Eckart–Young); the whitened form is optimal for the layer's
outputs on the inputs that it really sees (Chen et al. 2021, "DRONE"; Wang et al. 2024, "SVD-LLM").
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


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
    _check_rank(weight, rank)
    left, values, right = np.linalg.svd(np.asarray(weight, np.float64), full_matrices=False)
    roots = np.sqrt(values[:rank])
    return (roots[:, None] * right[:rank]).astype(np.float32), (left[:, :rank] * roots).astype(np.float32)


def whitened_svd(weight: Floats, gram: Floats, rank: int) -> tuple[Floats, Floats]:
    """The factors that change the layer's outputs least on inputs with second moment ``gram``.

    The outputs' second moment is W C Wᵀ; projecting them on its leading eigenvectors U minimises
    E‖Wx − UUᵀWx‖².

    Args:
        weight: float32 [out, in].
        gram: float [in, in], Σ x xᵀ over the calibration inputs (any positive scale).
        rank: from 1 to min(out, in).

    Returns:
        ``down`` = UᵀW float32 [rank, in] and ``up`` = U float32 [out, rank].

    Raises:
        ValueError: the rank or the gram matrix does not fit the weight.
    """
    _check_rank(weight, rank)
    if gram.shape != (weight.shape[1], weight.shape[1]):
        raise ValueError(f"gram must be [{weight.shape[1]}, {weight.shape[1]}], not {list(gram.shape)}")
    exact = np.asarray(weight, np.float64)
    _, vectors = np.linalg.eigh(exact @ np.asarray(gram, np.float64) @ exact.T)
    leading = vectors[:, ::-1][:, :rank]
    return (leading.T @ exact).astype(np.float32), leading.astype(np.float32)


def _check_rank(weight: Floats, rank: int) -> None:
    if not 1 <= rank <= min(weight.shape):
        raise ValueError(f"rank must be in [1, {min(weight.shape)}], not {rank}")
