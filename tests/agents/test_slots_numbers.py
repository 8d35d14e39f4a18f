from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.slots.numbers import parse_number, quantities


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7), ("3,500", 3500), ("2.5", 2.5), ("3만", 30_000), ("영", 0), ("십", 10), ("십팔", 18),
        ("이십삼", 23), ("구십구", 99), ("백오", 105), ("천이백", 1200), ("만오천", 15_000), ("삼만 ", 30_000),
        ("하나", 1), ("한", 1), ("두", 2), ("석", 3), ("네", 4), ("열", 10), ("스무", 20), ("스물두", 22),
        ("서른다섯", 35), ("아흔아홉", 99), ("열 한", 11),
    ],
)  # fmt: skip
def test_numbers_in_digits_and_words(text: str, value: float) -> None:
    assert parse_number(text) == value


@pytest.mark.parametrize("text", ["", "일이", "스물이", "가나", "3 4", "두세 개", "-"])
def test_what_is_no_number(text: str) -> None:
    assert parse_number(text) is None


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("스물두 도로 올려 줘", 22, "도"), ("26도로", 26, "도"), ("에어컨십팔도로내려", 18, "도"),
        ("두 도만", 2, "도"),
        ("영하 18도", -18, "도"), ("마이너스 5도", -5, "도"), ("삼십 퍼센트", 30, "%"), ("50프로", 50, "%"),
        ("70%", 70, "%"),
        ("7단으로", 7, "단계"), ("두 칸 내려", 2, "단계"), ("2단계", 2, "단계"), ("채널 11번", 11, "번"),
        ("세 시간", 3, "시간"),
        ("십오 분", 15, "분"), ("22.5도", 22.5, "도"),
    ],
)  # fmt: skip
def test_quantities(text: str, value: float, unit: str) -> None:
    found = quantities(text)[0]
    assert (found.value, found.unit) == (value, unit)
    assert text[found.start : found.end].strip()[-1:] in "도%트로단계번분간칸"


@pytest.mark.parametrize("text", ["이 도시에 살아요", "거실 불 켜 줘", "온도를 알려 줘", "두고 와"])
def test_particles_are_no_quantities(text: str) -> None:
    assert quantities(text) == []


@given(st.text(max_size=40))
def test_any_text_is_read_without_a_fault(text: str) -> None:
    parse_number(text)
    for found in quantities(text):
        assert 0 <= found.start < found.end <= len(text)
