from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compression.methods.svd import decompose, decompose_outputs, rank_for, truncated_svd, whitened_svd

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
        assert down.flags.c_contiguous and up.flags.c_contiguous
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


@pytest.mark.parametrize("shape", [(12, 20), (20, 12), (16, 16)])
@pytest.mark.parametrize("whitened", [False, True])
def test_factors_of_a_smaller_rank_are_the_first_of_a_larger_one(
    shape: tuple[int, int], whitened: bool
) -> None:
    matrix, inputs = weight(*shape), weight(99, shape[1])
    gram = inputs.T @ inputs if whitened else None
    whole = decompose(matrix, min(shape), gram)
    part = decompose(matrix, 5, gram)
    np.testing.assert_allclose(whole.up[:, :5] @ whole.down[:5], part.up @ part.down, atol=1e-5)
    np.testing.assert_allclose(whole.energy, part.energy)
    left = inputs @ (matrix - part.up @ part.down).T if whitened else matrix - part.up @ part.down
    assert np.square(left).sum() == pytest.approx(part.energy[5:].sum(), rel=1e-3)


def test_inputs_and_outputs_give_the_same_factors() -> None:
    matrix, inputs = weight(12, 20), weight(99, 20)
    outputs = inputs @ matrix.T
    by_inputs = decompose(matrix, 4, inputs.T @ inputs)
    by_outputs = decompose_outputs(matrix, 4, outputs.T @ outputs)
    np.testing.assert_allclose(by_outputs.energy, by_inputs.energy, rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(by_outputs.up @ by_outputs.down, by_inputs.up @ by_inputs.down, atol=1e-3)


def test_inputs_that_span_less_than_the_layer_are_no_error() -> None:
    matrix, inputs = weight(20, 12), weight(5, 12)
    found = decompose(matrix, 8, inputs.T @ inputs)
    outputs = inputs @ matrix.T
    np.testing.assert_allclose(inputs @ (found.up @ found.down).T, outputs, atol=1e-3)
    assert found.energy[5:].sum() < 1e-3 * found.energy.sum()


def test_the_outputs_of_a_tall_layer_are_refused() -> None:
    with pytest.raises(ValueError, match="moment"):
        decompose_outputs(weight(20, 12), 3, np.eye(20, dtype=np.float32))
