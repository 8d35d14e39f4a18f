from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compression.audio import evaluate
from compression.audio.collections import Clip, find, random_folds, speaker_folds
from compression.audio.embed import embed, fit_threshold
from compression.audio.evaluate import Fold, Prepared, Protocol, cross_validate, figures, prepare, table
from compression.audio.infer import Recogniser, calibrated, calibration_error, fit_temperature
from compression.audio.train import COMPACT, Variant
from compression.errors import TrainingDataError
from tests.compression.audio.sounds import voice, write_wav


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four actors who say one sentence calmly and angrily: lower and louder, by themselves."""
    folder = tmp_path_factory.mktemp("ravdess")
    for actor in range(1, 5):
        for emotion, pitch, level in ((2, 120, 0.1), (5, 260, 0.8)):
            for repetition in (1, 2):
                name = f"03-01-{emotion:02}-01-01-{repetition:02}-{actor:02}.wav"
                write_wav(folder / name, voice(1, pitch=pitch + 3 * actor + repetition, level=level))
    return folder


@pytest.fixture(scope="module")
def prepared(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(data, tmp_path_factory.mktemp("run"), "RAVDESS")


def test_a_collection_is_read_from_its_names(data: Path, tmp_path: Path) -> None:
    found = find(data, "RAVDESS")
    assert len(found.clips) == 16 and {clip.speaker for clip in found.clips} == {1, 2, 3, 4}
    assert {found.labels[clip.label] for clip in found.clips} == {"calm", "angry"}
    write_wav(tmp_path / "03a01Wa.wav", voice(0.2))
    write_wav(tmp_path / "10b02Lb.wav", voice(0.3))
    write_wav(tmp_path / "사진.wav", voice(0.4))
    clips = find(tmp_path, "EMO-DB").clips
    assert [(clip.speaker, clip.label) for clip in clips] == [(3, 0), (10, 1)]
    with pytest.raises(TrainingDataError, match="RAVDESS의 소리 파일이 없어요"):
        find(tmp_path, "RAVDESS")


def test_a_recording_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    for name in ("03-01-03-01-02-01-07.wav", "03-01-03-01-02-02-07.wav"):
        write_wav(tmp_path / name, voice(0.2))
    assert len(find(tmp_path, "RAVDESS").clips) == 1


def test_folds_test_every_clip_once_and_keep_speakers_apart() -> None:
    clips = tuple(Clip(Path(f"{n}.wav"), n % 24 + 1, 0) for n in range(240))
    mixed = list(random_folds(240, 10, 0))
    apart = list(speaker_folds(clips, 6))
    for folds in (mixed, apart):
        assert sorted(number for fold in folds for number in fold) == list(range(240))
    speakers = [{clips[number].speaker for number in fold} for fold in apart]
    assert [len(fold) for fold in speakers] == [4] * 6 and len(set.union(*speakers)) == 24
    assert all(sum(speaker % 2 for speaker in fold) == 2 for fold in speakers)


def test_features_are_computed_once(data: Path, tmp_path: Path) -> None:
    counted: list[int] = []
    first = prepare(data, tmp_path, "RAVDESS", lambda: counted.append(1))
    second = prepare(data, tmp_path, "RAVDESS", lambda: counted.append(1))
    assert len(counted) == 16
    np.testing.assert_array_equal(first.features, second.features)


def test_an_interrupted_run_goes_on_with_the_next_fold(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(COMPACT, epochs=2, batch=4)
    whole = cross_validate(prepared, Variant.compact, Protocol.speaker, tmp_path / "a", 2, recipe)
    cross_validate(prepared, Variant.compact, Protocol.speaker, tmp_path / "b", 2, recipe, most=1)
    run_fold, ran = evaluate.run_fold, []
    monkeypatch.setattr(evaluate, "run_fold", lambda *a, **k: ran.append(a[2]) or run_fold(*a, **k))
    resumed = cross_validate(prepared, Variant.compact, Protocol.speaker, tmp_path / "b", 2, recipe)
    assert len(ran) == 1 and resumed == whole
    other = cross_validate(
        prepared, Variant.compact, Protocol.speaker, tmp_path / "b", 2, replace(recipe, epochs=1)
    )
    assert len(ran) == 3 and len(other[0].curve) == 1


def test_the_papers_figure_is_apart_from_the_honest_one(prepared: Prepared) -> None:
    labels = prepared.labels
    right = np.eye(8)[labels].tolist()
    wrong = np.eye(8)[(labels + 1) % 8].tolist()
    halves = [list(range(8)), list(range(8, 16))]
    folds = [
        Fold(halves[0], right[:8], right[:8], [1.0, 1.0], 80_000),
        Fold(halves[1], wrong[8:], right[8:], [0.5, 0.0], 80_000),
    ]
    found = figures(prepared, Variant.compact, Protocol.random, folds, 2)
    assert (found["war"], found["war_best_epoch"], found["war_int8"]) == (0.5, 0.75, 1.0)
    assert found["benefit_cost"] == pytest.approx(75 / 80_000 * 1e5)
    assert "50.00%" in table([found]) and "75.00%" in table([found])


def test_temperature_and_threshold_mend_an_overconfident_network() -> None:
    chooser = np.random.default_rng(0)
    labels = chooser.integers(0, 4, 4000)
    logits = (chooser.standard_normal((4000, 4)) + 2 * np.eye(4)[labels]).astype(np.float32)
    assert fit_temperature(logits * 3, labels) == pytest.approx(3 * fit_temperature(logits, labels), rel=0.05)
    temperature = fit_temperature(logits * 3, labels)
    before, after = (calibration_error(calibrated(logits * 3, t), labels) for t in (1.0, temperature))
    assert after < 0.03 < before
    probabilities = calibrated(logits * 3, temperature)
    threshold = fit_threshold(probabilities, labels)
    named = probabilities.max(1) >= threshold
    assert threshold >= 0.5 and (probabilities.argmax(1) == labels)[named].mean() >= 0.75


def test_the_embedded_model_is_written_and_heard(prepared: Prepared, tmp_path: Path) -> None:
    recipe = replace(COMPACT, epochs=6, batch=4)
    folds = cross_validate(prepared, Variant.compact, Protocol.speaker, tmp_path, 2, recipe)
    given = embed(prepared, folds, recipe, tmp_path / "model")
    assert given["bytes"] == (tmp_path / "model" / "model.onnx").stat().st_size < 1_000_000
    assert json.loads((tmp_path / "model" / "config.json").read_text())["labels"][4] == "angry"
    recogniser = Recogniser.load(tmp_path / "model")
    calm, angry = (
        recogniser.hear([voice(1, pitch=p, level=v)]).probabilities for p, v in ((125, 0.1), (266, 0.8))
    )
    assert angry[4] > calm[4] and calm[1] > angry[1]
