"""The home as Damso has it written down: devices, their states, scenes and timers, in SQLite.

No real device hangs on it. Whoever turns a light on here changes Damso's record, and every answer says so.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from agents.slots import home as slots
from agents.slots.home import EVERYTHING, EVERYWHERE
from assistant.errors import MissingArgumentError
from assistant.tools.registry import Registry
from assistant.tools.wording import moment_in_words, with_direction, with_object
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
_OPENING = ("커튼", "블라인드")
_LOCKING = ("도어록", "가스 밸브")
_UNITS = {"온도": "도", "밝기": "%", "음량": "", "습도": "%", "세기": "단계", "열림": "%", "채널": "번"}
_RANGES = {"온도": (-30.0, 80.0), "밝기": (0.0, 100.0), "음량": (0.0, 100.0), "습도": (0.0, 100.0),
           "세기": (0.0, 10.0), "열림": (0.0, 100.0), "채널": (1.0, 999.0)}  # fmt: skip
_STEPS = {"온도": 1.0, "밝기": 10.0, "음량": 5.0, "습도": 5.0, "세기": 1.0, "열림": 10.0, "채널": 1.0}
_STARTS = {"온도": 22.0, "밝기": 50.0, "음량": 20.0, "습도": 50.0, "세기": 2.0, "열림": 50.0, "채널": 7.0}
_AGAIN = timedelta(minutes=10)
# Kept out of "turn everything off": what must not stop.
_ALWAYS_ON = ("냉장고", "도어록", "가스 밸브")
_QUIET = ("조명", "스탠드", "무드등", "텔레비전", "스피커", "에어컨", "선풍기", "히터", "가습기", "환풍기")

Action = Literal["on", "off"]
Scene = Literal["외출", "귀가", "취침", "기상", "영화", "절전", "독서", "휴식", "환기"]
# A scene's changes: devices → on, off or a setting.
_SCENES: dict[str, tuple[tuple[tuple[str, ...], bool | dict[str, float | str]], ...]] = {
    "외출": ((_QUIET, False), (("도어록", "가스 밸브"), False)),
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

    def turn_on(self, devices: Sequence[str] = (), places: Sequence[str] = ()) -> str:
        """기기를 켜거나 연 것으로 적어요.

        Args:
            devices: 기기 이름.
            places: 방 이름. 없으면 적혀 있는 곳이에요.
        """
        return self._switch(devices, places, True)

    def turn_off(self, devices: Sequence[str] = (), places: Sequence[str] = ()) -> str:
        """기기를 끄거나 닫은 것으로 적어요.

        Args:
            devices: 기기 이름.
            places: 방 이름. 없으면 적혀 있는 곳이에요.
        """
        return self._switch(devices, places, False)

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
        if attribute == "온도" and not devices and (places or not self._warms_lately()):
            raise MissingArgumentError("devices", "에어컨과 보일러 가운데 무엇을 맞출까요?")
        targets = self._targets(devices, places, "맞출까요")
        attribute = attribute or next((key for key in targets[0].settings if key in _RANGES), "")
        if not attribute or (value is None and change is None and not choice):
            raise MissingArgumentError(
                "value", f"{targets[0].name}의 {with_object(attribute or '무엇')} 얼마로 맞출까요?", "{}로"
            )
        changed = [self._write(_with_setting(device, attribute, value, change, choice)) for device in targets]
        lines = [
            f"{device.name} {_setting_in_words((attribute, device.settings[attribute]))}"
            for device in changed
        ]
        return f"{with_direction(', '.join(lines))} 맞춰 적었어요. {RECORD_ONLY}"

    def query_state(self, devices: Sequence[str] = (), places: Sequence[str] = ()) -> str:
        """적혀 있는 기기의 상태를 보여 줘요.

        Args:
            devices: 기기 이름.
            places: 방 이름.
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
        lines = [f"· {device.name}: {device.state}" for device in wanted]
        lines += [f"· 예약: {text}" for text in self._timers(wanted)]
        return "\n".join(["담소가 적어 둔 상태예요. 실제 기기와 다를 수 있어요.", *lines])

    def run_scene(self, scene: Scene) -> str:
        """여러 기기를 한 번에 바꾼 것으로 적어요.

        Args:
            scene: 모드 이름.
        """
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
        self, at: datetime, action: Action, devices: Sequence[str] = (), places: Sequence[str] = (),
        repeat: str = "", start_now: bool = False,
    ) -> str:  # fmt: skip
        """정한 시간에 켜거나 끈 것으로 적어요.

        Args:
            at: 언제.
            action: on이면 켜고 off이면 꺼요.
            devices: 기기 이름.
            places: 방 이름.
            repeat: 되풀이하는 주기. daily나 weekdays.
            start_now: 지금 켜 둘지.
        """
        targets = self._targets(devices, places, "켤까요" if action == "on" else "끌까요")
        for device in targets:
            self._write(replace(device, is_on=True) if start_now else device)
            with self._lock, transaction(self._connection):
                self._connection.execute(
                    "INSERT INTO timers (place, device, action, at, repeat) VALUES (?, ?, ?, ?, ?)",
                    (device.place, device.device, action, at.isoformat(), repeat),
                )
        names = with_object(", ".join(device.name for device in targets))
        often = {"daily": "매일 ", "weekdays": "평일마다 "}.get(repeat, "")
        started = "지금 켜고 " if start_now else ""
        verb = _verb(targets[0].device, action == "on")
        when = moment_in_words(at, self._clock())
        return f"{names} {started}{often}{when}에 {verb} 것으로 예약해 적었어요. {RECORD_ONLY}"

    @property
    def _connection(self) -> Any:
        with self._lock:
            if self._opened is None:
                self._opened = connect(self._path, _MIGRATIONS)
            return self._opened

    def _switch(self, devices: Sequence[str], places: Sequence[str], is_on: bool) -> str:
        targets = self._targets(devices, places, "켤까요" if is_on else "끌까요")
        for device in targets:
            self._write(replace(device, is_on=is_on))
        names = with_object(", ".join(device.name for device in targets))
        return f"{names} {_verb(targets[0].device, is_on)} 것으로 적었어요. {RECORD_ONLY}"

    def _targets(self, devices: Sequence[str], places: Sequence[str], verb: str) -> list[Device]:
        """The devices that are meant; one that was never named before begins to be written down.

        Raises:
            MissingArgumentError: no device is named and none was touched lately, or it stands in several rooms.
        """
        known = self._known()
        if EVERYTHING in devices:
            found = [d for d in known if d.device not in _ALWAYS_ON and _is_meant(d, (), places)]
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

    def _warms_lately(self) -> bool:
        latest = max(self._known(), key=lambda device: device.changed, default=None)
        return latest is not None and "온도" in latest.settings and self._clock() - latest.changed <= _AGAIN

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
            raise MissingArgumentError("places", f"어느 곳의 {with_object(device)} {verb}? {rooms}에 있어요.")
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
                    again = _next_time(datetime.fromisoformat(at), repeat, now).isoformat()
                    self._connection.execute("UPDATE timers SET at = ? WHERE id = ?", (again, identifier))
                else:
                    self._connection.execute("DELETE FROM timers WHERE id = ?", (identifier,))

    def _timers(self, devices: Sequence[Device]) -> list[str]:
        with self._lock:
            rows = self._connection.execute(
                "SELECT place, device, action, at FROM timers ORDER BY at"
            ).fetchall()
        names = {(device.place, device.device): device.name for device in devices}
        return [
            f"{names[place, kind]} {moment_in_words(datetime.fromisoformat(at), self._clock())}에 "
            f"{_state_word(kind, action == 'on')}"
            for place, kind, action, at in rows
            if (place, kind) in names
        ]


def register(registry: Registry, home: Home) -> None:
    """Make the home's functions tools."""
    registry.add(home.turn_on, slots.switch_slots)
    registry.add(home.turn_off, slots.switch_slots)
    registry.add(home.set_value, slots.value_slots)
    registry.add(home.query_state, slots.switch_slots)
    registry.add(
        home.run_scene,
        slots.scene_slots,
        {"scene": "어떤 모드로 바꿀까요? 외출, 귀가, 취침, 기상, 영화 모드 등이 있어요."},
    )
    registry.add(home.set_timer, slots.timer_slots, {"at": "언제로 예약할까요?", "action": "켤까요, 끌까요?"})


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
    low, high = _RANGES[attribute]
    return replace(device, is_on=True, settings=device.settings | {attribute: min(max(value, low), high)})


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


def _next_time(at: datetime, repeat: str, now: datetime) -> datetime:
    while at <= now or (repeat == "weekdays" and at.weekday() > 4):
        at += timedelta(days=1)
    return at
