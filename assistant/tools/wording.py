"""How results read: particles, days and times as people say them."""

from __future__ import annotations

from datetime import date, datetime, time

_WEEKDAYS = "월화수목금토일"
_NEAR = {-1: "어제", 0: "오늘", 1: "내일", 2: "모레"}


def ends_in_consonant(word: str) -> bool:
    """Whether the last syllable has a final consonant; other letters count as having none."""
    last = word.rstrip("’'\")")[-1:]
    return "가" <= last <= "힣" and (ord(last) - ord("가")) % 28 > 0


def with_object(word: str) -> str:
    """The word with 을 or 를."""
    return word + ("을" if ends_in_consonant(word) else "를")


def with_topic(word: str) -> str:
    """The word with 은 or 는."""
    return word + ("은" if ends_in_consonant(word) else "는")


def with_subject(word: str) -> str:
    """The word with 이 or 가."""
    return word + ("이" if ends_in_consonant(word) else "가")


def with_direction(word: str) -> str:
    """The word with 으로 or 로; after ㄹ, a numeral's or a sign's reading (퍼센트, 도) it is 로."""
    last = word.rstrip(" ’'\")").removesuffix(")")[-1:]
    final = (ord(last) - ord("가")) % 28 if "가" <= last <= "힣" else 1 if last in "036" else 0
    return word + ("로" if final in (0, 8) else "으로")


def day_in_words(day: date, today: date) -> str:
    """A day: 내일(11월 25일 수요일), 2027년 3월 2일 화요일; the year only where it is another."""
    year = f"{day.year}년 " if day.year != today.year else ""
    full = f"{year}{day.month}월 {day.day}일 {_WEEKDAYS[day.weekday()]}요일"
    near = _NEAR.get((day - today).days)
    return f"{near}({full})" if near else full


def time_in_words(moment: time) -> str:
    """A time: 오전 9시, 오후 3시 30분, 정오; midnight is 오전 0시, for 자정 may be either end of a day."""
    if (moment.hour, moment.minute) == (12, 0):
        return "정오"
    half, hour = ("오전", moment.hour) if moment.hour < 12 else ("오후", (moment.hour - 1) % 12 + 1)
    return f"{half} {hour}시" + (f" {moment.minute}분" if moment.minute else "")


def moment_in_words(moment: datetime, now: datetime) -> str:
    """A day and a time; the day is left out when it is today."""
    day = "" if moment.date() == now.date() else day_in_words(moment.date(), now.date()) + " "
    return day + time_in_words(moment.time())


def minutes_in_words(minutes: int) -> str:
    """A length of time: 30분, 1시간 30분, 하루, 3일."""
    days, rest = divmod(minutes, 1440)
    hours, left = divmod(rest, 60)
    parts = [
        "하루" if days == 1 else f"{days}일" if days else "",
        f"{hours}시간" if hours else "",
        f"{left}분" if left else "",
    ]
    return " ".join(part for part in parts if part) or "0분"
