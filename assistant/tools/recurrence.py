"""What repeats: how a repetition is written, on which days it falls, and how it reads in Korean."""

from __future__ import annotations

import calendar
from datetime import date, timedelta
from typing import Annotated

from pydantic import StringConstraints

_FORM = (
    r"^(|daily|weekdays|weekly|biweekly|monthly|month_end|yearly"
    r"|daily:[1-9]\d{0,2}|weekly:[0-6](,[0-6]){0,6})$"
)
# Days apart (``daily:2``) and weekdays (``weekly:0,2``, Monday is 0) follow a colon.
Repeat = Annotated[str, StringConstraints(pattern=_FORM)]
_WORDS = {
    "daily": "매일",
    "weekdays": "평일마다",
    "weekly": "매주",
    "biweekly": "격주로",
    "monthly": "매달",
    "month_end": "매달 말일",
    "yearly": "매년",
}
_WEEKDAYS = "월화수목금토일"


def falls_on(day: date, first: date, repeat: Repeat) -> bool:
    """Whether what repeats since its first day falls on a day.

    A day that a month or a year lacks (31일, 2월 29일) becomes the month's last.

    Args:
        day: to look at.
        first: the first day.
        repeat: how it repeats; not empty.
    """
    since = (day - first).days
    kind, _, details = repeat.partition(":")
    if since < 0:
        return False
    if kind == "daily":
        return since % int(details or 1) == 0
    if kind == "weekdays":
        return day.weekday() < 5
    if kind == "weekly":
        return str(day.weekday()) in (details or str(first.weekday()))
    if kind == "biweekly":
        return since % 14 == 0
    last = calendar.monthrange(day.year, day.month)[1]
    return day.day == (last if kind == "month_end" else min(first.day, last)) and (
        kind != "yearly" or day.month == first.month
    )


def next_day(after: date, first: date, repeat: Repeat) -> date:
    """The first day past ``after`` on which it falls; ``first`` itself when that is later."""
    day = max(after + timedelta(days=1), first)
    while not falls_on(day, first, repeat):
        day += timedelta(days=1)
    return day


def repeat_in_words(repeat: Repeat) -> str:
    """매주, 매주 월·수, 2일마다 …; empty for what does not repeat."""
    kind, _, details = repeat.partition(":")
    if kind == "daily" and details not in ("", "1"):
        return f"{details}일마다"
    named = (
        "·".join(_WEEKDAYS[int(day)] for day in details.split(",")) if kind == "weekly" and details else ""
    )
    return f"{_WORDS.get(kind, '')} {named}".strip()
