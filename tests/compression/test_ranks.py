from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compression.methods.ranks import Spectrum, break_even, kept_parameters, pooled_ranks, uniform_ranks
from compression.methods.svd import rank_for

sides = st.integers(2, 60)
KEEPS = (0.2, 0.4, 0.5, 0.6, 0.8, 1.0)


def spectrum(rows: int, columns: int, decay: float) -> Spectrum:
    return Spectrum(rows, columns, decay ** np.arange(min(rows, columns), dtype=np.float64))


@pytest.mark.parametrize(
    ("rows", "columns", "limit"), [(6144, 2048, 1536), (2048, 2048, 1024), (8192, 2048, 1639)]
)
def test_break_even_of_polyglots_layers(rows: int, columns: int, limit: int) -> None:
    rank = break_even(rows, columns)
    assert rank * (rows + columns) < rows * columns <= (rank + 1) * (rows + columns)
    assert limit - 1 <= rank <= limit


@given(sides, sides)
def test_below_break_even_factors_are_smaller(rows: int, columns: int) -> None:
    rank = break_even(rows, columns)
    assert rank == 1 or rank * (rows + columns) < rows * columns
    assert (rank + 1) * (rows + columns) >= rows * columns


@given(
    st.lists(st.tuples(sides, sides, st.floats(0.3, 0.999)), min_size=1, max_size=8),
    st.sampled_from(KEEPS),
    st.booleans(),
)
def test_the_pool_keeps_to_its_budget_and_spends_it(
    shapes: list[tuple[int, int, float]], keep: float, relative: bool
) -> None:
    layers = {str(number): spectrum(*shape) for number, shape in enumerate(shapes)}
    ranks = pooled_ranks(layers, keep, relative)
    for name, layer in layers.items():
        rank = ranks[name]
        assert rank is None or 1 <= rank <= break_even(layer.rows, layer.columns)
    dense = sum(layer.parameters for layer in layers.values())
    dearest = max(layer.rows + layer.columns for layer in layers.values())
    least = sum(layer.rows + layer.columns for layer in layers.values())
    kept = kept_parameters(layers, ranks)
    assert kept <= max(keep * dense, least)
    assert kept >= keep * dense - dearest


def test_rank_goes_where_the_energy_needs_it() -> None:
    layers = {"flat": spectrum(40, 40, 0.99), "steep": spectrum(40, 40, 0.6)}
    ranks = pooled_ranks(layers, 0.5)
    assert ranks["steep"] is not None and ranks["flat"] is not None
    assert ranks["flat"] > 10 > ranks["steep"] >= rank_for(40, 40, 0.125)


def test_the_scale_of_a_layer_counts_only_when_it_means_something() -> None:
    layer = spectrum(30, 50, 0.9)
    louder = Spectrum(30, 50, layer.energy * 1e6)
    ranks = pooled_ranks({"a": layer, "b": louder}, 0.5, relative=True)
    assert ranks["a"] is not None and ranks["b"] is not None
    assert abs(ranks["a"] - ranks["b"]) <= 1
    assert pooled_ranks({"a": layer, "b": louder}, 0.5)["a"] == rank_for(30, 50, 0.125)


def test_a_layer_above_break_even_stays_dense() -> None:
    layers = {"full": spectrum(20, 20, 1.0), "steep": spectrum(200, 200, 0.5)}
    assert pooled_ranks(layers, 0.5)["full"] is None


def test_the_pool_loses_no_more_than_equal_shares() -> None:
    rng = np.random.default_rng(0)
    layers = {str(n): spectrum(64, 64 + 32 * (n % 3), float(rng.uniform(0.8, 0.99))) for n in range(12)}

    def lost(ranks: dict[str, int | None]) -> float:
        tails = (
            layers[name].energy[rank:].sum() / layers[name].energy.sum()
            for name, rank in ranks.items()
            if rank
        )
        return float(sum(tails))

    assert lost(pooled_ranks(layers, 0.5, relative=True)) < lost(uniform_ranks(layers, 0.5))


@pytest.mark.parametrize("choose", [pooled_ranks, uniform_ranks])
def test_everything_kept_is_everything_dense(choose: object) -> None:
    layers = {"a": spectrum(8, 9, 0.9), "b": spectrum(5, 50, 0.5)}
    assert choose(layers, 1) == {"a": None, "b": None}  # type: ignore[operator]


@pytest.mark.parametrize("keep", [0, -0.1, 1.01, float("nan")])
@pytest.mark.parametrize("choose", [pooled_ranks, uniform_ranks])
def test_a_share_outside_zero_to_one_is_refused(choose: object, keep: float) -> None:
    with pytest.raises(ValueError, match="keep"):
        choose({"a": spectrum(8, 9, 0.9)}, keep)  # type: ignore[operator]


def test_a_layer_of_zeros_is_no_special_case() -> None:
    layers = {"zero": Spectrum(10, 10, np.zeros(10)), "some": spectrum(10, 10, 0.9)}
    assert pooled_ranks(layers, 0.5)["zero"] == 1
