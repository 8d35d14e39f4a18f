"""The home as Damso has it written down: devices, their states, scenes and timers, in SQLite.

No real device hangs on it. Whoever turns a light on here changes Damso's record, and every answer says so.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from agents.slots import home as slots
from agents.slots.home import EVERYTHING, EVERYWHERE
from assistant.errors import MissingArgumentError
from assistant.tools.recurrence import Repeat, next_day, repeat_in_words
from assistant.tools.registry import Registry
from assistant.tools.wording import (
    day_in_words,
    moment_in_words,
    time_in_words,
    with_direction,
    with_object,
    with_topic,
)
from retrieval.database import connect, transaction

_MIGRATIONS = (
    """
    CREATE TABLE devices (
        place TEXT NOT NULL,
        device TEXT NOT NULL,
        is_on INTEGER,
        settings TEXT NOT NULL DEFAULT '{}',
        changed TEXT NOT NULL,
        PRIMARY KEY (place, device)
    ) STRICT;
    CREATE TABLE timers (
        id INTEGER PRIMARY KEY,
        place TEXT NOT NULL,
        device TEXT NOT NULL,
        action TEXT NOT NULL CHECK (action IN ('on', 'off')),
        at TEXT NOT NULL,
        repeat TEXT NOT NULL DEFAULT ''
    ) STRICT;
    """,
)
RECORD_ONLY = "담소의 기록만 바꾼 것이고, 실제 기기는 움직이지 않아요."
_OPENING = ("커튼", "블라인드", "창문")
_LOCKING = ("도어록", "가스 밸브")
_UNITS = {"온도": "도", "밝기": "%", "음량": "", "습도": "%", "세기": "단계", "열림": "%", "채널": "번"}
_RANGES = {"온도": (-30.0, 80.0), "밝기": (0.0, 100.0), "음량": (0.0, 100.0), "습도": (0.0, 100.0),
           "세기": (0.0, 10.0), "열림": (0.0, 100.0), "채널": (1.0, 999.0)}  # fmt: skip
_STEPS = {"온도": 1.0, "밝기": 10.0, "음량": 5.0, "습도": 5.0, "세기": 1.0, "열림": 10.0, "채널": 1.0}
_STARTS = {"온도": 22.0, "밝기": 50.0, "음량": 20.0, "습도": 50.0, "세기": 2.0, "열림": 50.0, "채널": 7.0}
# What a device itself allows, where that is less.
_LIMITS = {("에어컨", "온도"): (16.0, 30.0), ("보일러", "온도"): (5.0, 80.0), ("냉장고", "온도"): (-30.0, 10.0),
           ("전기장판", "온도"): (20.0, 60.0)}  # fmt: skip
_AGAIN = timedelta(minutes=10)
# Kept out of "turn everything off": what must not stop, and what is opened and closed.
_NOT_WITH_ALL = ("냉장고", "도어록", "가스 밸브", *_OPENING)
_QUIET = ("조명", "스탠드", "무드등", "텔레비전", "스피커", "에어컨", "선풍기", "히터", "가습기", "환풍기")

Action = Literal["on", "off"]


@dataclass(frozen=True)
class Step:
    """One more thing to do in the same breath: 에어컨 켜고 **불 꺼 줘**.

    Attributes:
        action: on or off.
        devices: names of devices.
        places: rooms; empty for wherever the devices are.
        except_devices: devices to leave out of all.
        except_places: rooms to leave out of all.
    """

    action: Action
    devices: Sequence[str] = ()
    places: Sequence[str] = ()
    except_devices: Sequence[str] = ()
    except_places: Sequence[str] = ()


Scene = Literal["외출", "귀가", "취침", "기상", "영화", "절전", "독서", "휴식", "환기"]
# A scene's changes: devices → on, off or a setting.
_SCENES: dict[str, tuple[tuple[tuple[str, ...], bool | dict[str, float | str]], ...]] = {
    "외출": (((*_QUIET, "전기장판", "인덕션"), False), (("도어록", "가스 밸브"), False)),
    "귀가": ((("조명",), True),),
    "취침": (
        ((*_QUIET[:1], "스탠드", "텔레비전", "스피커"), False),
        (_OPENING, False),
        (("무드등",), {"밝기": 10.0}),
    ),
    "기상": ((_OPENING, True), (("조명",), True)),
    "영화": ((("조명",), {"밝기": 10.0}), (_OPENING, False), (("텔레비전",), True)),
    "절전": ((("에어컨",), {"온도": 26.0}), (("조명",), {"밝기": 50.0})),
    "독서": ((("스탠드",), True), (("텔레비전", "스피커"), False)),
    "휴식": ((("조명",), {"밝기": 40.0}), (("텔레비전",), False)),
    "환기": ((("환풍기",), True), (("에어컨", "히터"), False)),
}


@dataclass(frozen=True)
class Device:
    """A device as it is written down.

    Attributes:
        place: the room; empty for one that was named without a room.
        device: the kind.
        is_on: on or open; None when nobody has said.
        settings: attribute → number in its unit, or the name of a mode or colour.
        changed: when it was last changed.
    """

    place: str
    device: str
    is_on: bool | None
    settings: dict[str, float | str]
    changed: datetime

    @property
    def name(self) -> str:
        """The room and the kind."""
        return f"{self.place} {self.device}".strip()

    @property
    def state(self) -> str:
        """켜짐, 열림, 잠김 … with the settings."""
        return ", ".join(
            [_state_word(self.device, self.is_on), *map(_setting_in_words, self.settings.items())]
        )


class Home:
    """The devices of one data folder; safe to share between threads. Nothing is made before the first use."""

    def __init__(self, path: Path, clock: Callable[[], datetime] = datetime.now) -> None:
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

    def turn_on(
        self, devices: Sequence[str] = (), places: Sequence[str] = (), except_devices: Sequence[str] = (),
        except_places: Sequence[str] = (), then: Sequence[Step] = (), leave: bool = False,
    ) -> str:  # fmt: skip
        """기기를 켜거나 연 것으로 적어요.

        Args:
            devices: 기기 이름.
            places: 방 이름. 없으면 적혀 있는 곳이에요.
            except_devices: 빼 둘 기기.
            except_places: 빼 둘 방.
            then: 이어서 할 일.
            leave: 그대로 두라는 말인지. 그러면 아무것도 바꾸지 않아요.
        """
        return self._switch([Step("on", devices, places, except_devices, except_places), *then], leave)

    def turn_off(
        self, devices: Sequence[str] = (), places: Sequence[str] = (), except_devices: Sequence[str] = (),
        except_places: Sequence[str] = (), then: Sequence[Step] = (), leave: bool = False,
    ) -> str:  # fmt: skip
        """기기를 끄거나 닫은 것으로 적어요.

        Args:
            devices: 기기 이름.
            places: 방 이름. 없으면 적혀 있는 곳이에요.
            except_devices: 빼 둘 기기.
            except_places: 빼 둘 방.
            then: 이어서 할 일.
            leave: 그대로 두라는 말인지. 그러면 아무것도 바꾸지 않아요.
        """
        return self._switch([Step("off", devices, places, except_devices, except_places), *then], leave)

    def set_value(
        self, devices: Sequence[str] = (), places: Sequence[str] = (), attribute: str = "",
        value: float | None = None, change: float | None = None, choice: str = "",
    ) -> str:  # fmt: skip
        """온도, 밝기, 음량 같은 값을 맞춘 것으로 적어요.

        Args:
            devices: 기기 이름.
            places: 방 이름.
            attribute: 온도, 밝기, 음량, 습도, 세기, 열림, 채널, 모드, 색 가운데 하나.
            value: 맞출 값.
            change: 더하거나 뺄 값. 1이나 -1이면 한 단계예요.
            choice: 모드나 색의 이름.
        """
        if attribute and not devices and (places or not self._takes_lately(attribute)):
            raise MissingArgumentError("devices", _which_device(attribute))
        targets = self._targets(devices, places, "맞출까요")
        attribute = attribute or next((key for key in targets[0].settings if key in _RANGES), "")
        if not attribute or (value is None and change is None and not choice):
            what = (
                f"{targets[0].name}의 {with_object(attribute)}" if attribute else with_object(targets[0].name)
            )
            raise MissingArgumentError(
                "value", f"{what} {'얼마로' if attribute else '어떻게'} 맞출까요?", "{}로"
            )
        changed = [self._write(_with_setting(device, attribute, value, change, choice)) for device in targets]
        lines = [
            f"{device.name} {_setting_in_words((attribute, device.settings[attribute]))}"
            for device in changed
        ]
        limit = _limit_in_words(changed[0], attribute, value)
        return f"{with_direction(', '.join(lines))} 맞춰 적었어요. {limit}{RECORD_ONLY}"

    def query_state(
        self, devices: Sequence[str] = (), places: Sequence[str] = (), only_on: bool = False, only_timers: bool = False,
    ) -> str:  # fmt: skip
        """적혀 있는 기기의 상태를 보여 줘요.

        Args:
            devices: 기기 이름.
            places: 방 이름.
            only_on: 켜지거나 열린 것만 볼지.
            only_timers: 예약만 볼지.
        """
        known = self._known()
        if not known:
            return "아직 적어 둔 기기가 없어요. ‘거실 불 켜 줘’처럼 말씀하시면 적어 두기 시작해요."
        wanted = [device for device in known if _is_meant(device, devices, places)]
        if not wanted:
            what = " ".join([*places, *devices])
            return (
                f"{what}의 상태는 적어 둔 것이 없어요. 담소는 말씀하신 것만 알고, 실제 기기를 보지는 못해요."
            )
        if only_timers:
            timers = [f"· {text}" for text in self._timers(wanted)]
            return "\n".join(["적어 둔 예약이에요.", *timers]) if timers else "적어 둔 예약이 없어요."
        shown = [device for device in wanted if device.is_on or not only_on]
        if not shown:
            return "켜지거나 열린 것으로 적어 둔 기기가 없어요. 실제 기기와 다를 수 있어요."
        lines = [f"· {device.name}: {device.state}" for device in shown]
        lines += [f"· 예약: {text}" for text in self._timers(shown)]
        return "\n".join(["담소가 적어 둔 상태예요. 실제 기기와 다를 수 있어요.", *lines])

    def run_scene(self, scene: Scene, end: bool = False) -> str:
        """여러 기기를 한 번에 바꾼 것으로 적어요.

        Args:
            scene: 모드 이름.
            end: 그 모드를 끝내 달라는 말인지.
        """
        if end:
            return (
                f"{scene} 모드는 기기를 한 번 바꿔 적고 끝나는 것이라 되돌릴 수 없어요. "
                "‘거실 불 켜 줘’처럼 바꿀 기기를 말씀해 주세요."
            )
        changed = []
        for kinds, what in _SCENES[scene]:
            for device in self._known():
                if device.device in kinds:
                    if isinstance(what, bool):
                        changed.append(self._write(replace(device, is_on=what)))
                    else:
                        changed.append(
                            self._write(replace(device, is_on=True, settings=device.settings | what))
                        )
        if not changed:
            return f"{scene} 모드로 바꿀 기기가 아직 적혀 있지 않아요. 먼저 기기를 한 번씩 켜거나 꺼 주세요."
        lines = [f"· {device.name}: {device.state}" for device in changed]
        return "\n".join([f"{scene} 모드로 바꿔 적었어요. {RECORD_ONLY}", *lines])

    def set_timer(
        self, at: datetime | None = None, action: Action | None = None, devices: Sequence[str] = (),
        places: Sequence[str] = (), repeat: Repeat = "", until: datetime | None = None, start_now: bool = False,
        cancel: bool = False,
    ) -> str:  # fmt: skip
        """정한 시간에 켜거나 끈 것으로 적어요.

        Args:
            at: 언제.
            action: on이면 켜고 off이면 꺼요.
            devices: 기기 이름.
            places: 방 이름.
            repeat: 되풀이하는 주기.
            until: 그 반대로 되돌릴 때.
            start_now: 지금은 그 반대로 둘지.
            cancel: 적어 둔 예약을 지울지.
        """
        if cancel:
            return self._cancel_timers(devices, places)
        if at is None:
            raise MissingArgumentError("at", "언제로 예약할까요?")
        if action is None:
            raise MissingArgumentError("action", "켤까요, 끌까요?")
        now = self._clock()
        if repeat:
            at = datetime.combine(next_day(at.date() - timedelta(days=1), at.date(), repeat), at.time())
        elif at <= now:
            return f"{with_topic(moment_in_words(at, now))} 이미 지났어요. 앞으로의 때를 넣어 다시 말씀해 주세요."
        targets = self._targets(devices, places, "켤까요" if action == "on" else "끌까요")
        turns_on = action == "on"
        for device in targets:
            self._write(replace(device, is_on=not turns_on) if start_now else device)
            self._add_timer(device, turns_on, at, repeat)
            if until is not None:
                self._add_timer(device, not turns_on, until, repeat)
        kind = targets[0].device
        names = with_object(", ".join(device.name for device in targets))
        started = f"지금 {_verb(kind, not turns_on)} 다음 " if start_now else ""
        when = f"{_often_in_words(at, repeat, now)}에 {_verb(kind, turns_on)}"
        back = f" 다음 {moment_in_words(until, now)}에 {_verb(kind, not turns_on)}" if until else ""
        return f"{names} {started}{when}{back} 것으로 예약해 적었어요. {RECORD_ONLY}"

    def _add_timer(self, device: Device, turns_on: bool, at: datetime, repeat: Repeat) -> None:
        with self._lock, transaction(self._connection):
            self._connection.execute(
                "INSERT INTO timers (place, device, action, at, repeat) VALUES (?, ?, ?, ?, ?)",
                (device.place, device.device, "on" if turns_on else "off", at.isoformat(), repeat),
            )

    def _cancel_timers(self, devices: Sequence[str], places: Sequence[str]) -> str:
        meant = [device for device in self._known() if _is_meant(device, devices, places)]
        doomed = self._timers(meant)
        if len(doomed) > 1 and not devices:
            listed = "\n".join(f"· {text}" for text in doomed)
            raise MissingArgumentError(
                "devices", f"어느 기기의 예약을 지울까요? 다 지우려면 ‘모두’라고 답해 주세요.\n{listed}"
            )
        if not doomed:
            return "지울 예약이 없어요. 적어 둔 예약은 ‘예약 뭐 있어?’로 볼 수 있어요."
        with self._lock, transaction(self._connection):
            self._connection.executemany(
                "DELETE FROM timers WHERE place = ? AND device = ?",
                [(device.place, device.device) for device in meant],
            )
        return "\n".join([f"예약 {len(doomed)}개를 지웠어요.", *(f"· {text}" for text in doomed)])

    @property
    def _connection(self) -> Any:
        with self._lock:
            if self._opened is None:
                self._opened = connect(self._path, _MIGRATIONS)
            return self._opened

    def _switch(self, steps: Sequence[Step], leave: bool) -> str:
        """Writes every step down, once each of them is clear."""
        if leave:
            return "그대로 두었어요. 담소의 기록도 바꾸지 않았어요."
        targets = [(self._targets_of(step), step.action == "on") for step in steps]
        named: dict[str, list[str]] = {}
        for devices, is_on in targets:
            for device in devices:
                self._write(replace(device, is_on=is_on))
                named.setdefault(_verb(device.device, is_on), []).append(device.name)
        done = [f"{with_object(', '.join(names))} {verb} 것으로" for verb, names in named.items()]
        return f"{', '.join(done)} 적었어요. {RECORD_ONLY}"

    def _targets_of(self, step: Step) -> list[Device]:
        verb = "켤까요" if step.action == "on" else "끌까요"
        found = self._targets(step.devices, step.places, verb)
        if not step.except_devices and not step.except_places:
            return found
        kept = [item for item in found if not _is_meant(item, step.except_devices, step.except_places)]
        if not kept:
            raise MissingArgumentError("devices", f"그것을 빼면 적어 둔 기기가 없어요. 어떤 기기를 {verb}?")
        return kept

    def _targets(self, devices: Sequence[str], places: Sequence[str], verb: str) -> list[Device]:
        """The devices that are meant; one that was never named before begins to be written down.

        Raises:
            MissingArgumentError: no device is named and none was touched lately, or it stands in several rooms.
        """
        known = self._known()
        for name in devices:
            if name not in (*slots.DEVICES, EVERYTHING):
                raise MissingArgumentError(
                    "devices", f"{with_topic(f'‘{name:.40}’')} 담소가 모르는 기기예요. 어떤 기기를 {verb}?"
                )
        if EVERYTHING in devices:
            found = [d for d in known if d.device not in _NOT_WITH_ALL and _is_meant(d, (), places)]
            if not found:
                raise MissingArgumentError("devices", f"아직 적어 둔 기기가 없어요. 어떤 기기를 {verb}?")
            return found
        if not devices:
            devices = [self._touched_lately(known, places, verb)]
        return [target for device in devices for target in self._in_places(device, places, known, verb)]

    def _touched_lately(self, known: Sequence[Device], places: Sequence[str], verb: str) -> str:
        latest = max(known, key=lambda device: device.changed, default=None)
        if latest is None or places or self._clock() - latest.changed > _AGAIN:
            raise MissingArgumentError("devices", f"어떤 기기를 {verb}?")
        return latest.device

    def _takes_lately(self, attribute: str) -> bool:
        """Whether what was touched last, not long ago, has the attribute."""
        latest = max(self._known(), key=lambda device: device.changed, default=None)
        if latest is None or self._clock() - latest.changed > _AGAIN:
            return False
        return attribute in latest.settings or slots.takes(latest.device, attribute)

    def _in_places(
        self, device: str, places: Sequence[str], known: Sequence[Device], verb: str
    ) -> list[Device]:
        mine = [item for item in known if item.device == device]
        if EVERYWHERE in places and mine:
            return mine
        named = [place for place in places if place != EVERYWHERE]
        if named:
            return [_found(mine, place) or self._fresh(place, device) for place in named]
        if len(mine) > 1:
            rooms = ", ".join(item.place or "집" for item in mine)
            question = f"어느 곳의 {with_object(device)} {verb}? {rooms}에 있어요."
            raise MissingArgumentError("places", question, f"{{}} {device}")
        return mine or [self._fresh("", device)]

    def _fresh(self, place: str, device: str) -> Device:
        return Device(place, device, None, {}, self._clock())

    def _write(self, device: Device) -> Device:
        device = replace(device, changed=self._clock())
        with self._lock, transaction(self._connection):
            self._connection.execute(
                "INSERT OR REPLACE INTO devices VALUES (?, ?, ?, ?, ?)",
                (device.place, device.device, None if device.is_on is None else int(device.is_on),
                 json.dumps(device.settings, ensure_ascii=False), device.changed.isoformat()),
            )  # fmt: skip
        return device

    def _known(self) -> list[Device]:
        """All devices, after the timers whose time has come."""
        self._run_timers()
        with self._lock:
            rows = self._connection.execute("SELECT * FROM devices ORDER BY place, device").fetchall()
        return [
            Device(
                place,
                kind,
                None if on is None else bool(on),
                json.loads(settings),
                datetime.fromisoformat(changed),
            )
            for place, kind, on, settings, changed in rows
        ]

    def _run_timers(self) -> None:
        now = self._clock()
        with self._lock, transaction(self._connection):
            due = self._connection.execute(
                "SELECT id, place, device, action, at, repeat FROM timers WHERE at <= ? ORDER BY at",
                (now.isoformat(),),
            ).fetchall()
            for identifier, place, device, action, at, repeat in due:
                self._connection.execute(
                    "UPDATE devices SET is_on = ? WHERE place = ? AND device = ?",
                    (action == "on", place, device),
                )
                if repeat:
                    first = datetime.fromisoformat(at)
                    again = datetime.combine(_next_day(first, repeat, now), first.time()).isoformat()
                    self._connection.execute("UPDATE timers SET at = ? WHERE id = ?", (again, identifier))
                else:
                    self._connection.execute("DELETE FROM timers WHERE id = ?", (identifier,))

    def _timers(self, devices: Sequence[Device]) -> list[str]:
        with self._lock:
            rows = self._connection.execute(
                "SELECT place, device, action, at, repeat FROM timers ORDER BY at"
            ).fetchall()
        names = {(device.place, device.device): device.name for device in devices}
        return [
            f"{names[place, kind]} {_often_in_words(datetime.fromisoformat(at), repeat, self._clock())}에 "
            f"{_state_word(kind, action == 'on')}"
            for place, kind, action, at, repeat in rows
            if (place, kind) in names
        ]


def register(registry: Registry, home: Home) -> None:
    """Make the home's functions tools."""
    registry.add(home.turn_on, slots.on_slots)
    registry.add(home.turn_off, slots.off_slots)
    registry.add(home.set_value, slots.value_slots)
    registry.add(home.query_state, slots.state_slots)
    registry.add(
        home.run_scene,
        slots.scene_slots,
        {"scene": "어떤 모드로 바꿀까요? 외출, 귀가, 취침, 기상, 영화 모드 등이 있어요."},
    )
    registry.add(home.set_timer, slots.timer_slots)


