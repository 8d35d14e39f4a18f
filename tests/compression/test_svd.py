from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compression.methods.svd import rank_for, truncated_svd, whitened_svd

RANDOM = np.random.default_rng(0)


def weight(rows: int, columns: int) -> np.ndarray:
    return RANDOM.standard_normal((rows, columns)).astype(np.float32)


@given(st.integers(1, 5000), st.integers(1, 5000), st.floats(0.01, 1))
def test_the_factors_hold_at_most_the_kept_share(rows: int, columns: int, keep: float) -> None:
    rank = rank_for(rows, columns, keep)
    assert rank == 1 or rank * (rows + columns) <= rows * columns * keep
    assert (rank + 1) * (rows + columns) > rows * columns * keep * (1 - 1e-12)


def test_rank_of_polyglots_mlp() -> None:
    assert rank_for(8192, 2048, 0.5) == 819


@pytest.mark.parametrize("keep", [0, -1, 1.5, float("nan")])
def test_a_share_outside_zero_to_one_is_refused(keep: float) -> None:
    with pytest.raises(ValueError, match="keep"):
        rank_for(10, 10, keep)


@pytest.mark.parametrize("shape", [(12, 20), (20, 12), (1, 5)])
def test_full_rank_is_exact(shape: tuple[int, int]) -> None:
    matrix, gram = weight(*shape), np.eye(shape[1], dtype=np.float32)
    for down, up in (truncated_svd(matrix, min(shape)), whitened_svd(matrix, gram, min(shape))):
        assert down.dtype == up.dtype == np.float32
        np.testing.assert_allclose(up @ down, matrix, atol=1e-5)


def test_truncation_leaves_the_discarded_singular_values() -> None:
    matrix = weight(16, 24)
    down, up = truncated_svd(matrix, 5)
    assert down.shape == (5, 24)
    assert up.shape == (16, 5)
    discarded = np.linalg.svd(matrix, compute_uv=False)[5:]
    assert np.linalg.norm(matrix - up @ down) == pytest.approx(np.linalg.norm(discarded), rel=1e-4)
    np.testing.assert_allclose(np.linalg.norm(down, axis=1), np.linalg.norm(up, axis=0), rtol=1e-4)


def test_whitening_changes_the_outputs_less_than_plain_truncation() -> None:
    matrix = weight(16, 24)
    inputs = weight(500, 24) * np.geomspace(10, 0.01, 24, dtype=np.float32)
    down, up = whitened_svd(matrix, inputs.T @ inputs, 4)
    plain_down, plain_up = truncated_svd(matrix, 4)
    assert down.shape == (4, 24)
    assert up.shape == (16, 4)
    outputs = inputs @ matrix.T
    error = np.linalg.norm(outputs - inputs @ (up @ down).T)
    assert error < 0.5 * np.linalg.norm(outputs - inputs @ (plain_up @ plain_down).T)
    best = np.linalg.norm(np.linalg.svd(outputs, compute_uv=False)[4:])
    assert error == pytest.approx(best, rel=1e-3)
    np.testing.assert_allclose(up.T @ up, np.eye(4), atol=1e-5)


@pytest.mark.parametrize("rank", [0, 13])
def test_an_impossible_rank_is_refused(rank: int) -> None:
    with pytest.raises(ValueError, match="rank"):
        truncated_svd(weight(12, 20), rank)
    with pytest.raises(ValueError, match="rank"):
        whitened_svd(weight(12, 20), np.eye(20, dtype=np.float32), rank)


def test_a_gram_of_another_width_is_refused() -> None:
    with pytest.raises(ValueError, match="gram"):
        whitened_svd(weight(12, 20), np.eye(12, dtype=np.float32), 3)
