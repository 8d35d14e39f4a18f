"""The person's schedule: events and reminders in SQLite, on this machine only.

An event that repeats is one row; its days are worked out when they are asked for.
"""

from __future__ import annotations

import datetime as dt
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.slots import schedule as slots
from assistant.errors import MissingArgumentError
from assistant.tools.recurrence import Repeat, falls_on, next_day, repeat_in_words
from assistant.tools.registry import Registry
from assistant.tools.wording import (
    day_in_words,
    minutes_in_words,
    time_in_words,
    with_direction,
    with_object,
    with_topic,
)
from retrieval.database import connect, transaction

_MIGRATIONS = (
    """
    CREATE TABLE events (
        id INTEGER PRIMARY KEY,
        title TEXT NOT NULL,
        day TEXT NOT NULL,
        last_day TEXT NOT NULL,
        time TEXT,
        repeat TEXT NOT NULL DEFAULT '',
        minutes_before INTEGER,
        told TEXT NOT NULL,
        created TEXT NOT NULL
    ) STRICT;
    CREATE INDEX events_by_day ON events (day);
    """,
)
# Events that people meet for; without a time they are asked for one, a birthday is not.
_AT_A_TIME = re.compile(
    "회의|미팅|약속|예약|면접|상담|진료|병원|치과|수업|발표|면담|통화|레슨|식사|저녁|점심|회식|모임"
)
_LISTED = 10
_FAR = dt.timedelta(days=366)
_ONE_DAY = dt.timedelta(days=1)
_MORNING = dt.time(9, 0)
_DEFAULT_MINUTES = 10
_MOST_AT_ONCE = 48
_GONE = " 이미 지나서 알려 드릴 수 없어요. 앞으로의 때를 넣어 다시 말씀해 주세요."
_WHILE_RUNNING = "담소가 켜져 있을 때 알려 드려요."


@dataclass(frozen=True)
class Event:
    """One row: an event of one or more days, or the first of those that repeat.

    Attributes:
        minutes_before: when to remind, counted back from the time (9 in the morning without one); None: never.
        told: up to when reminders have been given.
    """

    id: int
    title: str
    day: dt.date
    last_day: dt.date
    time: dt.time | None
    repeat: str
    minutes_before: int | None
    told: dt.datetime

    def days(self, first: dt.date, last: dt.date) -> Iterator[dt.date]:
        """The days from ``first`` to ``last`` on which it begins, or which it spans when it does not repeat."""
        if not self.repeat:
            if self.day <= last and self.last_day >= first:
                yield max(self.day, first)
            return
        begin = max(first, self.day)
        for offset in range((last - begin).days + 1):
            day = begin + dt.timedelta(days=offset)
            if falls_on(day, self.day, self.repeat):
                yield day

    def next_day(self, today: dt.date) -> dt.date:
        """The next day on which it begins, today included; its first day when it does not repeat."""
        return next_day(today - _ONE_DAY, self.day, self.repeat) if self.repeat else self.day

    def described(self, day: dt.date, today: dt.date) -> str:
        """The event on one of its days, on one line; one that spans days with its first and last."""
        span = ""
        if self.last_day > self.day:
            day, span = self.day, f"부터 {day_in_words(self.last_day, today)}까지"
        moment = f" {time_in_words(self.time)}" if self.time else ""
        repeat = f" ({repeat_in_words(self.repeat)})" if self.repeat else ""
        bell = "" if self.minutes_before is None else " · 알림"
        return f"{day_in_words(day, today)}{span}{moment} {self.title}{repeat}{bell}"


