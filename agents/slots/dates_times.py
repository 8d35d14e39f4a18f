"""Korean dates and times: 내일 오후 세 시 반, 다음 주 화요일, 3월 말, 두 시간 뒤, 매주 월요일.

A rule grammar of regular expressions. ``now`` is always given, so that the same words give the same moment.
Lunar holidays (설날, 추석) are not read. Ambiguity is settled thus:

* A month and day without a year is the next such day, today included.
* A weekday alone is the next such day, today included. ``이번 주``, ``다음 주`` count calendar weeks from Monday;
  ``다음 화요일`` is next week's; ``이번 주말`` is the Saturday and Sunday of this calendar week.
* A day alone (``15일``) is the next such day; a day or weekday beside a longer span (``3월 말 … 28일``,
  ``이번 주말 … 토요일``) is the one inside it.
* ``초``, ``중순``, ``말`` of a month are days 1–10, 11–20 and 21 to the end. ``둘째 주 월요일`` is the second Monday.
* An hour without 오전 or 오후: 1–6 is in the afternoon, 7–11 in the morning unless that has passed today, 12 is noon.
  Someone who wants to be woken (``early``) means the morning from 4 on. 13–24 and 0 are as written.
* A day that no calendar has (2월 30일) is no day: it is kept in the person's words for whoever asks again.
* 밤 12시 and 자정 are the midnight that ends the day named; 밤 1–4시 are the hours after it. 0시 and 새벽 12시
  begin the day named.
* ``3시 15분 전`` is 2:45. ``하루 전`` lies before now; how long before an event is for `agents.slots.schedule`.
* A time alone is the next one ahead of now.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta

from agents.slots.numbers import NATIVE, SINO, parse_number

_WEEKDAYS = "월화수목금토일"
_FIXED_DAYS = {
    "크리스마스이브": (12, 24), "크리스마스 이브": (12, 24), "크리스마스": (12, 25), "성탄절": (12, 25),
    "어린이날": (5, 5), "어버이날": (5, 8), "스승의 날": (5, 15), "현충일": (6, 6), "제헌절": (7, 17),
    "광복절": (8, 15), "개천절": (10, 3), "한글날": (10, 9), "삼일절": (3, 1), "신정": (1, 1),
    "밸런타인데이": (2, 14), "발렌타인데이": (2, 14),
}  # fmt: skip
_NEAR_DAYS = {
    "그끄저께": -3, "그저께": -2, "그제": -2, "엊그제": -2, "어저께": -1, "어제": -1, "오늘": 0, "금일": 0,
    "내일모레": 2, "내일 모레": 2, "낼모레": 2, "낼 모레": 2, "내일": 1, "명일": 1, "모레": 2, "그글피": 4, "글피": 3,
}  # fmt: skip
_DAY_COUNTS = {
    "하루": 1, "이틀": 2, "사흘": 3, "나흘": 4, "닷새": 5, "엿새": 6, "이레": 7, "여드레": 8, "아흐레": 9,
    "열흘": 10, "보름": 15,
}  # fmt: skip
_WEEKS = {
    "지지난": -2,
    "지난": -1,
    "저번": -1,
    "이번": 0,
    "요번": 0,
    "금": 0,
    "다다음": 2,
    "다음": 1,
    "담": 1,
}
_MONTHS = {"지지난": -2, "지난": -1, "저번": -1, "이번": 0, "요번": 0, "이": 0, "다다음": 2, "다음": 1,
           "담": 1, "내": 1}  # fmt: skip
_YEARS = {"재작년": -2, "작년": -1, "올해": 0, "금년": 0, "내년": 1, "내후년": 2, "후년": 2}
_ORDINALS = {"첫": 1, "첫째": 1, "첫번째": 1, "둘째": 2, "두번째": 2, "셋째": 3, "세번째": 3, "넷째": 4,
             "네번째": 4, "다섯째": 5, "다섯번째": 5, "마지막": -1}  # fmt: skip
_MEAL = re.compile("\\s?(?:약속|식사|먹|밥|회식|모임|술)")
_MORNING = frozenset({"오전", "아침", "새벽", "am"})
_PARTS = "오전|오후|아침|점심|저녁|새벽|한밤중|밤(?!새|샘)|대낮|낮(?!잠)"

_TO = ("부터", "~", "-")
_N = f"(?:\\d+|{NATIVE}|{SINO})"
_EDGE = "(?<![가-힣\\d])"
_AFTER = r"(?:\s?(?:만|쯤|정도))?\s?(?:뒤|후|있다가|있다|이따가|이따|지나서|지나면|타이머)"
_MONTH = r"(?P<month>1[0-2]|0?[1-9]|십이|십일|시|십|유|일|이|삼|사|오|육|칠|팔|구)\s?월(?![급세식드])"
_DAY = r"(?P<day>3[01]|[12]\d|0?[1-9]|삼십일|삼십|이?십?[일이삼사오육칠팔구]|이?십)\s?일"
_YEAR = r"(?P<year>\d{4}|\d{2}|이천[일이삼사오육칠팔구십]+)\s?년"
_RELATIVE_YEAR = f"(?P<which>{'|'.join(sorted(_YEARS, key=len, reverse=True))})"
_WHICH_MONTH = f"(?P<which>{'|'.join(sorted(_MONTHS, key=len, reverse=True))})\\s?달"
_WHICH_WEEK = f"(?P<which>{'|'.join(sorted(_WEEKS, key=len, reverse=True))})\\s?주"
_WEEKDAY = f"(?P<weekday>[{_WEEKDAYS}])(?:요일|욜)"
# 월수금, 월·수·금요일, 월요일이랑 수요일.
_SEVERAL = (
    f"(?P<weekdays>[{_WEEKDAYS}](?:\\s?[,·/]?\\s?[{_WEEKDAYS}])+(?:요일|욜)?"
    f"|[{_WEEKDAYS}](?:요일|욜)(?:(?:이?랑|하고|[와과,·])?\\s?[{_WEEKDAYS}](?:요일|욜))+)(?=에|마다|\\s|$|[,.])"
)
_ORDINAL = (
    r"(?P<nth>첫째|첫\s?번째|첫|둘째|두\s?번째|셋째|세\s?번째|넷째|네\s?번째|다섯째|다섯\s?번째|마지막)"
)
_THIRD = r"(?P<third>초순|초|중순|하순|말일|말)(?=$|[^가-힣]|에|의|쯤|께|경|부터|까지|로|으로|이|은|엔)"
_HOUR = f"(?P<hour>\\d{{1,2}}|{NATIVE}|이십[일이삼사]?|십[일이삼사오육칠팔구]?|영)"


@dataclass(frozen=True)
class When:
    """A moment, a day or a span of days that a text names.

    Attributes:
        first: the first day; None when only a time was said.
        last: the last day; equal to ``first`` for a single day.
        time: the time of day, or None.
        repeat: ``daily``, ``weekdays``, ``weekly``, ``biweekly``, ``monthly``, ``month_end``, ``yearly``, ``daily:2``
            (every second day), ``weekly:0,2`` (Mondays and Wednesdays), or empty.
        part: 오전, 저녁 … as said, when there is no hour to go with it.
        open_half: whether the hour was said without 오전 or 오후, which were then settled by rule.
        unreal: a day that no calendar has, as said, when no other was named.
        start: first character of the expression in the text.
        end: one past its last character.
    """

    first: date | None = None
    last: date | None = None
    time: time | None = None
    repeat: str = ""
    part: str = ""
    open_half: bool = False
    unreal: str = ""
    start: int = 0
    end: int = 0

    @property
    def day(self) -> date | None:
        """The day, when it is a single one."""
        return self.first if self.first == self.last else None

    def moment(self, now: datetime) -> datetime | None:
        """The exact moment; a time without a day is the next one ahead of ``now``. None without a time."""
        if self.time is None:
            return None
        if self.first is not None:
            return datetime.combine(self.first, self.time)
        today = datetime.combine(now.date(), self.time)
        return today if today > now else today + timedelta(days=1)


@dataclass(frozen=True)
class _Piece:
    """One expression; ``open_hour`` waits for 오전 or 오후, ``loose`` for a span to lie in.

    ``guessed`` says that the hour had neither, ``unreal`` holds a day that does not exist.
    """

    start: int = 0
    end: int = 0
    first: date | None = None
    last: date | None = None
    time: time | None = None
    open_hour: bool = False
    next_day: bool = False
    part: str = ""
    repeat: str = ""
    loose: str = ""
    guessed: bool = False
    unreal: str = ""

    @property
    def dated(self) -> bool:
        return self.first is not None


_Read = Callable[["re.Match[str]", datetime], _Piece | None]


def find(text: str, now: datetime, early: bool = False) -> When:
    """All that a text says about when, as one moment: the first day and the first time named.

    Args:
        text: a message.
        now: local time without a zone.
        early: whether an hour without 오전 or 오후 from 4 to 11 is in the morning.

    Returns:
        The moment; without day, time and repeat when the text names none.
    """
    return _joined(_settled(_pieces(text, now), now, early))


def find_all(text: str, now: datetime, early: bool = False) -> list[When]:
    """The moments of a text one by one, neighbours joined: 내일 3시 회의를 모레 5시로 has two. Arguments as `find`."""
    groups: list[list[_Piece]] = []
    for piece in _settled(_pieces(text, now), now, early):
        if groups and _belongs(groups[-1], piece, text):
            groups[-1].append(piece)
        else:
            groups.append([piece])
    return [_joined(group) for group in groups]


def spans(text: str, now: datetime) -> list[tuple[int, int]]:
    """Where expressions of time stand in a text, [start, end) in order; 저녁 in 저녁 약속 is a meal, not a time."""
    pieces = _pieces(text, now)
    return [(piece.start, piece.end) for piece in pieces if not (piece.part and _MEAL.match(text, piece.end))]


def _belongs(group: list[_Piece], piece: _Piece, text: str) -> bool:
    """Whether a piece continues the one before: hardly anything between, and it adds what is not there yet."""
    between = text[group[-1].end : piece.start].strip(" ,")
    if between in _TO:
        return True
    said_day, said_time = any(p.dated for p in group), any(p.time for p in group)
    return (
        between in ("", "에", "의", "날")
        and not (piece.dated and said_day)
        and not (piece.time and said_time)
    )


def _joined(pieces: list[_Piece]) -> When:
    days = [piece for piece in pieces if piece.dated]
    clock = next((piece for piece in pieces if piece.time is not None), None)
    first, last = (days[0].first, days[0].last) if days else (None, None)
    if len(days) > 1 and days[0].first == days[0].last and days[1].loose == "until":
        last = days[1].last
    if clock is not None and clock.next_day and first is not None and last is not None:
        first, last = first + timedelta(days=1), last + timedelta(days=1)
    return When(
        first=first,
        last=last,
        time=clock.time if clock else None,
        repeat=next((piece.repeat for piece in pieces if piece.repeat), ""),
        part="" if clock else next((piece.part for piece in pieces if piece.part), ""),
        open_half=clock is not None and clock.guessed,
        unreal="" if days else next((piece.unreal for piece in pieces if piece.unreal), ""),
        start=pieces[0].start if pieces else 0,
        end=pieces[-1].end if pieces else 0,
    )


def _pieces(text: str, now: datetime) -> list[_Piece]:
    """Expressions in order; an earlier rule takes its words from later ones."""
    found: list[_Piece] = []
    for pattern, read in _RULES:
        for match in pattern.finditer(text):
            if all(match.end() <= piece.start or match.start() >= piece.end for piece in found):
                piece = read(match, now)
                if piece is not None:
                    found.append(replace(piece, start=match.start(), end=match.end()))
    return sorted(_until(found, text), key=lambda piece: piece.start)


def _until(found: list[_Piece], text: str) -> list[_Piece]:
    """Marks the day that ends a span: 8월 1일부터 3일까지."""
    marked = []
    for piece in found:
        before = [other for other in found if other.dated and other.end <= piece.start]
        starts = max(before, key=lambda other: other.end, default=None)
        joins = starts is not None and text[starts.end : piece.start].strip() in _TO
        if joins and piece.dated and starts is not None and starts.first is not None:
            last = piece.last
            if piece.loose.startswith("day "):
                last = _with_day(starts.first, int(piece.loose[4:]))
            piece = replace(piece, last=last, first=last, loose="until")
        marked.append(piece)
    return marked


def _settled(pieces: list[_Piece], now: datetime, early: bool) -> list[_Piece]:
    """Gives open hours their half of the day, and loose days the span that they lie in."""
    spans = [piece for piece in pieces if piece.dated and piece.first != piece.last and not piece.repeat]
    day = next((piece.first for piece in pieces if piece.dated), None)
    settled, part = [], ""
    for piece in pieces:
        if piece.part:
            part = piece.part
        if piece.open_hour and piece.time is not None:
            piece, part = _with_half(piece, part, day, now, early), ""
        if piece.loose.startswith(("day ", "weekday ")) and spans:
            piece = _inside(piece, spans[0])
        settled.append(piece)
    inside = [piece for piece in settled if piece.loose == "inside"]
    return [piece for piece in settled if piece not in spans] if inside else settled


def _with_half(piece: _Piece, part: str, day: date | None, now: datetime, early: bool) -> _Piece:
    hour, minute = (piece.time or time()).hour, (piece.time or time()).minute
    next_day = False
    if part in _MORNING:
        hour = 0 if hour == 12 else hour
    elif part in ("밤", "한밤중"):
        next_day = hour == 12 or hour <= 4
        hour = hour % 12 if next_day else hour + 12
    elif part in ("낮", "대낮", "점심"):
        hour = hour + 12 if hour <= 6 else hour
    elif part:
        hour = hour + 12 if hour < 12 else hour
    elif hour <= (3 if early else 6):
        hour += 12
    elif hour < 12 and not early and (day is None or day == now.date()):
        hour += 12 if time(hour, minute) <= now.time() < time(hour + 12, minute) else 0
    return replace(
        piece, time=time(hour, minute), open_hour=False, next_day=next_day, guessed=not part and hour != 12
    )


def _inside(piece: _Piece, span: _Piece) -> _Piece:
    """The loose day's date within a span, when there is one."""
    assert span.first is not None and span.last is not None
    kind, _, number = piece.loose.partition(" ")
    for offset in range((span.last - span.first).days + 1):
        day = span.first + timedelta(days=offset)
        if (day.day if kind == "day" else day.weekday()) == int(number):
            return replace(piece, first=day, last=day, loose="inside")
    return piece


