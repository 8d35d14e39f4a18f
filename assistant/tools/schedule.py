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
from typing import Any, Literal

from agents.slots import schedule as slots
from assistant.errors import MissingArgumentError
from assistant.tools.registry import Registry
from assistant.tools.wording import day_in_words, minutes_in_words, time_in_words, with_direction, with_object
from retrieval.database import connect, transaction

Repeat = Literal["", "daily", "weekdays", "weekly", "biweekly", "monthly", "yearly"]
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
_REPEATS = {
    "daily": "매일",
    "weekdays": "평일마다",
    "weekly": "매주",
    "biweekly": "격주로",
    "monthly": "매달",
    "yearly": "매년",
}
# Events that people meet for; without a time they are asked for one, a birthday is not.
_AT_A_TIME = re.compile(
    "회의|미팅|약속|예약|면접|상담|진료|병원|치과|수업|발표|면담|통화|레슨|식사|저녁|점심"
)
_LISTED = 10
_FAR = dt.timedelta(days=366)
_MORNING = dt.time(9, 0)
_DEFAULT_MINUTES = 10


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
        for offset in range((last - max(first, self.day)).days + 1):
            day = max(first, self.day) + dt.timedelta(days=offset)
            if self._falls_on(day):
                yield day

    def _falls_on(self, day: dt.date) -> bool:
        since = (day - self.day).days
        return {
            "daily": True,
            "weekdays": day.weekday() < 5,
            "weekly": since % 7 == 0,
            "biweekly": since % 14 == 0,
            "monthly": day.day == self.day.day,
            "yearly": (day.month, day.day) == (self.day.month, self.day.day),
        }[self.repeat]

    def described(self, day: dt.date, today: dt.date) -> str:
        """The event on one of its days, on one line."""
        span = f"부터 {day_in_words(self.last_day, today)}까지" if self.last_day > self.day else ""
        moment = f" {time_in_words(self.time)}" if self.time else ""
        repeat = f" ({_REPEATS[self.repeat]})" if self.repeat else ""
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
        event = self._insert(title, date, end_date or date, time, repeat, None)
        return f"{event.described(date, self._today)} 일정을 적어 두었어요."

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
        head = f"일정이 {len(shown)}개 있어요." if first is not None or fitting else "다가오는 일정이에요."
        return "\n".join([head, *lines, *more])

    def change_event(
        self, title: str = "", date: dt.date | None = None, time: dt.time | None = None,
        new_date: dt.date | None = None, new_time: dt.time | None = None, new_week: dt.date | None = None,
        new_title: str = "", shift_minutes: int = 0, latest: bool = False,
    ) -> str:  # fmt: skip
        """일정의 날짜나 시간, 이름을 바꿔요.

        Args:
            title: 바꿀 일정의 이름.
            date: 바꿀 일정의 날짜.
            time: 바꿀 일정의 시간.
            new_date: 새 날짜.
            new_time: 새 시간.
            new_week: 옮길 주의 월요일. 요일은 그대로예요.
            new_title: 새 이름.
            shift_minutes: 미룰 분. 앞당기면 음수예요.
            latest: 마지막에 적은 일정인지.
        """
        event = self._one(title, date, time, latest, "바꿀")
        if not (new_date or new_time or new_week or new_title or shift_minutes):
            raise MissingArgumentError(
                "new_time", f"{with_object(f'‘{event.title}’ 일정')} 언제로 바꿀까요?", "{}로 바꿔 줘"
            )
        day, clock = event.day, event.time
        if shift_minutes:
            moved = dt.datetime.combine(day, clock or dt.time()) + dt.timedelta(minutes=shift_minutes)
            day, clock = moved.date(), moved.time() if clock else None
        if new_week:
            day = new_week + dt.timedelta(days=day.weekday())
        day, clock = new_date or day, new_time or clock
        with self._lock, transaction(self._connection):
            self._connection.execute(
                "UPDATE events SET title = ?, day = ?, last_day = ?, time = ?, told = ? WHERE id = ?",
                (new_title or event.title, str(day), str(event.last_day + (day - event.day)), _text(clock),
                 self._clock().isoformat(), event.id),
            )  # fmt: skip
        changed = self._by_id(event.id)
        described = changed.described(changed.day, self._today)
        return f"{with_object(f'‘{event.title}’ 일정')} {with_direction(described)} 바꿨어요."

    def cancel_event(
        self, title: str = "", date: dt.date | None = None, last: dt.date | None = None, time: dt.time | None = None,
        everything: bool = False, latest: bool = False, confirmed: bool = False,
    ) -> str:  # fmt: skip
        """일정이나 알림을 지워요.

        Args:
            title: 지울 일정의 이름.
            date: 지울 일정의 날짜.
            last: 여러 날이면 마지막 날.
            time: 지울 일정의 시간.
            everything: 맞는 일정을 모두 지울지.
            latest: 마지막에 적은 일정인지.
            confirmed: 여러 개를 지워도 좋다고 했는지.
        """
        if not everything:
            event = self._one(title, date, time, latest, "지울")
            self._delete([event])
            return f"{event.described(event.day, self._today)} 일정을 지웠어요."
        doomed = self._matching(title, date, last, time)
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
        minutes_before: int | None = None,
    ) -> str:  # fmt: skip
        """정한 때에 알려 줘요.

        Args:
            title: 무엇을 알릴지.
            date: 알릴 날짜.
            time: 알릴 시간.
            repeat: 되풀이하는 주기.
            minutes_before: 일정보다 몇 분 앞서 알릴지.
        """
        known = [event for event in self._matching(title, None, None, None) if title]
        if minutes_before is not None or (time is None and date is None and known):
            event = self._one(title, date, None, not title, "미리 알려 드릴")
            minutes = _DEFAULT_MINUTES if minutes_before is None else minutes_before
            with self._lock, transaction(self._connection):
                self._connection.execute(
                    "UPDATE events SET minutes_before = ? WHERE id = ?", (minutes, event.id)
                )
            return f"‘{event.title}’ {minutes_in_words(minutes)} 전에 알려 드릴게요."
        if time is None:
            raise MissingArgumentError("time", "몇 시에 알려 드릴까요?")
        event = self._insert(title or "알림", date or self._today, date or self._today, time, repeat, 0)
        often = f"{_REPEATS[repeat]} " if repeat else f"{day_in_words(event.day, self._today)} "
        what = f"‘{event.title}’ " if title else ""
        return f"{often}{time_in_words(time)}에 {what}알려 드릴게요. 담소가 켜져 있을 때 알려 드려요."

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
        self, title: str, date: dt.date | None, last: dt.date | None, time: dt.time | None
    ) -> list[Event]:
        if date is None:
            events = [event for event in self._all() if event.repeat or event.last_day >= self._today]
        else:
            events = list(dict.fromkeys(event for _, event in self._between(date, last or date)))
        return [e for e in events if (not title or _fits(e, title)) and (time is None or e.time == time)]

    def _one(self, title: str, date: dt.date | None, time: dt.time | None, latest: bool, verb: str) -> Event:
        """The one event that is meant.

        Raises:
            MissingArgumentError: none fits, or several do.
        """
        if latest and not title and date is None and time is None:
            found = sorted(self._all(), key=lambda event: event.id)[-1:]
        elif title or date or time:
            found = self._matching(title, date, None, time)
        else:
            found = []
        exact = [event for event in found if event.title == title]
        if len(found) == 1 or len(exact) == 1:
            return (exact or found)[0]
        if not found and not self._between(self._today, self._today + _FAR):
            raise MissingArgumentError(
                "title", "적어 둔 일정이 없어요. 새로 적을 일정이 있으면 말씀해 주세요."
            )
        options = found or [event for _, event in self._between(self._today, self._today + _FAR)]
        listed = ", ".join(event.described(event.day, self._today) for event in options[:3])
        what = "그런 일정을 찾지 못했어요." if title and not found else ""
        raise MissingArgumentError("title", f"{what} {verb} 일정이 어느 것인가요? {listed}".strip())


