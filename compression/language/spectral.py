"""Positive pointwise mutual information of co-occurrences, from which word vectors start."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def positive_pmi(counts: Any) -> tuple[Any, NDArray[np.float64]]:
    """max(0, log p(w, c) / (p(w) p(c))), contexts smoothed by the power 0.75 (Levy, Goldberg & Dagan, 2015).

    Args:
        counts: symmetric SciPy sparse matrix [vocabulary, vocabulary] of co-occurrences above zero where stored.

    Returns:
        The matrix in CSR form, float32, and the occurrences of each token, float64 [vocabulary].
    """
    from scipy.sparse import csr_array  # type: ignore[import-untyped]

    entries = counts.tocoo()
    occurrences = np.asarray(counts.sum(axis=1), np.float64).ravel() + 1e-9
    context = occurrences**0.75 / (occurrences**0.75).sum()
    information = np.log(entries.data / (occurrences[entries.row] * context[entries.col]))
    positive = np.maximum(information, 0).astype(np.float32)
    return csr_array((positive, (entries.row, entries.col)), shape=counts.shape), occurrences
