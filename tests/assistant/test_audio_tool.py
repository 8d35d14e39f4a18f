"""A recording that comes with a message, from the file to the answer."""

from __future__ import annotations

import json
import tracemalloc
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from assistant import cli
from assistant.dialog import Assistant
from assistant.errors import AudioError, MissingArgumentError
from assistant.events import ToolResult
from assistant.tools import Tools
from assistant.tools.audio import KOREAN, SILENT, UNSURE, Voice, describe, draw, stretches
from compression.audio.infer import Hearing, Recogniser, Window
from tests.compression.audio.sounds import (
    CODECS,
    voice,
    with_field,
    write_encoded,
    write_long_wav,
    write_wav,
)  # fmt: skip

MESSAGE = "녹음 파일 들어 보고 기분이 어떤지 알려 줘"


@pytest.fixture
def ear(tmp_path: Path) -> Voice:
    return Voice(tmp_path / "home")


def heard(*windows: tuple[float, ...], clipped: bool = False, seconds: float | None = None) -> Hearing:
    """Three emotions over windows of four seconds every two."""
    given = tuple(Window(2.0 * n, 2.0 * n + 4, parts, clipped) for n, parts in enumerate(windows))
    sounding = [window.probabilities for window in given if window.probabilities]
    mean = tuple(np.mean(sounding, axis=0).tolist()) if sounding else ()
    return Hearing(("happy", "sad", "angry"), seconds or given[-1].end, given, mean)


HAPPY, SAD, ANYTHING = (0.9, 0.05, 0.05), (0.1, 0.8, 0.1), (0.34, 0.33, 0.33)


@pytest.mark.parametrize("kind", CODECS)
def test_every_format_is_heard_and_drawn(kind: str, ear: Voice, tmp_path: Path) -> None:
    result = ear.recognise_emotion(write_encoded(tmp_path / f"녹음.{kind}", voice(6), kind))
    assert any(word in result.text for word in (*KOREAN.values(), UNSURE)) and "한국어" in result.text
    (picture,) = result.files
    assert (
        Path(picture).read_bytes().startswith(b"\x89PNG")
        and Path(picture).parent == tmp_path / "home" / "results"
    )


def test_one_emotion_is_named_with_its_runners_up() -> None:
    text = describe(heard(HAPPY), 0.5)
    assert text.startswith("가장 또렷한 감정은 기쁨이에요. (기쁨 90%, ") and "–" not in text


def test_under_the_threshold_nothing_is_named() -> None:
    assert describe(heard(ANYTHING), 0.5).startswith(UNSURE)
    assert describe(heard(HAPPY), 0.95).startswith(UNSURE)


def test_the_timeline_joins_what_is_alike_and_covers_everything() -> None:
    found = stretches(heard(HAPPY, HAPPY, SAD, ANYTHING, (), seconds=12), 0.5)
    assert found == [(0, 4, "기쁨"), (4, 6, "슬픔"), (6, 8, UNSURE), (8, 12, SILENT)]
    text = describe(heard(HAPPY, HAPPY, SAD), 0.5)
    assert "0:00–0:04 기쁨" in text and "0:04–0:08 슬픔" in text


def test_a_very_long_timeline_is_shortened() -> None:
    text = describe(heard(*[HAPPY, SAD] * 40), 0.5)
    assert len(text.splitlines()) < 15 and "짧은 구간" in text
    assert draw(heard(*[HAPPY, SAD] * 2000), 0.5).startswith(b"\x89PNG")


def test_what_harms_the_answer_is_said() -> None:
    assert "찌그러진" in describe(heard(HAPPY, clipped=True), 0.5)
    assert "짧아서" in describe(heard(HAPPY, seconds=0.4), 0.5)


@pytest.mark.parametrize("seconds", [0, 0.001, 5])
def test_silence_and_no_samples_are_said_to_be_silent(seconds: float, ear: Voice, tmp_path: Path) -> None:
    result = ear.recognise_emotion(write_wav(tmp_path / "a.wav", np.zeros(int(seconds * 22_050), np.float32)))
    assert "들리는 소리가 없어요" in result.text and result.files == ()