def _is_meant(device: Device, devices: Sequence[str], places: Sequence[str]) -> bool:
    kind = not devices or EVERYTHING in devices or device.device in devices
    return kind and (not places or EVERYWHERE in places or device.place in places)


def _found(devices: Sequence[Device], place: str) -> Device | None:
    return next((device for device in devices if device.place == place), None)


def _with_setting(
    device: Device, attribute: str, value: float | None, change: float | None, choice: str
) -> Device:
    """The device with one setting changed, kept inside what the attribute allows."""
    if choice or attribute not in _RANGES:
        return replace(device, is_on=True, settings=device.settings | {attribute: choice or str(value)})
    if value is None:
        before = device.settings.get(attribute, _STARTS[attribute])
        step = _STEPS[attribute] if change is not None and abs(change) == 1 else 1.0
        value = (before if isinstance(before, float) else _STARTS[attribute]) + (change or 0.0) * step
    low, high = _limits(device, attribute)
    return replace(device, is_on=True, settings=device.settings | {attribute: min(max(value, low), high)})


def _often_in_words(at: datetime, repeat: Repeat, now: datetime) -> str:
    """오후 3시; 매일 오후 3시; 11월 30일 월요일부터 매주 오전 8시."""
    if not repeat:
        return moment_in_words(at, now)
    begin = "" if at.date() == now.date() else f"{day_in_words(at.date(), now.date())}부터 "
    return f"{begin}{repeat_in_words(repeat)} {time_in_words(at.time())}"


