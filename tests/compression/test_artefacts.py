from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compression.artefacts import MANIFEST, model_folder, models_folder, verify_all, write_manifest
from compression.errors import ModelCorruptError, ModelError, ModelMissingError


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "models"
    for name in ("encoder", "generator"):
        (root / name).mkdir(parents=True)
        (root / name / "model.onnx").write_bytes(name.encode() * 100)
        (root / name / "config.json").write_text("{}", encoding="utf-8")
        (root / name / "MODEL_CARD.md").write_text("# card", encoding="utf-8")
    (tmp_path / "secret").mkdir()
    write_manifest(root)
    monkeypatch.setenv("DAMSO_MODELS", str(root))
    return root


def edit_manifest(models: Path, name: str, entry: object) -> None:
    manifest = json.loads((models / MANIFEST).read_text(encoding="utf-8"))
    (models / MANIFEST).write_text(json.dumps(manifest | {name: entry}), encoding="utf-8")


def test_intact_models_are_found(models: Path) -> None:
    assert model_folder("generator") == models / "generator"
    assert verify_all() == {"encoder": None, "generator": None}


def test_without_a_setting_the_models_are_beside_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAMSO_MODELS", raising=False)
    assert models_folder() == Path(__file__).resolve().parents[2] / "models"


def test_the_manifest_is_deterministic_and_leaves_prose_out(models: Path) -> None:
    before = (models / MANIFEST).read_bytes()
    (models / "generator" / "MODEL_CARD.md").write_text("# another card", encoding="utf-8")
    (models / "generator" / ".hidden").write_text("x", encoding="utf-8")
    (models / "empty").mkdir()
    assert write_manifest(models).read_bytes() == before
    manifest = json.loads(before)
    assert set(manifest) == {"encoder", "generator"}
    assert set(manifest["generator"]["files"]) == {"model.onnx", "config.json"}
    assert manifest["generator"]["files"]["model.onnx"]["bytes"] == 900


@pytest.mark.parametrize("content", [b"x" * 900, b"", b"generator" * 101])
def test_a_changed_file_is_refused(models: Path, content: bytes) -> None:
    model_folder("generator")
    (models / "generator" / "model.onnx").write_bytes(content)
    with pytest.raises(ModelCorruptError, match=r"generator/model\.onnx"):
        model_folder("generator")
    found = verify_all()
    assert found["encoder"] is None
    assert isinstance(found["generator"], ModelCorruptError)


def test_a_missing_file_is_named(models: Path) -> None:
    (models / "generator" / "model.onnx").unlink()
    with pytest.raises(ModelMissingError, match=r"generator/model\.onnx"):
        model_folder("generator")


def test_a_file_is_hashed_once(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model_folder("generator")
    monkeypatch.setattr("compression.artefacts._sha256", lambda file: pytest.fail("hashed again"))
    assert model_folder("generator") == models / "generator"


def test_no_models_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAMSO_MODELS", str(tmp_path))
    with pytest.raises(ModelMissingError):
        model_folder("generator")


@pytest.mark.parametrize("content", ["{", "[]", '{"generator": []}', '{"generator": {"files": {"a": 1}}}'])
def test_a_damaged_manifest_is_refused(models: Path, content: str) -> None:
    (models / "generator" / "a").write_text("a", encoding="utf-8")
    (models / MANIFEST).write_text(content, encoding="utf-8")
    with pytest.raises(ModelCorruptError, match=r"manifest\.json"):
        model_folder("generator") if "generator" in content else verify_all()


OUTSIDE = ["../secret", "..", "", ".", "/etc", "generator/..", "a\0b", "%2e%2e"]


@given(st.text(max_size=40) | st.sampled_from(OUTSIDE))
def test_a_name_never_leaves_the_folder(models_once: Path, name: str) -> None:
    with pytest.raises(ModelError):
        model_folder(name)


@pytest.fixture(scope="module")
def models_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAMSO_MODELS", str(root))
        write_manifest(root)
        yield root


@pytest.mark.parametrize("name", ["../secret", "..", "/etc", "a/b", "a\\b"])
def test_a_manifest_cannot_point_outside(models: Path, name: str) -> None:
    edit_manifest(models, name, {"files": {}})
    with pytest.raises(ModelCorruptError):
        model_folder(name)
    edit_manifest(models, "generator", {"files": {name: {"bytes": 0, "sha256": ""}}})
    with pytest.raises(ModelCorruptError):
        model_folder("generator")
