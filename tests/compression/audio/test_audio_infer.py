from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from compression.artefacts import model_folder
from compression.audio.features import RATE, SAMPLES, Floats
from compression.audio.infer import HOP, NAME, Recogniser, windowed
from compression.errors import ModelCorruptError
from tests.compression.audio.sounds import voice


@pytest.fixture(scope="module")
def recogniser() -> Recogniser:
    return Recogniser.load()


def cut(samples: Floats, size: int) -> list[Floats]:
    return [samples[start : start + size] for start in range(0, len(samples), size)]


@pytest.mark.parametrize("size", [1, 777, SAMPLES, 10**6])
def test_windows_do_not_depend_on_the_blocks(size: int) -> None:
    length = 3_000 if size == 1 else 2 * SAMPLES + 40_000
    samples = np.arange(length, dtype=np.float32)
    found = list(windowed(cut(samples, size)))
    assert [start for start, _ in found] == [n * HOP for n in range(len(found))]
    for start, window in found:
        np.testing.assert_array_equal(window, samples[start : start + len(window)])
    assert found[-1][0] + len(found[-1][1]) == length


@pytest.mark.parametrize("length", [0, 1, SAMPLES - 1, SAMPLES, SAMPLES + 5, SAMPLES + HOP])
def test_no_sample_is_heard_by_itself_that_was_heard_before(length: int) -> None:
    found = list(windowed([np.zeros(length, np.float32)]))
    assert len(found) == {0: 0, SAMPLES + HOP: 2}.get(length, 1)


def test_probabilities_are_probabilities(recogniser: Recogniser) -> None:
    found = recogniser.probabilities(voice(3))
    assert found.shape == (8,) and found.min() >= 0 and found.sum() == pytest.approx(1)


def test_silence_is_not_an_emotion(recogniser: Recogniser) -> None:
    heard = recogniser.hear([np.zeros(3 * SAMPLES, np.float32)])
    assert heard.probabilities == () and all(window.probabilities == () for window in heard.windows)
    half = recogniser.hear([np.concatenate([voice(9), np.zeros(2 * SAMPLES, np.float32)])])
    assert half.windows[0].probabilities and not half.windows[-1].probabilities
    assert sum(half.probabilities) == pytest.approx(1)


def test_clipping_is_noticed(recogniser: Recogniser) -> None:
    assert recogniser.hear([np.clip(voice(3, level=9), -1, 1)]).windows[0].clipped
    assert not recogniser.hear([voice(3)]).windows[0].clipped


def test_one_sample_is_enough_and_none_is_too(recogniser: Recogniser) -> None:
    assert sum(recogniser.hear([np.full(1, 0.5, np.float32)]).probabilities) == pytest.approx(1)
    nothing = recogniser.hear([])
    assert nothing.windows == () and nothing.seconds == 0


def test_a_longer_recording_has_a_longer_timeline(recogniser: Recogniser) -> None:
    heard = recogniser.hear(cut(voice(30), 4_096))
    assert heard.seconds == pytest.approx(30) and len(heard.windows) == -(-(30 * RATE - SAMPLES) // HOP) + 1


def test_the_embedded_model_is_small_and_says_how_good_it_is() -> None:
    folder = model_folder(NAME)
    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert (folder / "model.onnx").stat().st_size < 1_000_000
    assert 0 < values["calibration_error"] <= values["calibration_error_before"] < 1
    assert 0.5 <= values["threshold"] < 1 and values["held_out_accuracy"] < values["held_out_accuracy_named"]


@pytest.mark.parametrize(
    "content", ["", "[]", '{"labels": ["a"]}', '{"labels": ["a", "b"], "temperature": 1, "threshold": 0.5}']
)
def test_a_damaged_configuration_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(content, encoding="utf-8")
    (tmp_path / "model.onnx").write_bytes((model_folder(NAME) / "model.onnx").read_bytes())
    with pytest.raises(ModelCorruptError):
        Recogniser.load(tmp_path)
