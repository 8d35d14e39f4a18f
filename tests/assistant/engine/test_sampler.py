from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from assistant.engine.sampler import GenerationOptions, Sampler
from assistant.errors import SettingsError

LOGITS = arrays(np.float32, st.integers(2, 40), elements=st.floats(-50, 50, width=32))


def logits(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


@given(LOGITS)
def test_greedy_takes_the_largest(values: np.ndarray) -> None:
    assert Sampler(GenerationOptions()).choose(values.copy(), []) == values.argmax()


@given(LOGITS, st.floats(1e-3, 5), st.floats(0.05, 1), st.integers(0, 2**32))
def test_a_seed_makes_sampling_repeatable_and_inside_the_nucleus(
    values: np.ndarray, temperature: float, top_p: float, seed: int
) -> None:
    options = GenerationOptions(temperature=temperature, top_p=top_p, seed=seed)
    first, second = Sampler(options), Sampler(options)
    chosen = [first.choose(values.copy(), []) for _ in range(5)]
    assert chosen == [second.choose(values.copy(), []) for _ in range(5)]
    probabilities = np.exp((values.astype(np.float64) - values.max()) / temperature)
    probabilities /= probabilities.sum()
    for token in chosen:
        assert probabilities[probabilities > probabilities[token]].sum() < top_p


def test_sampling_follows_the_probabilities() -> None:
    sampler = Sampler(GenerationOptions(temperature=1.0, seed=1))
    values = np.log(logits(0.7, 0.2, 0.1))
    counts = np.bincount([sampler.choose(values.copy(), []) for _ in range(3000)], minlength=3)
    np.testing.assert_allclose(counts / 3000, [0.7, 0.2, 0.1], atol=0.04)


def test_the_nucleus_drops_the_tail() -> None:
    sampler = Sampler(GenerationOptions(temperature=1.0, top_p=0.75, seed=1))
    values = np.log(logits(0.6, 0.25, 0.15))
    assert {sampler.choose(values.copy(), []) for _ in range(300)} == {0, 1}


def test_a_tiny_temperature_is_greedy_without_overflow() -> None:
    assert Sampler(GenerationOptions(temperature=1e-8, seed=0)).choose(logits(90, 91, -90), []) == 1


def test_the_repetition_penalty_lowers_generated_tokens_of_either_sign() -> None:
    options = GenerationOptions(repetition_penalty=2.0)
    assert Sampler(options).choose(logits(3, 2), [0]) == 1
    assert Sampler(options).choose(logits(-2, -3), [0]) == 1
    assert Sampler(options).choose(logits(3, 2), []) == 0


def test_a_constraint_sees_the_tokens_and_decides() -> None:
    seen = []

    def ban_first(generated: list[int], values: np.ndarray) -> None:
        seen.append(list(generated))
        values[0] = -np.inf

    for temperature in (0.0, 1.0):
        sampler = Sampler(GenerationOptions(temperature=temperature, seed=0), ban_first)
        assert sampler.choose(logits(50, 1, 0), [2]) in (1, 2)
    assert seen == [[2], [2]]


@pytest.mark.parametrize(
    "values",
    [
        {"max_tokens": 0},
        {"temperature": -0.1},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"repetition_penalty": 0.0},
        {"seed": -1},
    ],
)
def test_settings_that_cannot_work_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=next(iter(values))):
        GenerationOptions(**values)