def _limits(device: Device, attribute: str) -> tuple[float, float]:
    return _LIMITS.get((device.device, attribute), _RANGES[attribute])


def _limit_in_words(device: Device, attribute: str, value: float | None) -> str:
    """A word on what the device allows, when more was asked of it."""
    if value is None or attribute not in _RANGES:
        return ""
    low, high = _limits(device, attribute)
    if low <= value <= high:
        return ""
    unit = _UNITS[attribute]
    return f"{device.name} {with_topic(attribute)} {low:g}{unit}부터 {high:g}{unit}까지 맞출 수 있어요. "


def _which_device(attribute: str) -> str:
    kinds = {"온도": "에어컨과 보일러", "습도": "가습기와 제습기"}.get(attribute)
    return f"{kinds} 가운데 무엇을 맞출까요?" if kinds else f"어떤 기기의 {with_object(attribute)} 맞출까요?"


def _setting_in_words(setting: tuple[str, float | str]) -> str:
    name, value = setting
    return f"{name} {value}" if isinstance(value, str) else f"{name} {value:g}{_UNITS.get(name, '')}"


def _state_word(device: str, is_on: bool | None) -> str:
    if is_on is None:
        return "아직 모름"
    if device in _LOCKING:
        return "열림" if is_on else "잠김"
    if device in _OPENING:
        return "열림" if is_on else "닫힘"
    return "켜짐" if is_on else "꺼짐"


def _verb(device: str, is_on: bool) -> str:
    """켠, 끈, 연, 닫은, 잠근."""
    if device in _LOCKING:
        return "연" if is_on else "잠근"
    if device in _OPENING:
        return "연" if is_on else "닫은"
    return "켠" if is_on else "끈"


def _next_day(first: datetime, repeat: Repeat, now: datetime) -> date:
    """The next day on which a timer of this time of day lies ahead."""
    yesterday = now.date() - timedelta(days=1)
    return next_day(now.date() if first.time() <= now.time() else yesterday, first.date(), repeat)
