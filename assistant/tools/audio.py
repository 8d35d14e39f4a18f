"""Tells the emotion in a recorded voice, over time and with a picture."""

from __future__ import annotations

import io
import uuid
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from assistant.events import ToolResult
from assistant.tools.registry import Registry

if TYPE_CHECKING:
    from compression.audio.infer import Hearing, Recogniser, Window

UNSURE = "잘 모르겠음"
SILENT = "소리 없음"
KOREAN = {
    "neutral": "덤덤함", "calm": "차분함", "happy": "기쁨", "sad": "슬픔", "angry": "화남", "fearful": "두려움",
    "disgust": "싫음", "surprised": "놀람",
}  # fmt: skip
_DOMAIN = "영어로 연기한 목소리로 배운 모델이라, 한국어 목소리에서는 틀릴 때가 많아요. 참고로만 봐 주세요."
_CLIPPED = "녹음 소리가 너무 커서 찌그러진 곳이 있어요. 그 부분은 덜 믿을 만해요."
_SHORT = "녹음이 아주 짧아서 덜 믿을 만해요."
_NO_SOUND = "녹음에 들리는 소리가 없어요. 마이크와 녹음 소리 크기를 확인해 주세요."
_NO_FILE = "감정을 알아볼 녹음 파일(WAV, FLAC, OGG, MP3, M4A)을 붙여서 다시 말씀해 주세요."
_SHORTEST = 1.0  # seconds
_SHOWN, _MOST_STRETCHES, _MOST_BARS = 3, 8, 400
_FONTS = ("NanumGothic", "NanumSquareRound", "Noto Sans CJK KR", "Malgun Gothic", "Apple SD Gothic Neo")


class Voice:
    """The recogniser of one data folder; it is loaded when a recording comes."""

    def __init__(self, folder: Path) -> None:
        """Name the person's data folder."""
        self._folder = folder
        self._loaded: Recogniser | None = None

    def recognise_emotion(self, audio: Path) -> ToolResult:
        """녹음한 목소리에 어떤 감정이 담겼는지 시간에 따라 알려 줘요.

        Args:
            audio: 녹음 파일: WAV, FLAC, OGG, MP3, M4A.

        Raises:
            AudioError: the file cannot be read as sound, or holds none.
            ModelError: the embedded model is missing or damaged.
        """
        from compression.audio.decoding import blocks

        recogniser = self._recogniser()
        heard = recogniser.hear(blocks(audio))
        text = describe(heard, recogniser.threshold)
        picture = draw(heard, recogniser.threshold) if heard.probabilities else b""
        return ToolResult("recognise_emotion", text, self._kept(picture))

    def _recogniser(self) -> Recogniser:
        if self._loaded is None:
            from compression.audio.infer import Recogniser

            self._loaded = Recogniser.load()
        return self._loaded

    def _kept(self, picture: bytes) -> tuple[str, ...]:
        """The picture under a generated name, where faces may show it from; none where nothing can be written."""
        if not picture:
            return ()
        place = self._folder / "results" / f"{uuid.uuid4().hex}.png"
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(picture)
        except OSError:
            return ()
        return (str(place),)


def register(registry: Registry, voice: Voice) -> None:
    """Make hearing a tool."""
    registry.add(voice.recognise_emotion, questions={"audio": _NO_FILE})


def describe(heard: Hearing, threshold: float) -> str:
    """A recording's emotions in Korean: the whole, then the stretches, then what to keep in mind.

    Args:
        heard: what was heard.
        threshold: the probability under which an emotion is not named.
    """
    if not heard.probabilities:
        return _NO_SOUND
    ranked = sorted(zip(heard.probabilities, heard.labels, strict=True), reverse=True)
    shares = ", ".join(f"{KOREAN.get(label, label)} {share:.0%}" for share, label in ranked[:_SHOWN])
    best = name_of(heard.probabilities, heard.labels, threshold)
    unsure = f"{UNSURE}이에요. 어느 한 감정이 또렷하지 않아요."
    head = unsure if best == UNSURE else f"가장 또렷한 감정은 {best}이에요."
    lines = [f"{head} ({shares})", *_timeline(heard, threshold)]
    notes = [_CLIPPED] * any(window.clipped for window in heard.windows) + [_SHORT] * (
        heard.seconds < _SHORTEST
    )
    return "\n".join([*lines, *notes, _DOMAIN])


def name_of(probabilities: Sequence[float], labels: Sequence[str], threshold: float) -> str:
    """The best emotion in Korean; `UNSURE` under the threshold, `SILENT` without probabilities."""
    if not probabilities:
        return SILENT
    best = max(probabilities)
    label = labels[probabilities.index(best)]
    return KOREAN.get(label, label) if best >= threshold else UNSURE


def stretches(heard: Hearing, threshold: float) -> list[tuple[float, float, str]]:
    """Neighbouring windows of one emotion together: start and end in seconds, and the emotion in Korean."""

    def emotion(window: Window) -> str:
        return name_of(window.probabilities, heard.labels, threshold)

    runs = [(list(run), name) for name, run in groupby(heard.windows, emotion)]
    starts = [run[0].start for run, _ in runs]
    # Windows overlap; a stretch ends where the next one begins.
    return [
        (start, end, name)
        for start, end, (_, name) in zip(starts, [*starts[1:], heard.seconds], runs, strict=True)
    ]


def draw(heard: Hearing, threshold: float) -> bytes:
    """PNG: the emotions of the whole as bars, and over time as areas; empty where matplotlib is not installed."""
    try:
        from matplotlib import font_manager
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        return b""
    known = set(font_manager.get_font_names())
    font = next((name for name in _FONTS if name in known), None)
    labels = [KOREAN.get(label, label) if font else label for label in heard.labels]
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    whole, course = figure.subplots(1, 2, width_ratios=(1, 2))
    colours = [f"C{number}" for number in range(len(labels))]
    whole.barh(labels[::-1], heard.probabilities[::-1], color=colours[::-1])
    whole.axvline(threshold, color="grey", linestyle="--", linewidth=0.9)
    whole.set_xlim(0, 1)
    for start, width, parts in _bars(heard):
        bottom = 0.0
        for part, colour in zip(parts, colours, strict=True):
            course.bar(start, part, width, bottom=bottom, color=colour, align="edge")
            bottom += part
    course.set_xlim(0, heard.seconds)
    course.set_ylim(0, 1)
    course.set_xlabel("시간(초)" if font else "seconds", fontfamily=font)
    for label in whole.get_yticklabels():
        label.set_fontfamily(font or "sans-serif")
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110)
    return content.getvalue()


def _bars(heard: Hearing) -> list[tuple[float, float, tuple[float, ...]]]:
    """Start, width and probabilities of the windows with sound, thinned where there are very many."""
    step = -(-len(heard.windows) // _MOST_BARS)
    chosen = heard.windows[::step]
    ends = [*(window.start for window in chosen[1:]), heard.seconds]
    return [
        (window.start, end - window.start, window.probabilities)
        for window, end in zip(chosen, ends, strict=True)
        if window.probabilities
    ]


def _timeline(heard: Hearing, threshold: float) -> list[str]:
    found = stretches(heard, threshold)
    if len(found) < 2:
        return []
    longest = sorted(sorted(found, key=lambda item: item[0] - item[1])[:_MOST_STRETCHES])
    lines = [f"  {_clock(start)}–{_clock(end)} {name}" for start, end, name in longest]
    left = len(found) - len(longest)
    return [*lines, f"  그 밖의 짧은 구간 {left}개는 그림에서 볼 수 있어요."] if left else lines


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