def _number(text: str) -> int:
    value = {"시": 10.0, "유": 6.0}.get(text) or parse_number(text)
    assert value is not None
    return int(value)


def _day(day: date | None, **fields: str) -> _Piece | None:
    return None if day is None else _Piece(first=day, last=day, **fields)  # type: ignore[arg-type]


def _day_of_month(match: re.Match[str], day: date | None) -> _Piece | None:
    """A day of a named month; one that the month does not have is remembered as it was said."""
    return _day(day) or _Piece(unreal=match[0].strip())


def _span(first: date, last: date) -> _Piece:
    return _Piece(first=first, last=last)


def _date(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


def _with_day(month: date, day: int) -> date | None:
    return _date(month.year, month.month, day)


def _ahead(now: datetime, month: int, day: int) -> date | None:
    """The next such day of a year, today included; a 29 February waits for its year."""
    years = (_date(now.year + offset, month, day) for offset in range(9))
    return next((found for found in years if found and found >= now.date()), None)


def _month_after(now: datetime, offset: int) -> date:
    count = now.year * 12 + now.month - 1 + offset
    return date(count // 12, count % 12 + 1, 1)


def _end_of(month: date) -> date:
    return month.replace(day=calendar.monthrange(month.year, month.month)[1])


def _monday(now: datetime, weeks: int = 0) -> date:
    return now.date() - timedelta(days=now.weekday()) + timedelta(weeks=weeks)


def _third_of(month: date, third: str | None) -> _Piece:
    if third == "말일":
        return _span(_end_of(month), _end_of(month))
    first, last = {"초": (1, 10), "초순": (1, 10), "중순": (11, 20)}.get(third or "", (21 if third else 1, 0))
    return _span(month.replace(day=first), month.replace(day=last) if last else _end_of(month))


def _nth_weekday(month: date, nth: str, weekday: int) -> date | None:
    days = [month + timedelta(days=offset) for offset in range((_end_of(month) - month).days + 1)]
    fitting = [day for day in days if day.weekday() == weekday]
    place = _ORDINALS[nth.replace(" ", "")]
    return fitting[place if place < 0 else place - 1] if place <= len(fitting) else None


def _full_date(match: re.Match[str], now: datetime) -> _Piece | None:
    year = _number(match["year"])
    found = _date(year + 2000 if year < 100 else year, _number(match["month"]), _number(match["day"]))
    return _day_of_month(match, found)


def _month_day(match: re.Match[str], now: datetime) -> _Piece | None:
    month, day = _number(match["month"]), _number(match["day"])
    which = match.groupdict().get("which")
    found = _date(now.year + _YEARS[which], month, day) if which else _ahead(now, month, day)
    return _day_of_month(match, found)


def _month_part(match: re.Match[str], now: datetime) -> _Piece | None:
    month, which = _number(match["month"]), match["which"]
    year = now.year + _YEARS[which] if which else now.year + (month < now.month)
    if match["nth"]:
        return _day(_nth_weekday(date(year, month, 1), match["nth"], _WEEKDAYS.index(match["weekday"])))
    return _third_of(date(year, month, 1), match["third"])


def _relative_month(match: re.Match[str], now: datetime) -> _Piece | None:
    month = _month_after(now, _MONTHS[match["which"]])
    if match["day"]:
        return _day_of_month(match, _with_day(month, _number(match["day"])))
    if match["nth"]:
        return _day(_nth_weekday(month, match["nth"], _WEEKDAYS.index(match["weekday"])))
    return _third_of(month, match["third"])


def _edge_of_period(match: re.Match[str], now: datetime) -> _Piece | None:
    if match[0] == "말일":
        return _third_of(now.date().replace(day=1), match[0])
    if match[0] in ("연말", "연초"):
        year = now.year + (match[0] == "연초" and now.month > 1)
        return _third_of(date(year, 12 if match[0] == "연말" else 1, 1), match[0][-1])
    return _third_of(_month_after(now, 0), match[0][-1])


def _year(match: re.Match[str], now: datetime) -> _Piece | None:
    year = now.year + _YEARS[match["which"]]
    return _span(date(year, 1, 1), date(year, 12, 31))


def _week(match: re.Match[str], now: datetime) -> _Piece | None:
    monday = _monday(now, _WEEKS[match["which"]])
    if match["weekday"]:
        return _day(monday + timedelta(days=_WEEKDAYS.index(match["weekday"])))
    first, last = {"말": (5, 6), "주말": (5, 6), "초": (0, 1), "중반": (2, 3)}.get(
        match["part"] or "", (0, 6)
    )
    return _span(monday + timedelta(days=first), monday + timedelta(days=last))


def _which_weekday(match: re.Match[str], now: datetime) -> _Piece | None:
    """이번·다음·지난 화요일: of the calendar week, but 지난 is the last one gone by and 오는 the next to come."""
    weekday, which = _WEEKDAYS.index(match["weekday"]), match["which"]
    if which in ("오는", "돌아오는"):
        return _day(_next_weekday(now, weekday))
    if which in ("지난", "저번"):
        return _day(now.date() - timedelta(days=(now.weekday() - weekday - 1) % 7 + 1))
    return _day(_monday(now, _WEEKS[which]) + timedelta(days=weekday))


def _next_weekday(now: datetime, weekday: int) -> date:
    return now.date() + timedelta(days=(weekday - now.weekday()) % 7)


def _weekday(match: re.Match[str], now: datetime) -> _Piece | None:
    weekday = _WEEKDAYS.index(match["weekday"])
    return _day(_next_weekday(now, weekday), loose=f"weekday {weekday}")


def _weekend(match: re.Match[str], now: datetime) -> _Piece | None:
    saturday = _monday(now) + timedelta(days=5)
    return _span(saturday, saturday + timedelta(days=1))


def _only_day(match: re.Match[str], now: datetime) -> _Piece | None:
    day = _number(match["day"])
    for offset in range(12):
        found = _with_day(_month_after(now, offset), day)
        if found and found >= now.date():
            return _day(found, loose=f"day {day}")
    return None


def _near_day(match: re.Match[str], now: datetime) -> _Piece | None:
    return _day(now.date() + timedelta(days=_NEAR_DAYS.get(match[0], 1)))


def _fixed_day(match: re.Match[str], now: datetime) -> _Piece | None:
    return _day(_ahead(now, *_FIXED_DAYS[match[0]]))


def _counted_days(match: re.Match[str], now: datetime) -> _Piece | None:
    sign = -1 if match["back"] else 1
    if match["word"]:
        return _day(now.date() + timedelta(days=sign * _DAY_COUNTS[match["word"]]))
    count = sign * _number(match["count"])
    if match["unit"] in ("달", "개월", "년"):
        month = _month_after(now, count * (12 if match["unit"] == "년" else 1))
        return _day(month.replace(day=min(now.day, _end_of(month).day)))
    return _day(now.date() + timedelta(days=count * (1 if match["unit"] == "일" else 7)))


def _repeated(match: re.Match[str], now: datetime) -> _Piece | None:
    fields = match.groupdict()
    if fields.get("weekdays"):
        named = re.sub("요일|욜", "", fields["weekdays"])
        return _on_weekdays([_WEEKDAYS.index(letter) for letter in named if letter in _WEEKDAYS], now)
    if fields.get("weekday"):
        weekday = _WEEKDAYS.index(fields["weekday"])
        repeat = "biweekly" if fields.get("every") == "격주" else "weekly"
        day = _next_weekday(now, weekday)
        return _Piece(first=day, last=day, repeat=repeat)
    if fields.get("month"):
        day_of_year = _ahead(now, _number(fields["month"]), _number(fields["day"]))
        return _day(day_of_year, repeat="yearly")
    if fields.get("day"):
        piece = _only_day(match, now)
        return replace(piece, repeat="monthly", loose="") if piece else None
    if fields.get("end"):
        last = _end_of(now.date())
        return _Piece(first=last, last=last, repeat="month_end")
    if fields.get("apart"):
        return _Piece(
            repeat=f"daily:{_DAY_COUNTS.get(fields['apart']) or _number(fields['apart'].rstrip(' 일'))}"
        )
    return _Piece(repeat=_EVERY[fields["every"]], part=fields.get("part") or "")


def _on_weekdays(weekdays: list[int], now: datetime) -> _Piece:
    day = min(_next_weekday(now, weekday) for weekday in weekdays)
    return _Piece(first=day, last=day, repeat=f"weekly:{','.join(map(str, sorted(set(weekdays))))}")


def _weekends(match: re.Match[str], now: datetime) -> _Piece | None:
    return _on_weekdays([5, 6], now)


_EVERY = {
    "매일": "daily", "날마다": "daily", "마다": "daily", "매주": "weekly", "격주": "biweekly", "매달": "monthly",
    "매월": "monthly", "달마다": "monthly", "매년": "yearly", "해마다": "yearly", "평일": "weekdays",
}  # fmt: skip


def _later(match: re.Match[str], now: datetime) -> _Piece | None:
    hours = 0.5 if match["half_hour"] else _number(match["hours"]) if match["hours"] else 0
    minutes = _number(match["minutes"]) if match["minutes"] else 30 if match["half"] else 0
    seconds = _number(match["seconds"]) if match["seconds"] else 0
    moment = now + timedelta(hours=hours, minutes=minutes, seconds=seconds)
    # Whole minutes, unless seconds were asked for.
    moment = moment.replace(microsecond=0) if match["seconds"] else moment.replace(second=0, microsecond=0)
    return _Piece(first=moment.date(), last=moment.date(), time=moment.time())


def _clock(match: re.Match[str], now: datetime) -> _Piece | None:
    hour, minute = _number(match["hour"]), 0
    if match["minute"]:
        minute = _number(match["minute"])
    elif match.groupdict().get("half"):
        minute = 30
    if hour > 24 or minute > 59:
        return None
    if match.groupdict().get("before") and minute:
        hour, minute = (hour - 1) % 24, 60 - minute
    part = {"am": "오전", "pm": "오후"}.get((match["part"] or "").lower(), match["part"] or "")
    if hour == 24:
        return _Piece(time=time(0, minute), next_day=True)
    return _Piece(time=time(hour, minute), open_hour=1 <= hour <= 12, part=part)


def _midnight(match: re.Match[str], now: datetime) -> _Piece | None:
    return _Piece(time=time(0, 0), next_day=True)


def _this_time(match: re.Match[str], now: datetime) -> _Piece | None:
    return _Piece(time=now.time().replace(second=0, microsecond=0))


def _noon(match: re.Match[str], now: datetime) -> _Piece | None:
    return _Piece(time=time(12, 0))


def _part(match: re.Match[str], now: datetime) -> _Piece | None:
    return _Piece(part=match["part"])


def _alternatives(words: dict[str, int] | dict[str, tuple[int, int]]) -> str:
    return "|".join(sorted(words, key=len, reverse=True))


_RULES: tuple[tuple[re.Pattern[str], _Read], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), read)
    for pattern, read in (
        # Repetition first: it holds a weekday or a day that would be read on its own.
        (f"{_EDGE}매주\\s?{_SEVERAL}", _repeated),
        (f"{_EDGE}{_SEVERAL}\\s?마다", _repeated),
        (f"{_EDGE}(?:매주\\s?주말|주말\\s?마다)", _weekends),
        (f"{_EDGE}(?P<apart>하루|이틀|사흘|나흘|열흘|보름|{_N}\\s?일)(?:\\s?마다|에\\s?한\\s?번)", _repeated),
        (f"{_EDGE}(?P<every>매주|격주)\\s?(?:로\\s?)?{_WEEKDAY}", _repeated),
        (f"{_WEEKDAY}\\s?(?P<every>마다)", _repeated),
        (f"{_EDGE}(?:매년|해마다)\\s?{_MONTH}\\s?{_DAY}", _repeated),
        (f"{_EDGE}(?:매달|매월|달마다)\\s?(?:{_DAY}|(?P<end>말일?))", _repeated),
        ("(?P<part>아침|점심|저녁|밤|새벽)\\s?(?P<every>마다)", _repeated),
        (f"{_EDGE}(?P<every>매일|날마다|매주|격주|매달|매월|달마다|매년|해마다|평일)(?:마다|에)?", _repeated),
        # Dates, the fuller before the shorter.
        (f"{_YEAR}\\s?{_MONTH}\\s?{_DAY}", _full_date),
        (r"(?<!\d)(?P<year>\d{4})[-./]\s?(?P<month>\d{1,2})[-./]\s?(?P<day>\d{1,2})(?!\d)", _full_date),
        (f"{_EDGE}(?:{_RELATIVE_YEAR}\\s?)?{_MONTH}\\s?{_DAY}(?!\\s?(?:동안|간|째))", _month_day),
        (r"(?<![\d/])(?P<month>1[0-2]|0?[1-9])/(?P<day>3[01]|[12]\d|0?[1-9])(?![\d/])", _month_day),
        (
            f"{_EDGE}(?:{_RELATIVE_YEAR}\\s?)?{_MONTH}(?:\\s?{_THIRD}|(?:의|에)?\\s?{_ORDINAL}\\s?주?\\s?{_WEEKDAY})?",
            _month_part,
        ),
        (
            f"{_EDGE}{_WHICH_MONTH}(?:\\s?(?:{_DAY}|{_THIRD}|{_ORDINAL}\\s?주?\\s?{_WEEKDAY}))?",
            _relative_month,
        ),
        (f"{_EDGE}(?:연말|연초|월말|월초|말일)", _edge_of_period),
        (f"{_EDGE}{_WHICH_WEEK}(?:\\s?{_WEEKDAY}|\\s?(?P<part>주말|말|초|중반))?(?!일)", _week),
        (f"{_EDGE}(?P<which>돌아오는|오는|다다음|다음|이번|요번|지난|저번)\\s?{_WEEKDAY}", _which_weekday),
        (f"{_EDGE}{_RELATIVE_YEAR}", _year),
        (f"{_EDGE}(?:{_alternatives(_NEAR_DAYS)})", _near_day),
        (f"{_EDGE}낼(?=\\s?(?:\\d|{_PARTS}|{NATIVE}\\s?시|약속|회의|일정|미팅|거|뭐|머|있))", _near_day),
        (f"{_EDGE}(?:{_alternatives(_FIXED_DAYS)})", _fixed_day),
        (
            f"{_EDGE}(?:(?P<word>{_alternatives(_DAY_COUNTS)})|(?P<count>{_N})\\s?(?P<unit>일|주일|주|개월|달|년))"
            f"(?:{_AFTER}|\\s?(?P<back>전))",
            _counted_days,
        ),
        # Times.
        (
            f"(?:(?P<half_hour>반)\\s?시간|(?P<hours>{_N})\\s?시간(?:\\s?(?P<half>반)|\\s?(?P<minutes>{_N})\\s?분)?"
            f"(?P<seconds>)){_AFTER}",
            _later,
        ),
        (
            f"(?P<hours>)(?P<half_hour>)(?P<half>)(?P<minutes>{_N})\\s?분(?:\\s?(?P<seconds>{_N})\\s?초)?{_AFTER}",
            _later,
        ),
        (f"(?P<hours>)(?P<half_hour>)(?P<half>)(?P<minutes>)(?P<seconds>{_N})\\s?초{_AFTER}", _later),
        (
            f"(?:(?P<part>{_PARTS}|am|pm)\\s?)?(?<!\\d)(?P<hour>\\d{{1,2}}):(?P<minute>[0-5]\\d)(?!\\d)",
            _clock,
        ),
        (
            f"(?:(?P<part>{_PARTS})(?:에)?\\s?)?(?<![가-힣])(?<!\\d){_HOUR}\\s?시(?!간|작|기|험|절|내|청|장|골|도)"
            f"(?:\\s?(?P<minute>{_N})\\s?분(?P<before>\\s?전)?|\\s?(?P<half>반)(?![가-힣]*찬))?",
            _clock,
        ),
        (
            f"(?P<part>{_PARTS}){_HOUR}\\s?시(?!간|작)(?:\\s?(?P<minute>{_N})\\s?분(?P<before>\\s?전)?|\\s?(?P<half>반))?",
            _clock,
        ),
        (r"(?P<part>am|pm)\s?(?P<hour>\d{1,2})(?P<minute>)(?!\d)", _clock),
        (r"(?<!\d)(?P<hour>\d{1,2})\s?(?P<part>am|pm)(?P<minute>)", _clock),
        (f"{_EDGE}(?:이|지금)\\s?시간(?=에|쯤|$)", _this_time),
        ("정오", _noon),
        ("자정", _midnight),
        (f"{_EDGE}(?P<part>{_PARTS})(?:\\s?때(?![가-힣]*문))?", _part),
        # What is read last could be a part of anything above.
        (f"{_EDGE}{_WEEKDAY}", _weekday),
        (f"{_EDGE}(?:주말)", _weekend),
        (
            r"(?<![\d가-힣])(?P<day>3[01]|[12]\d|0?[1-9]|삼십일|삼십|이십[일이삼사오육칠팔구]?|십[일이삼사오육칠팔구]?)\s?일"
            r"(?!\s?(?:뒤|후|전|동안|간|째|정|곱|일|이|요|월|하|을|과))",
            _only_day,
        ),
    )
)
