from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

import agents.train_encoder
import agents.train_router
import assistant.evaluation.gate
import compression.language.pretraining
from assistant import cli
from assistant.evaluation import samples
from compression.artefacts import model_folder, verify_all, write_manifest

FIGURES = {"accuracy": 0.5}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.fixture
def embedded(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the models folder that the commands take for the embedded one."""
    folder = tmp_path / "embedded"
    shutil.copytree(models, folder)
    monkeypatch.setenv("DAMSO_MODELS", str(folder))
    return folder


def damso(*arguments: object) -> int:
    with pytest.raises(SystemExit) as exited:
        cli.main([str(argument) for argument in arguments])
    return int(exited.value.code or 0)


def last_json(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_a_generator_is_trained_as_asked(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    called: list[Any] = []

    def train(*arguments: Any, **options: Any) -> dict[str, float]:
        called.append((arguments, options))
        return FIGURES

    monkeypatch.setattr(compression.language.pretraining, "train", train)
    options = ["--preset", "nano", "--minutes", "0.5", "--no-compile"]
    assert damso("train", "generator", "--data", data, "--run", tmp_path / "run", *options) == 0
    nano = compression.language.pretraining.PRESETS["nano"]
    assert called == [((data, tmp_path / "run", nano, 0.5), {"compile_model": False})]
    assert last_json(capsys) == FIGURES


def test_every_preset_can_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    damso("train", "generator", "--help")
    assert f"<{'|'.join(compression.language.pretraining.PRESETS)}>" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "module", "function"),
    [
        ("encoder", agents.train_encoder, "train"),
        ("router", agents.train_router, "train"),
        ("gate", assistant.evaluation.gate, "fit"),
    ],
)
def test_a_model_trained_in_place_is_written_into_the_manifest(
    embedded: Path, data: Path, monkeypatch: pytest.MonkeyPatch, command: str, module: Any, function: str
) -> None:
    folders: list[Path] = []

    def train(*arguments: Any) -> dict[str, float]:
        folders.append(next(a for a in arguments if isinstance(a, Path) and a != data))
        (folders[0] / "new.json").write_text("{}", encoding="utf-8")
        return FIGURES

    monkeypatch.setattr(module, function, train)
    monkeypatch.setenv("DAMSO_DATA", str(data))
    assert damso("train", command) == 0
    assert folders == [embedded / command]
    manifest = json.loads((embedded / "manifest.json").read_text(encoding="utf-8"))
    assert "new.json" in manifest[command]["files"]


def test_a_model_trained_elsewhere_leaves_the_manifest_alone(
    embedded: Path, tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (embedded / "manifest.json").read_bytes()
    monkeypatch.setattr(agents.train_encoder, "train", lambda data, out: FIGURES)
    assert damso("train", "encoder", "--data", data, "--out", tmp_path / "mine") == 0
    assert (embedded / "manifest.json").read_bytes() == before


@pytest.mark.parametrize("command", ["generator", "encoder", "gate"])
def test_training_without_data_says_how_to_name_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    extra = ["--run", tmp_path / "run"] if command == "generator" else []
    for options in ([], ["--data", tmp_path / "없는 폴더"]):
        assert damso("train", command, *options, *extra) == 1
        message = capsys.readouterr().err
        assert message.startswith("오류: 학습 자료 폴더") and "DAMSO_DATA" in message
    assert not (tmp_path / "run").exists()


def test_without_torch_training_says_what_to_install(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert damso("train", "generator", "--data", data, "--run", tmp_path / "run", "--preset", "nano") == 1
    message = capsys.readouterr().err
    assert message.startswith("오류: 학습에 필요한 꾸러미 torch") and "damso[train]" in message


@pytest.mark.parametrize("bits", [4, 8, 32])
def test_a_checkpoint_is_exported_in_place(
    embedded: Path, random_generator: Path, capsys: pytest.CaptureFixture[str], bits: int
) -> None:
    checkpoint = random_generator.parent / "checkpoint"
    assert damso("export", checkpoint, "--out", embedded / "generator", "--bits", bits) == 0
    assert f"{bits}비트" in capsys.readouterr().out
    assert verify_all()["generator"] is None
    config = json.loads((model_folder("generator") / "config.json").read_text(encoding="utf-8"))
    assert config["bits"] == bits


def test_an_export_of_nothing_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert damso("export", tmp_path / "없음", "--out", tmp_path / "out") == 1
    assert capsys.readouterr().err.startswith("오류: ")
    assert not (tmp_path / "out").exists()


def test_the_samples_are_asked_and_the_last_line_is_json(
    embedded: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = [q for q in samples.read_questions() if q.split == "dev"][:3]
    test = [q for q in samples.read_questions() if q.split == "test"][:2]
    monkeypatch.setattr(samples, "read_questions", lambda: chosen + test)
    write_manifest(embedded)
    assert damso("eval", "samples", "--split", "dev") == 0
    table = capsys.readouterr().out
    figures = json.loads(table.splitlines()[-1])
    assert figures["split"] == "dev" and figures["answerable"] + figures["unanswerable"] == 3
    assert f"{figures['correct_and_cited']:.1%}" in table and "없다고 말함" in table
    assert damso("eval", "samples", "--split", "test", "--json") == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_failures_are_listed_when_asked(
    embedded: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hopeless = next(q for q in samples.read_questions() if q.answerable)
    impossible = samples.SampleQuestion(**{**vars(hopeless), "id": "x1", "keys": (("없는 말",),)})
    monkeypatch.setattr(samples, "read_questions", lambda: [impossible])
    assert damso("eval", "samples", "--verbose") == 0
    output = capsys.readouterr().out
    assert f"✗ x1 {hopeless.question}" in output and "기대: [['없는 말']]" in output