class Schedule:
    """The events of one data folder; safe to share between threads. Nothing is made before the first use."""

    def __init__(self, path: Path, clock: Callable[[], dt.datetime] = dt.datetime.now) -> None:
        """Name the database.

        Args:
            path: the database file.
            clock: tells local time.
        """
        self._path, self._clock = path, clock
        self._opened: Any = None
        self._lock = threading.RLock()

    def close(self) -> None:
        """Close the database, if it was ever opened."""
        with self._lock:
            if self._opened is not None:
                self._opened.close()
                self._opened = None

    def add_event(
        self, title: str, date: dt.date, time: dt.time | None = None, end_date: dt.date | None = None,
        repeat: Repeat = "", part: str = "", all_day: bool = False,
    ) -> str:  # fmt: skip
        """새 일정을 적어요.

        Args:
            title: 무슨 일정인지.
            date: 날짜.
            time: 시간. 없으면 하루 일정이에요.
            end_date: 며칠에 걸친 일정의 마지막 날.
            repeat: 되풀이하는 주기.
            part: 오전, 저녁처럼 시간 대신 말한 때.
            all_day: 시간이 없는 일정인지.
        """
        if time is None and end_date is None and not all_day and (part or _AT_A_TIME.search(title)):
            raise MissingArgumentError(
                "time", f"{part + ' ' if part else ''}몇 시로 할까요? 시간이 없으면 ‘종일’이라고 해 주세요."
            )
        if repeat:
            date = self._first_day(date, repeat)
        event = self._insert(title, date, max(end_date or date, date), time, repeat, None)
        return f"{event.described(date, self._today)} 일정을 적어 두었어요.{self._past(event)}"

    def list_events(self, first: dt.date | None = None, last: dt.date | None = None, title: str = "") -> str:
        """적어 둔 일정을 보여 줘요.

        Args:
            first: 첫날. 없으면 오늘이에요.
            last: 마지막 날.
            title: 찾는 말.
        """
        begin = first or self._today
        found = self._between(begin, last or begin + _FAR)
        fitting = [(day, event) for day, event in found if title and _fits(event, title)]
        shown = fitting or found
        if not shown:
            when = "앞으로" if first is None else _span_in_words(first, last or first, self._today)
            return f"{when} 적어 둔 일정이 없어요."
        lines = [f"· {event.described(day, self._today)}" for day, event in shown[:_LISTED]]
        more = [f"이 밖에 {len(shown) - _LISTED}개가 더 있어요."] if len(shown) > _LISTED else []
        if first is not None or fitting:
            head = f"일정이 {len(shown)}개 있어요."
        else:
            missed = f"‘{title}’ 일정은 찾지 못했어요. " if title else ""
            head = f"{missed}다가오는 일정이에요."
        return "\n".join([head, *lines, *more])

    def change_event(
        self, title: str = "", date: dt.date | None = None, time: dt.time | None = None,
        new_date: dt.date | None = None, new_time: dt.time | None = None, new_week: dt.date | None = None,
        new_last: dt.date | None = None, new_title: str = "", shift_minutes: int = 0, open_half: bool = False,
        latest: bool = False,
    ) -> str:  # fmt: skip
        """일정의 날짜나 시간, 이름을 바꿔요.

        Args:
            title: 바꿀 일정의 이름.
            date: 바꿀 일정의 날짜.
            time: 바꿀 일정의 시간.
            new_date: 새 날짜.
            new_time: 새 시간.
            new_week: 옮길 주의 월요일. 요일은 그대로예요.
            new_last: 며칠에 걸친 일정의 새 마지막 날.
            new_title: 새 이름.
            shift_minutes: 미룰 분. 앞당기면 음수예요.
            open_half: 시간의 오전·오후를 말하지 않았는지. 그러면 본래 시간에 가까운 쪽이에요.
            latest: 마지막에 적은 일정인지.
        """
        event = self._one(title, date, time, latest, "바꿀", open_half)
        if not (new_date or new_time or new_week or new_title or shift_minutes):
            raise MissingArgumentError(
                "new_time", f"{with_object(f'‘{event.title}’ 일정')} 언제로 바꿀까요?", "{}로 바꿔 줘"
            )
        if new_time and event.time and open_half:
            new_time = _nearer_half(new_time, event.time)
        day, clock = event.day, event.time
        if shift_minutes:
            moved = dt.datetime.combine(day, clock or dt.time()) + dt.timedelta(minutes=shift_minutes)
            day, clock = moved.date(), moved.time() if clock else None
        if new_week:
            day = new_week + dt.timedelta(days=day.weekday())
        if new_time == dt.time() and new_date is None:
            day += dt.timedelta(days=1)  # Midnight without a day ends the event's own.
        day, clock = new_date or day, new_time or clock
        last = new_last or event.last_day + (day - event.day)
        with self._lock, transaction(self._connection):
            self._connection.execute(
                "UPDATE events SET title = ?, day = ?, last_day = ?, time = ?, told = ? WHERE id = ?",
                (new_title or event.title, str(day), str(max(last, day)), _text(clock), self._clock().isoformat(),
                 event.id),
            )  # fmt: skip
        changed = self._by_id(event.id)
        described = changed.described(changed.next_day(self._today), self._today)
        return f"{with_object(f'‘{event.title}’ 일정')} {with_direction(described)} 바꿨어요.{self._past(changed)}"

    def cancel_event(
        self, title: str = "", date: dt.date | None = None, last: dt.date | None = None, time: dt.time | None = None,
        everything: bool = False, open_half: bool = False, latest: bool = False, confirmed: bool = False,
    ) -> str:  # fmt: skip
        """일정이나 알림을 지워요.

        Args:
            title: 지울 일정의 이름.
            date: 지울 일정의 날짜.
            last: 여러 날이면 마지막 날.
            time: 지울 일정의 시간.
            everything: 맞는 일정을 모두 지울지.
            open_half: 시간의 오전·오후를 말하지 않았는지.
            latest: 마지막에 적은 일정인지.
            confirmed: 여러 개를 지워도 좋다고 했는지.
        """
        if not everything:
            event = self._one(title, date, time, latest, "지울", open_half)
            self._confirm(event, title, date, confirmed)
            self._delete([event])
            return f"{event.described(event.next_day(self._today), self._today)} 일정을 지웠어요."
        doomed = self._matching(title, date, last, time, open_half)
        if not doomed:
            return "그런 일정을 찾지 못했어요. 지운 것은 없어요."
        if len(doomed) > 1 and not confirmed:
            names = ", ".join(event.title for event in doomed[:3])
            raise MissingArgumentError(
                "confirmed",
                f"{names} 등 일정 {len(doomed)}개를 모두 지울까요? ‘네’라고 답해 주시면 지울게요.",
            )
        self._delete(doomed)
        return f"일정 {len(doomed)}개를 지웠어요."

    def remind(
        self, title: str = "", date: dt.date | None = None, time: dt.time | None = None, repeat: Repeat = "",
        minutes_before: int | None = None, every_minutes: int | None = None, until: dt.time | None = None,
    ) -> str:  # fmt: skip
        """정한 때에 알려 줘요.

        Args:
            title: 무엇을 알릴지.
            date: 알릴 날짜.
            time: 알릴 시간.
            repeat: 되풀이하는 주기.
            minutes_before: 일정보다 몇 분 앞서 알릴지.
            every_minutes: 하루 안에서 몇 분마다 알릴지.
            until: every_minutes로 알릴 때 언제까지인지.
        """
        if every_minutes is not None:
            return self._remind_often(title, date, time, repeat, every_minutes, until)
        if minutes_before is not None and time is not None and not self._matching(title, date, None, time):
            # No such event is written down, but when to remind of it is known all the same.
            moment = dt.datetime.combine(date or self._today, time) - dt.timedelta(minutes=minutes_before)
            date, time, minutes_before = moment.date(), moment.time(), None
        if minutes_before is not None or (title and not (date or time) and self._matching(title)):
            event = self._one(title, date, time, not title, "미리 알려 드릴")
            return self._remind_before(event, _DEFAULT_MINUTES if minutes_before is None else minutes_before)
        if time is None:
            raise MissingArgumentError("time", "몇 시에 알려 드릴까요?")
        now = self._clock()
        day = date or (now.date() if time > now.time() else now.date() + dt.timedelta(days=1))
        if repeat:
            day = self._first_day(day, repeat)
        elif dt.datetime.combine(day, time) <= now:
            return f"{with_topic(f'{day_in_words(day, now.date())} {time_in_words(time)}')}{_GONE}"
        self._insert(title or "알림", day, day, time, repeat, 0)
        often = day_in_words(day, now.date()) + (f"부터 {repeat_in_words(repeat)}" if repeat else "")
        what = f"‘{title}’ " if title else ""
        return f"{often} {time_in_words(time)}에 {what}알려 드릴게요. {_WHILE_RUNNING}"

    def _remind_before(self, event: Event, minutes: int) -> str:
        """Has an event that is written down told of, counted back from its time."""
        now = self._clock()
        moment = dt.datetime.combine(event.day, event.time or _MORNING) - dt.timedelta(minutes=minutes)
        before = f"{minutes_in_words(minutes)} 전"
        if not event.repeat and moment <= now:
            return f"{with_topic(f'‘{event.title}’ {before}')}{_GONE}"
        with self._lock, transaction(self._connection):
            self._connection.execute(
                "UPDATE events SET minutes_before = ?, told = ? WHERE id = ?",
                (minutes, now.isoformat(), event.id),
            )
        return f"‘{event.title}’ {before}에 알려 드릴게요. {_WHILE_RUNNING}"

    def _remind_often(
        self, title: str, date: dt.date | None, time: dt.time | None, repeat: Repeat, every: int,
        until: dt.time | None,
    ) -> str:  # fmt: skip
        """Writes down one reminder for each time of a day."""
        if until is None:
            raise MissingArgumentError("until", "몇 시까지 알려 드릴까요?", "{}까지")
        now = self._clock().replace(second=0, microsecond=0)
        if repeat:
            date = self._first_day(date or now.date(), repeat)
        step = dt.timedelta(minutes=max(every, 1))
        first = dt.datetime.combine(date or now.date(), time) if time else now + step
        last = dt.datetime.combine(first.date(), until)
        moments = [first + number * step for number in range((last - first) // step + 1)]
        moments = [moment for moment in moments if repeat or moment > self._clock()]
        if not moments:
            return f"{with_topic(time_in_words(until))}{_GONE}"
        if len(moments) > _MOST_AT_ONCE:
            return (
                f"알림이 {len(moments)}번이나 되어서 적지 않았어요. 한 번에 {_MOST_AT_ONCE}번까지 할 수 있으니 "
                "간격을 늘리거나 시간을 줄여 다시 말씀해 주세요."
            )
        for moment in moments:
            self._insert(title or "알림", moment.date(), moment.date(), moment.time(), repeat, 0)
        often = day_in_words(first.date(), now.date()) + (f"부터 {repeat_in_words(repeat)}" if repeat else "")
        span = f"{time_in_words(moments[0].time())}부터 {time_in_words(moments[-1].time())}까지"
        what = f"‘{title}’ " if title else ""
        return f"{often} {span} {minutes_in_words(every)}마다 {what}{len(moments)}번 알려 드릴게요. {_WHILE_RUNNING}"

    def due(self) -> list[str]:
        """Reminders whose time has come since they were last asked for, in Korean; each is given once."""
        now = self._clock()
        if self._opened is None and not self._path.exists():
            return []
        told = []
        for event in self._all():
            if event.minutes_before is not None and (moment := _last_due(event, now)) and moment > event.told:
                told.append(f"{time_in_words(event.time or _MORNING)} {event.title}")
                with self._lock, transaction(self._connection):
                    self._connection.execute(
                        "UPDATE events SET told = ? WHERE id = ?", (now.isoformat(), event.id)
                    )
        return told

    @staticmethod
    def _first_day(day: dt.date, repeat: Repeat) -> dt.date:
        """The first day from ``day`` on that the repetition falls on."""
        return next_day(day - _ONE_DAY, day, repeat)

    def _past(self, event: Event) -> str:
        """A word of warning where a new event lies behind us."""
        moment = dt.datetime.combine(event.last_day, event.time or dt.time.max)
        return "" if event.repeat or moment > self._clock() else " 다만 이미 지난 때예요."

    def _confirm(self, event: Event, title: str, date: dt.date | None, confirmed: bool) -> None:
        """Asks before more goes than was named, or something that was named differently.

        Raises:
            MissingArgumentError: the person has not said yes to it.
        """
        if confirmed:
            return
        if event.repeat and date is not None:
            often = repeat_in_words(event.repeat)
            question = f"‘{event.title}’ 일정은 {often} 되풀이해서 하루만 지울 수 없어요. 되풀이 일정을 모두 지울까요?"
            raise MissingArgumentError("confirmed", f"{question} ‘네’라고 답해 주시면 지울게요.")
        if title.replace(" ", "") not in event.title.replace(" ", ""):
            described = event.described(event.next_day(self._today), self._today)
            question = f"{with_object(f'{described} 일정')} 지울까요?"
            raise MissingArgumentError("confirmed", f"{question} ‘네’라고 답해 주시면 지울게요.")

    @property
    def _today(self) -> dt.date:
        return self._clock().date()

    @property
    def _connection(self) -> Any:
        with self._lock:
            if self._opened is None:
                self._opened = connect(self._path, _MIGRATIONS)
            return self._opened

    def _insert(
        self, title: str, day: dt.date, last: dt.date, time: dt.time | None, repeat: str, before: int | None
    ) -> Event:
        now = self._clock().isoformat()
        with self._lock, transaction(self._connection):
            row = self._connection.execute(
                "INSERT INTO events (title, day, last_day, time, repeat, minutes_before, told, created)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
                (title, str(day), str(last), _text(time), repeat, before, now, now),
            ).fetchone()
        return self._by_id(row[0])

    def _delete(self, events: list[Event]) -> None:
        with self._lock, transaction(self._connection):
            self._connection.executemany("DELETE FROM events WHERE id = ?", [(event.id,) for event in events])

    def _all(self) -> list[Event]:
        with self._lock:
            rows = self._connection.execute(
                "SELECT id, title, day, last_day, time, repeat, minutes_before, told FROM events ORDER BY day, time"
            ).fetchall()
        return [_event(row) for row in rows]

    def _by_id(self, identifier: int) -> Event:
        return next(event for event in self._all() if event.id == identifier)

    def _between(self, first: dt.date, last: dt.date) -> list[tuple[dt.date, Event]]:
        """Events with their days in order; of one that repeats only the next day when the span is a long one."""
        found = []
        for event in self._all():
            days = list(event.days(first, last))
            found += [(day, event) for day in (days[:1] if (last - first).days > 31 else days)]
        return sorted(found, key=lambda pair: (pair[0], pair[1].time or dt.time()))

    def _matching(
        self,
        title: str,
        date: dt.date | None = None,
        last: dt.date | None = None,
        time: dt.time | None = None,
        open_half: bool = False,
    ) -> list[Event]:
        if date is None:
            events = [event for event in self._all() if event.repeat or event.last_day >= self._today]
        else:
            events = list(dict.fromkeys(event for _, event in self._between(date, last or date)))
        times = (time, time.replace(hour=(time.hour + 12) % 24)) if time and open_half else (time,)
        return [
            event
            for event in events
            if (not title or _fits(event, title)) and (time is None or event.time in times)
        ]

    def _one(
        self, title: str, date: dt.date | None, time: dt.time | None, latest: bool, verb: str,
        open_half: bool = False,
    ) -> Event:  # fmt: skip
        """The one event that is meant.

        Raises:
            MissingArgumentError: none fits, or several do.
        """
        if latest and not title and date is None and time is None:
            found = sorted(self._all(), key=lambda event: event.id)[-1:]
        elif title or date is not None or time is not None:
            found = self._matching(title, date, None, time, open_half)
        else:
            found = []
        exact = [event for event in found if event.title == title]
        if len(found) == 1 or len(exact) == 1:
            return (exact or found)[0]
        if not found and not self._between(self._today, self._today + _FAR):
            raise MissingArgumentError(
                "title", "적어 둔 일정이 없어요. 새로 적을 일정이 있으면 말씀해 주세요."
            )
        options = found or list(
            dict.fromkeys(event for _, event in self._between(self._today, self._today + _FAR))
        )
        listed = ", ".join(event.described(event.next_day(self._today), self._today) for event in options[:3])
        what = "그런 일정을 찾지 못했어요." if title and not found else ""
        raise MissingArgumentError("title", f"{what} {verb} 일정이 어느 것인가요? {listed}".strip())


def register(registry: Registry, schedule: Schedule) -> None:
    """Make the schedule's functions tools."""
    registry.add(
        schedule.add_event,
        slots.add_slots,
        {"title": "무슨 일정인가요?", "date": "언제로 할까요? 날짜를 하루로 말씀해 주세요."},
    )
    registry.add(schedule.list_events, slots.list_slots, {"first": "언제 일정을 볼까요?"})
    registry.add(schedule.change_event, slots.change_slots, {"new_date": "며칠로 바꿀까요?"})
    registry.add(schedule.cancel_event, slots.cancel_slots, {"date": "며칠 일정을 지울까요?"})
    registry.add(
        schedule.remind, slots.remind_slots, {"date": "언제 알려 드릴까요? 날짜를 하루로 말씀해 주세요."}
    )


def _event(row: tuple[Any, ...]) -> Event:
    identifier, title, day, last, time, repeat, before, told = row
    return Event(
        identifier, title, dt.date.fromisoformat(day), dt.date.fromisoformat(last),
        dt.time.fromisoformat(time) if time else None, repeat, before, dt.datetime.fromisoformat(told),
    )  # fmt: skip


def _text(time: dt.time | None) -> str | None:
    return None if time is None else time.isoformat()


def _fits(event: Event, words: str) -> bool:
    """Whether the words name the event: one holds the other, or every word is one of the title's."""
    title, said = event.title.replace(" ", ""), words.replace(" ", "")
    if said in title or (len(title) > 1 and title in said):
        return True
    return all(any(word in part or part in word for part in event.title.split()) for word in words.split())


def _nearer_half(said: dt.time, before: dt.time) -> dt.time:
    """The reading of an hour without 오전 or 오후 that suits an event: 1–6 is seldom before dawn, 7–11 moves less."""
    other = said.replace(hour=(said.hour + 12) % 24)
    if said.hour >= 12:
        return other if 1 <= before.hour < 7 else said
    was = before.hour * 60 + before.minute
    return min(said, other, key=lambda time: abs(time.hour * 60 + time.minute - was))


def _last_due(event: Event, now: dt.datetime) -> dt.datetime | None:
    """The latest moment up to now at which the event should have been told."""
    before = dt.timedelta(minutes=event.minutes_before or 0)
    horizon = now + before
    days = list(event.days(event.told.date(), horizon.date())) if event.repeat else [event.day]
    moments = [dt.datetime.combine(day, event.time or _MORNING) - before for day in days]
    return max((moment for moment in moments if moment <= now), default=None)


def _span_in_words(first: dt.date, last: dt.date, today: dt.date) -> str:
    begin = day_in_words(first, today)
    return f"{begin}에는" if first == last else f"{begin}부터 {day_in_words(last, today)}까지"
