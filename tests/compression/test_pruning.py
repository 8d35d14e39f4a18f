from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compression.methods.pruning import (
    cubic_sparsity,
    magnitude_masks,
    remove_units,
    strongest,
    unit_influence,
    widths_for,
)


@given(st.integers(1, 40), st.floats(0, 0.99))
def test_the_schedule_rises_ever_slower_to_its_end(steps: int, final: float) -> None:
    shares = [cubic_sparsity(step, steps, final) for step in range(steps + 1)]
    assert shares[0] == 0 and shares[-1] == pytest.approx(final)
    growth = np.diff(shares)
    assert (growth >= -1e-12).all() and (np.diff(growth) <= 1e-12).all()


@pytest.mark.parametrize("arguments", [(-1, 3, 0.5), (4, 3, 0.5), (0, 0, 0.5), (1, 3, 1.0), (1, 3, -0.1)])
def test_a_schedule_that_cannot_be_is_refused(arguments: tuple[int, int, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        cubic_sparsity(*arguments)


@given(st.floats(0, 0.99), st.integers(0, 100))
def test_masks_drop_exactly_the_share(sparsity: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    weights = [random.standard_normal(shape).astype(np.float32) for shape in ((4, 7), (7, 3))]
    masks = magnitude_masks(weights, sparsity)
    assert sum(int((mask == 0).sum()) for mask in masks) == int(sparsity * 49)
    for weight, mask in zip(weights, masks, strict=True):
        kept, gone = np.abs(weight[mask == 1]), np.abs(weight[mask == 0])
        assert not (kept.size and gone.size) or kept.min() >= gone.max()


def test_a_layer_is_not_dropped_for_its_scale() -> None:
    weight = np.random.default_rng(0).standard_normal((8, 8)).astype(np.float32)
    large, small = magnitude_masks([weight, weight * np.float32(1e-3)], 0.5)
    np.testing.assert_array_equal(large, small)


@given(st.integers(1, 200), st.floats(0, 0.99), st.integers(1, 8))
def test_widths_leave_the_share_or_are_the_narrowest(features: int, sparsity: float, least: int) -> None:
    wide = [features, 64, 32, 16, 32, 64, features]
    narrow = widths_for(wide, sparsity, least)
    assert (narrow[0], narrow[-1]) == (features, features)
    assert all(least <= after <= before for after, before in zip(narrow[1:-1], wide[1:-1], strict=True))
    count = [sum(a * b for a, b in zip(w[:-1], w[1:], strict=True)) for w in (narrow, wide)]
    assert count[0] <= (1 - sparsity) * count[1] + 1e-6 or set(narrow[1:-1]) == {least}


def test_constant_and_unheard_units_go_without_a_trace() -> None:
    random = np.random.default_rng(0)
    x = random.standard_normal((50, 3)).astype(np.float32)
    incoming, bias = random.standard_normal((3, 5)).astype(np.float32), np.ones(5, np.float32)
    outgoing, next_bias = random.standard_normal((5, 2)).astype(np.float32), np.zeros(2, np.float32)
    incoming[:, 1] = 0  # constant
    outgoing[3] = 0  # unheard
    seen = np.maximum(x @ incoming + bias, 0)
    influence = unit_influence(seen, outgoing)
    kept = strongest(influence, 3)
    assert kept.tolist() == [0, 2, 4]
    w, b, v, c = remove_units(incoming, bias, outgoing, next_bias, seen.mean(axis=0), kept)
    np.testing.assert_allclose(
        np.maximum(x @ w + b, 0) @ v + c, seen @ outgoing + next_bias, rtol=1e-5, atol=1e-5
    )