def register(registry: Registry, schedule: Schedule) -> None:
    """Make the schedule's functions tools."""
    registry.add(
        schedule.add_event,
        slots.add_slots,
        {"title": "무슨 일정인가요?", "date": "언제로 할까요? 날짜를 하루로 말씀해 주세요."},
    )
    registry.add(schedule.list_events, slots.list_slots)
    registry.add(schedule.change_event, slots.change_slots)
    registry.add(schedule.cancel_event, slots.cancel_slots)
    registry.add(schedule.remind, slots.remind_slots)


def _event(row: tuple[Any, ...]) -> Event:
    identifier, title, day, last, time, repeat, before, told = row
    return Event(
        identifier, title, dt.date.fromisoformat(day), dt.date.fromisoformat(last),
        dt.time.fromisoformat(time) if time else None, repeat, before, dt.datetime.fromisoformat(told),
    )  # fmt: skip


def _text(time: dt.time | None) -> str | None:
    return None if time is None else time.isoformat()


def _fits(event: Event, words: str) -> bool:
    """Whether the words name the event: one holds the other, or a word of the title is among them."""
    title, said = event.title.replace(" ", ""), words.replace(" ", "")
    return (
        title in said or said in title or any(len(word) > 1 and word in said for word in event.title.split())
    )


def _last_due(event: Event, now: dt.datetime) -> dt.datetime | None:
    """The latest moment up to now at which the event should have been told."""
    before = dt.timedelta(minutes=event.minutes_before or 0)
    horizon = now + before
    days = list(event.days(event.told.date(), horizon.date()))
    moments = [dt.datetime.combine(day, event.time or _MORNING) - before for day in days]
    return max((moment for moment in moments if moment <= now), default=None)


def _span_in_words(first: dt.date, last: dt.date, today: dt.date) -> str:
    begin = day_in_words(first, today)
    return f"{begin}에는" if first == last else f"{begin}부터 {day_in_words(last, today)}까지"
