"""Looks for anomalies in a device's network traffic, with a picture of the score over time."""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compression.iot.capture import is_capture, read_capture
from compression.iot.errors import TrafficError
from compression.iot.features import ColumnChoice, Records, encode, renamed
from compression.iot.infer import Detector, Findings, SuspectWindow
from compression.iot.profiles import Profile
from compression.iot.tables import read_table

_MOST_POINTS = 500
_FONTS = ("NanumGothic", "NanumSquareRound", "Noto Sans CJK KR", "Malgun Gothic", "Apple SD Gothic Neo")


@dataclass(frozen=True)
class NetworkCheck:
    """What a device's profile says about a file of traffic.

    Attributes:
        device: name of the profile.
        file: name of the file.
        records: records read.
        conspicuous: records over the threshold.
        threshold: score above which a record is conspicuous; about 1 is normal.
        series: score over time as (time, score), at most 500 points, each the highest of its stretch.
        windows: stretches that are an alarm, worst first, with the features that drove them.
        notes: Korean sentences on what was left out.
        text: the result in Korean.
        picture: PNG of the score over time; empty where matplotlib is not installed.
    """

    device: str
    file: str
    records: int
    conspicuous: int
    threshold: float
    series: tuple[tuple[float, float], ...]
    windows: tuple[SuspectWindow, ...]
    notes: tuple[str, ...]
    text: str
    picture: bytes = b""

    def to_json(self) -> dict[str, Any]:
        """Everything but the picture, in plain JSON types."""
        return {name: value for name, value in asdict(self).items() if name != "picture"}


def examine(profile: Profile, file: Path, skip_bad: bool = False, draw: bool = True) -> NetworkCheck:
    """Judge a file by a profile.

    Args:
        profile: of the device.
        file: a capture or a table, whichever the profile was learnt from.
        skip_bad: leave records with bad numbers out instead of raising.
        draw: whether to make the picture.

    Raises:
        TrafficError: the file cannot be read, or does not fit the profile.
    """
    records = read_records(profile, file, skip_bad)
    findings = Detector(profile).examine(records)
    series = _series(records.times, findings.scores)
    picture = _picture(profile, series, findings.windows) if draw else b""
    return NetworkCheck(
        profile.name, file.name, len(records.values), int(findings.above.sum()), profile.threshold,
        tuple((float(moment), float(score)) for moment, score in series), findings.windows, records.notes,
        _text(profile, records, findings), picture,
    )  # fmt: skip


def read_records(profile: Profile, file: Path, skip_bad: bool = False) -> Records:
    """A file's records as the profile's features.

    Raises:
        TrafficError: it cannot be read, or is of another kind than what the profile was learnt from.
    """
    capture = looks_like_capture(file)
    if capture != profile.capture:
        kinds = ("표(CSV, Parquet)", "캡처(pcap)")
        raise TrafficError(
            f"'{profile.name}' 프로필은 {kinds[profile.capture]}로 배웠는데, {file.name}은(는) {kinds[capture]}예요.",
            "배울 때와 같은 종류의 파일을 주세요.",
        )
    if capture:
        return read_capture(file)
    columns = read_table(file)
    # A table that already has the profile's names needs no renaming.
    rename = {old: new for old, new in profile.rename.items() if old in columns}
    return encode(renamed(columns, ColumnChoice(rename)), profile.schema, skip_bad)


def looks_like_capture(file: Path) -> bool:
    """Whether the file's first bytes are a capture's.

    Raises:
        TrafficError: there is no such file, or it cannot be opened.
    """
    try:
        with file.open("rb") as opened:
            return is_capture(opened.read(4))
    except OSError as error:
        raise TrafficError(f"파일을 열 수 없어요: {file.name}", "경로와 권한을 확인해 주세요.") from error


def describe(window: SuspectWindow, unit: str, origin: float = 0.0) -> str:
    """A suspect window in one Korean line.

    Args:
        window: to describe.
        unit: what its times count.
        origin: time to count from.
    """
    start, end = (f"{round(moment - origin, 1):,.12g}" for moment in (window.start, window.end))
    drivers = ", ".join(f"{driver.feature} {driver.share:.0%}" for driver in window.drivers)
    return f"{start}–{end}{unit} · 기록 {window.records:,}개 · 점수 {window.score:,.3g} · {drivers}"


def _text(profile: Profile, records: Records, findings: Findings) -> str:
    count, above = len(findings.scores), int(findings.above.sum())
    head = f"{profile.name}: 기록 {count:,}개 가운데 {above:,}개({above / count:.2%})가 기준을 넘었어요."
    if not findings.windows:
        return f"{head} 이어진 이상은 없어요."
    # A capture counts seconds since 1970; what helps is where in the file to look.
    origin = float(records.times[0]) if profile.capture else 0.0
    unit = "초" if profile.capture else f" ({profile.schema.time})" if profile.schema.time else "번째 기록"
    lines = [f"  {n}. {describe(item, unit, origin)}" for n, item in enumerate(findings.windows, 1)]
    return "\n".join([f"{head} 평소와 다른 구간이 있어요. 가장 심한 곳부터 보여 드릴게요.", *lines])


def _series(times: NDArray[np.float64], scores: NDArray[np.float64]) -> list[tuple[float, float]]:
    """Time and score, thinned so that every peak stays."""
    parts = np.array_split(np.arange(len(scores)), min(_MOST_POINTS, len(scores)))
    peaks = [int(part[np.argmax(scores[part])]) for part in parts]
    return [(float(times[peak]), float(scores[peak])) for peak in peaks]


def _picture(
    profile: Profile, series: list[tuple[float, float]], windows: tuple[SuspectWindow, ...]
) -> bytes:  # fmt: skip
    try:
        from matplotlib import font_manager
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        return b""
    known = set(font_manager.get_font_names())
    font = next((name for name in _FONTS if name in known), None)
    labels = ("점수", "기준", "시간", "이상 구간") if font else ("score", "threshold", "time", "anomaly")
    # Seconds since 1970 make no axis that can be read.
    origin = series[0][0] if profile.capture else 0.0
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    axes = figure.subplots()
    for number, window in enumerate(windows):
        axes.axvspan(
            window.start - origin,
            window.end - origin,
            color="tab:red",
            alpha=0.2,
            label="" if number else labels[3],
        )
    moments, scores = zip(*series, strict=True)
    axes.plot([moment - origin for moment in moments], scores, linewidth=0.9, label=labels[0])
    axes.axhline(profile.threshold, color="tab:red", linestyle="--", linewidth=0.9, label=labels[1])
    axes.set_yscale("log")
    axes.set_xlabel(labels[2], fontfamily=font)
    axes.set_ylabel(labels[0], fontfamily=font)
    axes.legend(loc="best", prop={"family": font})
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110)
    return content.getvalue()
