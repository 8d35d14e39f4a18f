from __future__ import annotations

import unicodedata

import numpy as np
import pytest

from agents.surface import BUCKETS, surface_features


def test_rows_have_length_one_and_blank_ones_zero() -> None:
    rows = surface_features(["얼마예요?", "  ", "", "a", "가" * 10_000, "\ud800"])
    assert rows.shape == (6, BUCKETS)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), [1, 0, 0, 1, 1, 1], rtol=1e-5)


def test_normal_forms_and_spaces_do_not_matter() -> None:
    first, second, third = surface_features(
        ["서류는 뭐예요?", unicodedata.normalize("NFD", "서류는 뭐예요?"), " 서류는   뭐예요? "]
    )
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, third)


def test_the_same_ending_brings_questions_together() -> None:
    question, other, statement = surface_features(["신청할 수 있나요?", "주차할 수 있나요?", "주차하고 왔어"])
    assert question @ other > question @ statement


@pytest.mark.parametrize("length", [400, 401, 5000])
def test_the_ending_of_a_long_message_counts(length: int) -> None:
    first, second = surface_features(["가" * length + " 있나요?", "가" * length + " 힘들었어"])
    assert not np.array_equal(first, second)
