"""Korean numbers in digits and in words, and quantities with their units.

Sino-Korean (이십삼), native (스물세) and digits with a multiplier (3만) are read. Ambiguity:

* A number word counts only before a unit: ``이`` is a particle far more often than a two.
* Before a unit a number word stands at the start of a word (``스물두 도``); run together with the word before it
  (``에어컨십팔도로``) it needs two syllables.
* Native and Sino-Korean numbers do not mix in one number (``스물이`` is no number).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_DIGITS = {
    "영": 0,
    "공": 0,
    "일": 1,
    "이": 2,
    "삼": 3,
    "사": 4,
    "오": 5,
    "육": 6,
    "륙": 6,
    "칠": 7,
    "팔": 8,
    "구": 9,
}
_PLACES = {"십": 10, "백": 100, "천": 1000}
_MYRIADS = {"만": 10_000, "억": 100_000_000}
_TENS = {
    "열": 10,
    "스물": 20,
    "스무": 20,
    "서른": 30,
    "마흔": 40,
    "쉰": 50,
    "예순": 60,
    "일흔": 70,
    "여든": 80,
    "아흔": 90,
}
_ONES = {
    "하나": 1, "한": 1, "둘": 2, "두": 2, "셋": 3, "세": 3, "석": 3, "넷": 4, "네": 4, "넉": 4, "다섯": 5, "여섯": 6,
    "일곱": 7, "여덟": 8, "아홉": 9,
}  # fmt: skip
_TEN, _ONE = "|".join(_TENS), "|".join(_ONES)

SINO = f"[{''.join(_DIGITS)}{''.join(_PLACES)}{''.join(_MYRIADS)}]+"
NATIVE = f"(?:(?:{_TEN})\\s?(?:{_ONE})|{_TEN}|{_ONE})"
NUMBER = f"(?:\\d[\\d,]*(?:\\.\\d+)?(?:\\s?[만천백억])?|{NATIVE}|{SINO})"
_FIGURE = re.compile(r"(\d[\d,]*(?:\.\d+)?)\s?([만천백억]?)")
_NATIVE_PARTS = re.compile(f"({_TEN})?\\s?({_ONE})?")

# Units as they are written → their name. Longer ones come first, or 시간 would be read as 시.
_UNITS = {
    "퍼센트": "%", "프로": "%", "퍼": "%", "%": "%", "％": "%", "도씨": "도", "도": "도", "℃": "도", "°C": "도",
    "단계": "단계", "단": "단계", "칸": "단계", "시간": "시간", "분": "분", "초": "초", "번": "번", "배": "배",
    "개": "개", "명": "명", "원": "원", "킬로": "킬로", "리터": "리터",
}  # fmt: skip
_UNIT = "|".join(sorted(map(re.escape, _UNITS), key=len, reverse=True))
_SIGN = r"(?P<sign>영하|마이너스|-)?\s?"
_QUANTITY = re.compile(f"(?<![가-힣\\d.]){_SIGN}(?P<number>{NUMBER})\\s?(?P<unit>{_UNIT})")
_RUN_TOGETHER = re.compile(
    f"(?P<sign>영하|마이너스)?(?P<number>\\d+(?:\\.\\d+)?|{SINO[:-1]}{{2,}})(?P<unit>{_UNIT})"
)


@dataclass(frozen=True)
class Quantity:
    """A number with its unit, and where it stands in the text."""

    value: float
    unit: str
    start: int
    end: int


def parse_number(text: str) -> float | None:
    """The value of a number in digits or words; None when ``text`` is not one number."""
    text = text.strip()
    if figure := _FIGURE.fullmatch(text):
        return float(figure[1].replace(",", "")) * (_PLACES | _MYRIADS).get(figure[2], 1)
    native = _NATIVE_PARTS.fullmatch(text)
    if native and text:
        return float(_TENS.get(native[1], 0) + _ONES.get(native[2], 0))
    return _sino(text)


def _sino(text: str) -> float | None:
    """A Sino-Korean number; digits in a row without a place (``일이``) are none."""
    if not text or not re.fullmatch(SINO, text):
        return None
    total = section = 0
    digit = -1
    for letter in text:
        if letter in _DIGITS:
            if digit >= 0:
                return None
            digit = _DIGITS[letter]
        elif letter in _PLACES:
            section += (1 if digit < 0 else digit) * _PLACES[letter]
            digit = -1
        else:
            section += max(digit, 0)
            total += (section or 1) * _MYRIADS[letter]
            section, digit = 0, -1
    return float(total + section + max(digit, 0))


def quantities(text: str) -> list[Quantity]:
    """Every quantity of the text in order; below zero with 영하, 마이너스 or a minus sign."""
    return list(_matches(_QUANTITY, text)) or list(_matches(_RUN_TOGETHER, text))


def _matches(pattern: re.Pattern[str], text: str) -> Iterator[Quantity]:
    for found in pattern.finditer(text):
        value = parse_number(found["number"])
        # "이 도시": a single Sino-Korean syllable away from its unit is a word of its own.
        apart = found["number"] in _DIGITS and found.end("number") < found.start("unit")
        if value is not None and not apart:
            signed = -value if found["sign"] else value
            yield Quantity(signed, _UNITS[found["unit"]], found.start(), found.end())
