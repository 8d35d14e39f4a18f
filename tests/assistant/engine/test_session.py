from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.engine.config import read_config
from assistant.engine.session import PREFILL_CHUNK, ModelSession, common_prefix

IDS = np.random.default_rng(2).integers(3, 340, 300).tolist()


@pytest.fixture
def session(model: Path) -> ModelSession:
    return ModelSession(model, read_config(model), threads=1)


def prefilled(session: ModelSession, ids: list[int]) -> np.ndarray:
    """The logits after a prefill, kept."""
    return np.array(session.prefill(ids))


def test_keys_and_values_are_written_in_place_and_no_further(session: ModelSession) -> None:
    before = [cache.ctypes.data for _, cache in session._caches]
    session.prefill(IDS[:20])
    session.forward([7])
    assert [cache.ctypes.data for _, cache in session._caches] == before
    for _, cache in session._caches:
        assert np.abs(cache[:, :, :21]).max(axis=(1, 3)).min() > 0
        assert (cache[:, :, 21:] == 0).all()


def test_chunks_of_prefill_join_without_a_seam(session: ModelSession, model: Path) -> None:
    assert len(IDS) > 2 * PREFILL_CHUNK
    step_by_step = ModelSession(model, read_config(model), threads=1)
    logits = [np.array(step_by_step.forward([token])[0]) for token in IDS]
    np.testing.assert_allclose(prefilled(session, IDS), logits[-1], atol=0.05)
    assert session.tokens == step_by_step.tokens == IDS


def test_rows_are_those_of_the_last_tokens(session: ModelSession) -> None:
    last = np.array(session.forward(IDS[:9]))
    session.rewind(0)
    rows = np.array(session.forward(IDS[:9], rows=4))
    assert rows.shape == (4, 352)
    np.testing.assert_allclose(rows[-1:], last, atol=1e-3)
    session.rewind(6)
    np.testing.assert_allclose(rows[:1], prefilled(session, IDS[:6])[None], atol=0.05)


def test_a_prefix_is_reused_and_the_rest_forgotten(session: ModelSession) -> None:
    cold = prefilled(session, IDS[:40])
    other = IDS[:30] + [5, 6, 7]
    assert session.cached(other) == 30
    session.prefill(other)
    assert session.tokens == other
    assert session.cached(IDS[:40]) == 30
    np.testing.assert_allclose(prefilled(session, IDS[:40]), cold, atol=0.05)
    assert session.cached(IDS[:40]) == 39
    np.testing.assert_allclose(prefilled(session, IDS[:40]), cold, atol=0.05)


def test_a_cancelled_prefill_keeps_the_chunks_that_ran(session: ModelSession) -> None:
    asked = iter([False, True])
    assert session.prefill(IDS, lambda: next(asked)) is None
    assert session.tokens == IDS[:PREFILL_CHUNK]
    assert session.cached(IDS) == PREFILL_CHUNK


def test_a_failed_pass_leaves_the_slot_as_it_was(session: ModelSession) -> None:
    cold = prefilled(session, IDS[:10])
    with pytest.raises(Exception, match=r"(?i)length|capacity|sequence|range"):
        session.forward([5] * 400)
    assert session.tokens == IDS[:10]
    np.testing.assert_allclose(prefilled(session, IDS[:10]), cold, atol=1e-3)


@given(st.lists(st.integers(0, 2)), st.lists(st.integers(0, 2)))
def test_common_prefix(left: list[int], right: list[int]) -> None:
    size = common_prefix(left, right)
    assert left[:size] == right[:size]
    assert left[size : size + 1] != right[size : size + 1] or size == len(left) == len(right)