@pytest.mark.parametrize(
    ("rate", "channels", "level"), [(8_000, 1, 0.3), (192_000, 1, 0.3), (48_000, 8, 0.3), (22_050, 1, 9.0)]
)
def test_odd_recordings_are_heard(rate: int, channels: int, level: float, ear: Voice, tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", voice(3, rate, level=level), rate, channels)
    text = ear.recognise_emotion(path).text
    assert ("찌그러진" in text) == (level > 1) and "%" in text


def test_a_disguised_file_and_a_lying_header_are_refused(ear: Voice, tmp_path: Path) -> None:
    (tmp_path / "a.mp3").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(500))
    with pytest.raises(AudioError, match="소리 파일이 아니에요"):
        ear.recognise_emotion(tmp_path / "a.mp3")
    with pytest.raises(AudioError):
        ear.recognise_emotion(with_field(write_wav(tmp_path / "b.wav", voice(1)), 24, "<I", 0))


def test_an_hour_is_heard_in_the_memory_of_a_window(
    ear: Voice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network itself would take fifteen seconds for an hour, and no memory that stays."""
    ear.recognise_emotion(write_wav(tmp_path / "b.wav", voice(3)))
    monkeypatch.setattr(Recogniser, "probabilities", lambda *_: np.eye(8)[4])
    path = write_long_wav(tmp_path / "a.wav", voice(60), 60)
    tracemalloc.start()
    result = ear.recognise_emotion(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6 and result.files and "화남 100%" in result.text


def test_the_tool_takes_the_attached_file(tmp_path: Path) -> None:
    with Tools(tmp_path / "home") as tools:
        assert tools.registry["recognise_emotion"].file == "audio"
        with pytest.raises(MissingArgumentError, match="녹음 파일"):
            tools.registry.call("recognise_emotion", {})
        path = write_wav(tmp_path / "a.wav", voice(3))
        assert isinstance(tools.registry.call("recognise_emotion", {"audio": path}), ToolResult)


def test_a_message_with_a_recording_is_answered(talk: Assistant, tmp_path: Path) -> None:
    recording = write_wav(tmp_path / "통화.wav", voice(3))
    documents = len(talk.index.documents())
    done = talk.ask(MESSAGE, files=[recording])
    assert (done.agent, done.intent) == ("audio", "recognise_emotion")
    assert done.tool is not None and done.tool.name == "recognise_emotion" and done.tool.files
    assert len(talk.index.documents()) == documents, "a recording is no document"


def test_a_message_without_a_recording_asks_for_it(talk: Assistant, tmp_path: Path) -> None:
    asked = talk.ask("음성 감정 인식해 줘")
    assert asked.pending is not None and asked.pending.name == "audio" and "붙여서" in asked.answer
    recording = write_wav(tmp_path / "통화.wav", voice(3))
    done = talk.ask("여기 있어", conversation=asked.conversation, files=[recording])
    assert done.tool is not None and done.tool.name == "recognise_emotion"


def test_a_broken_recording_is_an_error_and_the_next_message_is_answered(
    talk: Assistant, tmp_path: Path
) -> None:
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    with pytest.raises(AudioError):
        talk.ask(MESSAGE, files=[tmp_path / "a.wav"])
    assert talk.ask(MESSAGE, files=[write_wav(tmp_path / "b.wav", voice(3))]).tool is not None


def test_the_commands_train_a_tiny_model_and_measure_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    for number, (actor, emotion, said, again) in enumerate(product((1, 2, 3, 4), (1, 5), (1, 2), (1, 2))):
        name = f"03-01-{emotion:02}-01-{said:02}-{again:02}-{actor:02}.wav"
        write_wav(tmp_path / "data" / name, voice(1, pitch=100 + 5 * number))
    arguments = ["train", "audio", "--data", tmp_path / "data", "--run", tmp_path / "run", "--preset", "tiny"]
    cli_run(*arguments, "--network", "compact", "--out", tmp_path / "model")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert [line.get("protocol") for line in lines] == ["random", "speaker", None]
    assert Recogniser.load(tmp_path / "model").labels[4] == "angry"
    cli_run("eval", "audio", "--json")
    figures = json.loads(capsys.readouterr().out)
    assert figures["bytes"] < 1_000_000 and figures["median_ms"] > 0
    assert cli_run("train", "audio", "--data", tmp_path / "model", "--run", tmp_path / "other") == 1
    assert "소리 파일이 없어요" in capsys.readouterr().err


def cli_run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as exited:
        cli.main([str(argument) for argument in arguments])
    return int(exited.value.code or 0)
