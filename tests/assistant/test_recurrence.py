from __future__ import annotations

from datetime import date, timedelta

import pytest

from assistant.tools.recurrence import falls_on, next_day, repeat_in_words


@pytest.mark.parametrize(
    ("repeat", "first", "days"),
    [
        ("daily:2", date(2026, 11, 24), ["2026-11-26", "2026-11-28", "2026-11-30"]),
        ("weekly:0,2,4", date(2026, 11, 25), ["2026-11-27", "2026-11-30", "2026-12-02"]),
        ("monthly", date(2027, 1, 31), ["2027-02-28", "2027-03-31", "2027-04-30"]),
        ("month_end", date(2026, 11, 30), ["2026-12-31", "2027-01-31", "2027-02-28"]),
        ("yearly", date(2028, 2, 29), ["2029-02-28", "2030-02-28", "2031-02-28", "2032-02-29"]),
    ],
)
def test_the_days_of_a_repetition(repeat: str, first: date, days: list[str]) -> None:
    found, day = [], first
    for _ in days:
        day = next_day(day, first, repeat)
        found.append(str(day))
    assert found == days


def test_nothing_falls_before_its_first_day() -> None:
    first = date(2026, 11, 24)
    assert next_day(first - timedelta(days=30), first, "daily") == first
    assert not falls_on(first - timedelta(days=7), first, "weekly")


@pytest.mark.parametrize(
    ("repeat", "words"),
    [("", ""), ("daily", "매일"), ("daily:3", "3일마다"), ("weekly", "매주"), ("weekly:0,4", "매주 월·금")],
)
def test_a_repetition_in_words(repeat: str, words: str) -> None:
    assert repeat_in_words(repeat) == words
