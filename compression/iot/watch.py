"""Judges traffic as it comes: a growing file or a pipe → events."""

from __future__ import annotations

import csv
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from compression.iot.capture import PacketFeatures, is_capture, packets
from compression.iot.errors import TrafficError
from compression.iot.features import ColumnChoice, encode, renamed, require_columns
from compression.iot.infer import Detector, Driver
from compression.iot.tables import header

_PAUSE = 0.2  # seconds between looks at a file that has not grown
_LONGEST = 1 << 20  # bytes of a line or a packet


@dataclass(frozen=True)
class Event:
    """What the watch has to say.

    Attributes:
        event: ``record``; ``alarm`` and ``clear`` when the vote turns; ``skipped`` for a record that cannot be read.
        record: its number, from 1.
        time: of the record, as `Records.times` counts; None for a skipped one.
        score: of the record; None for a skipped one.
        threshold: of the profile.
        drivers: the features that made the score high; for alarms.
        message: in Korean, why a record was skipped.
    """

    event: str
    record: int
    time: float | None = None
    score: float | None = None
    threshold: float | None = None
    drivers: tuple[Driver, ...] = ()
    message: str = ""


class Growing:
    """A file that is still being written: reading waits for bytes instead of ending.

    A pipe ends when its writer does. A file ends only when ``stopped`` says so.
    """

    def __init__(self, file: BinaryIO, follow: bool, stopped: Callable[[], bool] = lambda: False) -> None:
        """Takes the source.

        Args:
            file: to read from.
            follow: whether the end of the file is only the end for now.
            stopped: polled while waiting.
        """
        self._file, self._follow, self._stopped = file, follow, stopped
        self._waiting = b""

    def read(self, size: int) -> bytes:
        """Exactly ``size`` bytes, or fewer at the end.

        Raises:
            TrafficError: a size that no packet has: the capture is damaged.
        """
        if not 0 <= size <= _LONGEST:
            raise TrafficError("캡처의 길이 값이 망가져 있어요.", "캡처를 처음부터 다시 시작해 주세요.")
        while len(self._waiting) < size and self._fill(size - len(self._waiting)):
            pass
        taken, self._waiting = self._waiting[:size], self._waiting[size:]
        return taken

    def peek(self, size: int) -> bytes:
        """The next bytes without taking them."""
        taken = self.read(size)
        self._waiting = taken + self._waiting
        return taken

    def lines(self) -> Iterator[str]:
        """Whole lines as UTF-8 text; a last one without its end counts when there is no more to come.

        Raises:
            TrafficError: a line is too long to be a record.
        """
        while True:
            end = self._waiting.find(b"\n")
            if end < 0 and len(self._waiting) > _LONGEST:
                raise TrafficError("한 줄이 너무 길어요.", "CSV 형식인지 확인해 주세요.")
            if end < 0 and self._fill(1 << 16):
                continue
            end = len(self._waiting) if end < 0 else end + 1
            if not end:
                return
            line, self._waiting = self._waiting[:end], self._waiting[end:]
            yield line.decode("utf-8-sig", errors="replace")

    def _fill(self, size: int) -> bool:
        while not self._stopped():
            # read1 gives what a pipe has, where read would wait for all of it.
            more = self._file.read1(size) if hasattr(self._file, "read1") else self._file.read(size)
            if more:
                self._waiting += more
                return True
            if not self._follow:
                return False
            time.sleep(_PAUSE)
        return False


def watch(detector: Detector, source: Growing) -> Iterator[Event]:
    """Events of a capture or a table, whichever the profile was learnt from.

    Args:
        detector: of the device.
        source: the traffic from its first byte.

    Yields:
        For every record a ``record`` event, after it ``alarm`` or ``clear`` when the vote turns.

    Raises:
        TrafficError: the traffic is of another kind than the profile's, or lacks its columns.
    """
    capture = is_capture(source.peek(4))
    if capture != detector.profile.capture:
        kinds = ("표(CSV)", "캡처(pcap)")
        raise TrafficError(
            f"'{detector.profile.name}' 프로필은 {kinds[not capture]}로 배웠는데 {kinds[capture]}가 들어왔어요.",
            "배울 때와 같은 종류의 자료를 주세요.",
        )
    rows = _packet_rows(source) if capture else _table_rows(detector, source)
    return _judged(detector, rows)


_Row = tuple[float, NDArray[np.float32]] | str
"""Time and features of a record, or why it cannot be read."""


def _judged(detector: Detector, rows: Iterator[_Row]) -> Iterator[Event]:
    profile = detector.profile
    last: deque[bool] = deque(maxlen=profile.vote.window)
    alarmed = False
    for number, row in enumerate(rows, 1):
        if isinstance(row, str):
            yield Event("skipped", number, message=row)
            continue
        moment, values = row
        score = float(detector.scores(values[None])[0])
        last.append(score > profile.threshold)
        yield Event("record", number, moment, score, profile.threshold)
        if (sum(last) >= profile.vote.needed) != alarmed:
            alarmed = not alarmed
            drivers = detector.drivers(values[None]) if alarmed else ()
            yield Event("alarm" if alarmed else "clear", number, moment, score, profile.threshold, drivers)


def _packet_rows(source: Growing) -> Iterator[_Row]:
    features, notes = PacketFeatures(), list[str]()
    for packet in packets(source, notes.append):
        yield packet.time, features.add(packet)
    yield from notes


def _table_rows(detector: Detector, source: Growing) -> Iterator[_Row]:
    lines = source.lines()
    names = header("입력", next(csv.reader([next(lines, "")]), []))
    choice = ColumnChoice(rename={old: new for old, new in detector.profile.rename.items() if old in names})
    # A header without the columns is the end; a record that is no record is only skipped.
    renamed_names = list(renamed({name: [] for name in names}, choice))
    require_columns(renamed_names, detector.profile.schema.columns)
    for number, line in enumerate(lines):
        if line.strip():
            yield _table_row(detector, renamed_names, line, number)


def _table_row(detector: Detector, names: Sequence[str], line: str, number: int) -> _Row:
    schema = detector.profile.schema
    try:
        cells = next(csv.reader([line], strict=True))
        if len(cells) != len(names):
            return f"칸이 {len(cells)}개인데 열 이름은 {len(names)}개예요."
        records = encode({name: [cell] for name, cell in zip(names, cells, strict=True)}, schema)
    except (csv.Error, TrafficError) as error:
        return error.message if isinstance(error, TrafficError) else "CSV 한 줄로 읽을 수 없어요."
    return float(records.times[0]) if schema.time else float(number), records.values[0]
