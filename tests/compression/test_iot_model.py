from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from compression.iot.export import quantize_channels, restored, rounded, short_floats, stored, to_onnx
from compression.iot.features import Scaler
from compression.iot.model import HIDDEN, Autoencoder
from compression.iot.threshold import Vote, fit_threshold, tail_quantile, voted
from compression.iot.train import (
    SIZE_BAR,
    compact_sparsity,
    narrowed,
    prune_units,
    prune_weights,
    train,
    tune_for_int8,
)
from compression.methods.pruning import widths_for
from compression.runtime import session
from tests.compression.iot_traffic import QUICK, normal_rows, odd_rows

WEIGHTS = arrays(
    np.float32,
    st.tuples(st.integers(1, 6), st.integers(1, 6)),
    elements=st.floats(-100, 100, width=32, allow_subnormal=False),
)


def random_network(features: int, hidden: tuple[int, ...] = HIDDEN, seed: int = 0) -> Autoencoder:
    fresh = Autoencoder.fresh(features, hidden, seed)
    random = np.random.default_rng(seed)
    return Autoencoder(
        fresh.weights, tuple(random.standard_normal(len(bias)).astype(np.float32) for bias in fresh.biases)
    )


def test_the_gradients_are_those_of_torch() -> None:
    network = random_network(5, (7, 3, 7))
    records = np.random.default_rng(1).standard_normal((11, 5)).astype(np.float32)
    loss, by_weights, by_biases = network.loss_and_gradients(records, records)
    weights = [torch.tensor(weight, requires_grad=True) for weight in network.weights]
    biases = [torch.tensor(bias, requires_grad=True) for bias in network.biases]
    hidden = torch.tensor(records)
    for number, (weight, bias) in enumerate(zip(weights, biases, strict=True), 1):
        hidden = hidden @ weight + bias
        hidden = hidden if number == len(weights) else hidden.relu()
    expected = torch.mean((hidden - torch.tensor(records)) ** 2)
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    for mine, theirs in zip(by_weights + by_biases, weights + biases, strict=True):
        np.testing.assert_allclose(mine, theirs.grad.numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("bits", [8, 32])
@pytest.mark.parametrize("features", [1, 9, 128])
def test_the_bytes_are_an_onnx_model(bits: int, features: int) -> None:
    network = random_network(features)
    model = to_onnx(network, bits)
    onnx.checker.check_model(onnx.load_from_string(model), full_check=True)
    x = np.random.default_rng(2).standard_normal((4, features)).astype(np.float32)
    got = session(model, 1).run(None, {"x": x})[0]
    tolerance = 1e-4 if bits == 32 else 0.05 * np.abs(network.reconstruct(x)).max()
    np.testing.assert_allclose(got, network.reconstruct(x), atol=tolerance)
    # A record's result does not depend on the others in its batch.
    np.testing.assert_allclose(session(model, 1).run(None, {"x": x[2:3]})[0][0], got[2], rtol=1e-4, atol=1e-4)


def test_rounding_is_what_the_export_computes() -> None:
    network = random_network(9)
    x = np.random.default_rng(2).standard_normal((4, 9)).astype(np.float32)
    got = session(to_onnx(network, 8), 1).run(None, {"x": x})[0]
    np.testing.assert_allclose(got, rounded(network).reconstruct(x), rtol=1e-4, atol=1e-4)


def test_other_bits_are_refused() -> None:
    with pytest.raises(ValueError, match="bits"):
        to_onnx(random_network(3), 4)


@given(WEIGHTS)
def test_int8_is_within_half_a_step(weight: np.ndarray) -> None:
    levels, scale = quantize_channels(weight)
    assert levels.min() >= -127 and np.array_equal(np.exp2(np.rint(np.log2(scale))), scale)
    assert (np.abs(levels * scale - weight) <= 0.5 * scale + 1e-6).all()
    assert (scale <= np.maximum(2 * np.abs(weight).max(axis=0) / 127, 1) * 1.001).all()


@given(WEIGHTS)
def test_short_floats_keep_eight_bits(values: np.ndarray) -> None:
    short = short_floats(values)
    assert (np.abs(short - values) <= np.abs(values) / 256 + 1e-19).all()
    assert not (short.view(np.uint32) & 0xFFFF).any()


@given(st.binary(max_size=300))
def test_what_is_stored_comes_back(content: bytes) -> None:
    assert restored(stored(content), 300) == content
    with pytest.raises(ValueError, match="deflated|short"):
        restored(stored(content)[:-1], 300)


def test_a_bomb_is_refused() -> None:
    with pytest.raises(ValueError, match="too large"):
        restored(stored(bytes(1_000_000)), 1000)


@pytest.mark.parametrize("features", [4, 9, 30, 128])
def test_the_compact_network_meets_the_promised_size(features: int) -> None:
    wide = [features, *HIDDEN, features]
    sparsity = compact_sparsity(wide)
    assert sparsity >= 0.8
    narrow = random_network(features, tuple(widths_for(wide, sparsity, 8)[1:-1]), 5)
    share = len(stored(to_onnx(narrow, 8))) / len(stored(to_onnx(random_network(features, seed=6), 32)))
    assert share <= max(SIZE_BAR, 0.08) or features < 9


def test_training_learns_and_both_prunings_keep_it() -> None:
    scaler = Scaler.fit(normal_rows(3000).astype(np.float32))
    training, validation = scaler(normal_rows(3000)), scaler(normal_rows(400, 1))
    odd = scaler(odd_rows(400))

    def gap(network: Autoencoder) -> float:
        normal, strange = (np.square(network.reconstruct(x) - x).mean(axis=1) for x in (validation, odd))
        return float((strange[:, None] > normal[None]).mean())

    network = train(training, validation, QUICK)
    assert gap(network) > 0.9
    pruned = prune_weights(network, training, validation, QUICK)
    zeros = sum(int((weight == 0).sum()) for weight in pruned.weights)
    assert zeros >= 0.8 * sum(weight.size for weight in pruned.weights) - 1
    units = prune_units(network, training, validation, QUICK)
    count = [sum(weight.size for weight in n.weights) for n in (units, network)]
    assert count[0] <= 0.2 * count[1]
    tuned = tune_for_int8(units, network, training, validation, QUICK)
    assert gap(pruned) > 0.85 and gap(units) > 0.85 and gap(rounded(tuned)) > 0.85
    np.testing.assert_array_equal(train(training, validation, QUICK).weights[0], network.weights[0])


def test_narrowing_to_the_same_widths_changes_nothing() -> None:
    network = random_network(6)
    x = np.random.default_rng(0).standard_normal((20, 6)).astype(np.float32)
    np.testing.assert_allclose(narrowed(network, network.widths, x).reconstruct(x), network.reconstruct(x))


@given(st.integers(0, 1000))
def test_the_threshold_lets_the_promised_share_through(seed: int) -> None:
    scores = np.random.default_rng(seed).gamma(1.0, 1.0, 4000)
    fresh = np.random.default_rng(seed + 5000).gamma(1.0, 1.0, 20_000)
    assert (fresh > fit_threshold(scores, 0.005)).mean() < 0.01


def test_the_tail_of_a_known_distribution() -> None:
    random = np.random.default_rng(0)
    assert tail_quantile(random.exponential(1, 100_000), 0.001) == pytest.approx(np.log(1000), rel=0.05)
    assert tail_quantile(random.pareto(3, 100_000), 0.001) == pytest.approx(9, rel=0.1)
    assert tail_quantile(np.ones(5000), 0.001) == 1.0
    assert tail_quantile(np.arange(10.0), 0.05) == pytest.approx(8.55)


@pytest.mark.parametrize(("count", "alpha"), [(0, 0.01), (10, 0.0), (10, 0.2)])
def test_a_threshold_that_cannot_be_is_refused(count: int, alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha"):
        fit_threshold(np.ones(count), alpha)


@given(st.lists(st.booleans(), max_size=40), st.integers(1, 6), st.integers(1, 6))
def test_the_vote_counts_the_last_records(above: list[bool], window: int, needed: int) -> None:
    expected = [sum(above[max(0, i - window + 1) : i + 1]) >= needed for i in range(len(above))]
    assert voted(np.array(above, bool), Vote(window, needed)).tolist() == expected
