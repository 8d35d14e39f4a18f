from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from agents.adapter import Adapter, log_odds, softmax
from agents.train_adapter import AdapterRecipe, fit_temperature, loss_and_gradients, train_adapter
from compression.errors import ModelCorruptError, ModelMissingError


def random_adapter(seed: int = 0) -> Adapter:
    """Every weight random, in double precision for finite differences."""
    chooser = np.random.default_rng(seed)
    fresh = Adapter.fresh(inputs=6, intents=3, rank=4)
    return Adapter(
        **{field.name: chooser.normal(size=getattr(fresh, field.name).shape) for field in fields(fresh)}
    )


def test_a_fresh_adapter_scores_everything_alike() -> None:
    adapter = Adapter.fresh(inputs=6, intents=3, rank=4)
    logits = adapter.logits(np.ones((2, 6), np.float32))
    assert logits.shape == (2, 4)
    assert logits.dtype == np.float32
    assert not logits.any()


def test_with_a_zero_up_projection_the_input_passes_through() -> None:
    adapter = replace(random_adapter(), up=np.zeros((6, 4)))
    inputs = np.random.default_rng(1).normal(size=(5, 6))
    np.testing.assert_allclose(adapter.logits(inputs), inputs @ adapter.head.T + adapter.offset)


@pytest.mark.parametrize("weight", ["down", "bias", "up", "head", "offset"])
def test_gradients_equal_finite_differences(weight: str) -> None:
    chooser = np.random.default_rng(2)
    adapter = random_adapter()
    inputs = chooser.normal(size=(7, 6))
    allowed = np.eye(4, dtype=bool)[chooser.integers(0, 4, 7)]
    allowed[0] = [True, True, True, False]
    weights = chooser.random(7) + 0.1
    _, gradients = loss_and_gradients(adapter, inputs, allowed, weights, 0.1)
    values = getattr(adapter, weight)
    for place in np.ndindex(values.shape):
        step = np.zeros_like(values)
        step[place] = 1e-6
        above, _ = loss_and_gradients(
            replace(adapter, **{weight: values + step}), inputs, allowed, weights, 0.1
        )
        below, _ = loss_and_gradients(
            replace(adapter, **{weight: values - step}), inputs, allowed, weights, 0.1
        )
        assert gradients[weight][place] == pytest.approx((above - below) / 2e-6, abs=1e-6)


def test_training_learns_what_a_linear_head_cannot() -> None:
    inputs = np.array([[0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]] * 20, np.float32)
    odd = np.array([0, 1, 1, 0] * 20, bool)
    allowed = np.stack([odd, ~odd], axis=1)
    recipe = AdapterRecipe(epochs=300, learning_rate=2e-2, decay=0.0, dropout=0.0)
    adapter = train_adapter(inputs, allowed, np.ones(80, np.float32), recipe)
    assert ((log_odds(adapter.logits(inputs)) > 0) == odd).all()


def test_training_is_repeatable() -> None:
    inputs = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    allowed = np.eye(3, dtype=bool)[np.arange(40) % 3]
    first, second = (
        train_adapter(inputs, allowed, np.ones(40, np.float32), AdapterRecipe(epochs=3)) for _ in "ab"
    )
    np.testing.assert_array_equal(first.head, second.head)


def test_log_odds_are_those_of_the_probabilities() -> None:
    logits = np.random.default_rng(3).normal(size=(9, 4)) * 5
    mine = softmax(logits)[:, :-1].sum(axis=1)
    np.testing.assert_allclose(log_odds(logits), np.log(mine / (1 - mine)), rtol=1e-6)


def test_huge_logits_stay_finite() -> None:
    assert np.isfinite(softmax(np.array([[1e4, -1e4, 0.0]]))).all()
    assert np.isfinite(log_odds(np.array([[1e4, -1e4, 0.0]]))).all()


def test_the_temperature_undoes_overconfidence() -> None:
    chooser = np.random.default_rng(4)
    honest = chooser.normal(size=(4000, 3)) * 2
    labels = np.array([chooser.choice(3, p=row) for row in softmax(honest)])
    assert fit_temperature(honest * 3, labels) == pytest.approx(3, rel=0.15)


def test_saved_weights_come_back(tmp_path: Path) -> None:
    adapter = train_adapter(
        np.eye(4, dtype=np.float32), np.eye(4, dtype=bool), np.ones(4, np.float32), AdapterRecipe()
    )
    adapter.save(tmp_path / "a.safetensors")
    again = Adapter.load(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(
        again.logits(np.eye(4, dtype=np.float32)), adapter.logits(np.eye(4, dtype=np.float32))
    )


def test_missing_and_damaged_files(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    with pytest.raises(ModelMissingError, match=r"a\.safetensors"):
        Adapter.load(path)
    path.write_bytes(b"not safetensors")
    with pytest.raises(ModelCorruptError, match=r"a\.safetensors"):
        Adapter.load(path)
    Adapter.fresh(6, 3, 4).save(path)
    tensors = load_file(path)
    save_file({**tensors, "up": np.zeros((5, 4), np.float32)}, path)
    with pytest.raises(ModelCorruptError):
        Adapter.load(path)
    save_file({name: tensor for name, tensor in tensors.items() if name != "head"}, path)
    with pytest.raises(ModelCorruptError):
        Adapter.load(path)
