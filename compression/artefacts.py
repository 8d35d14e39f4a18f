"""The embedded models: one folder each under ``models/``, every file checked against ``manifest.json``.

The manifest maps a model to its files:
``{"generator": {"files": {"model.onnx": {"sha256": …, "bytes": …}}}}``.
Model cards are prose and stay out of it.
"""

from __future__ import annotations

import hashlib
import json
import os
from functools import cache
from pathlib import Path
from typing import Any

from compression.errors import ModelCorruptError, ModelError, ModelMissingError

MANIFEST = "manifest.json"


def models_folder() -> Path:
    """Where the models are: ``DAMSO_MODELS``, else the ``models`` folder beside the packages."""
    configured = os.environ.get("DAMSO_MODELS")
    return Path(configured) if configured else Path(__file__).resolve().parents[1] / "models"


def model_folder(name: str) -> Path:
    """The folder of an embedded model, all of whose files are as the manifest says.

    Sizes are compared on every call; the SHA-256 of a file is computed once in a process.

    Args:
        name: a key of the manifest. A name that is no key never touches the file system.

    Raises:
        ModelMissingError: no such model, or one of its files is missing.
        ModelCorruptError: a file or the manifest differs from what was embedded.
    """
    root = models_folder()
    manifest = _read_manifest(root)
    if name not in manifest:
        raise ModelMissingError(f"내장 모델이 없어요: {name[:80]}", "저장소를 다시 받아 설치해 주세요.")
    folder = root / _plain(name)
    for file, expected in _files(manifest[name]).items():
        _verify(folder / _plain(file), expected)
    return folder


def verify_all() -> dict[str, ModelError | None]:
    """Check every model of the manifest: name → None, or what is wrong with it.

    Raises:
        ModelMissingError: there is no manifest.
        ModelCorruptError: the manifest cannot be read.
    """
    return {name: _problem(name) for name in _read_manifest(models_folder())}


def write_manifest(folder: Path) -> Path:
    """Write the manifest of all models in a folder; the same files always give the same bytes.

    Args:
        folder: holds one folder a model.

    Returns:
        The manifest's path.
    """
    models = {
        model.name: {"files": {file.name: _describe(file) for file in sorted(_weights(model))}}
        for model in sorted(folder.iterdir())
        if model.is_dir() and _weights(model)
    }
    path = folder / MANIFEST
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(models, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    partial.replace(path)
    return path


def _problem(name: str) -> ModelError | None:
    try:
        model_folder(name)
    except ModelError as error:
        return error
    return None


def _weights(model: Path) -> list[Path]:
    files = (file for file in model.iterdir() if file.is_file())
    return [file for file in files if file.suffix != ".md" and not file.name.startswith(".")]


def _describe(file: Path) -> dict[str, Any]:
    return {"bytes": file.stat().st_size, "sha256": _sha256(file)}


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@cache
def _sha256_once(file: Path, size: int, modified_ns: int) -> str:
    """The digest of a file, computed again only when its size or time changes."""
    return _sha256(file)


def _read_manifest(root: Path) -> dict[str, Any]:
    path = root / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelMissingError(
            "내장 모델을 찾을 수 없어요.", "저장소를 다시 받아 설치하거나 DAMSO_MODELS를 확인해 주세요."
        ) from error
    except (OSError, ValueError) as error:
        raise _corrupt(MANIFEST) from error
    if not isinstance(manifest, dict):
        raise _corrupt(MANIFEST)
    return manifest


def _files(entry: Any) -> dict[str, Any]:
    files = entry.get("files") if isinstance(entry, dict) else None
    if not isinstance(files, dict):
        raise _corrupt(MANIFEST)
    return files


def _plain(name: str) -> str:
    """A name that stays inside its folder, whatever the manifest says."""
    if name in ("", ".", "..") or any(character in name for character in "/\\:\0"):
        raise _corrupt(MANIFEST)
    return name


def _verify(file: Path, expected: Any) -> None:
    if not file.is_file():
        raise ModelMissingError(
            f"모델 파일이 없어요: {file.parent.name}/{file.name}", "저장소를 다시 받아 설치해 주세요."
        )
    if not isinstance(expected, dict):
        raise _corrupt(MANIFEST)
    status = file.stat()
    if status.st_size != expected.get("bytes"):
        raise _corrupt(f"{file.parent.name}/{file.name}")
    if _sha256_once(file, status.st_size, status.st_mtime_ns) != expected.get("sha256"):
        raise _corrupt(f"{file.parent.name}/{file.name}")


def _corrupt(name: str) -> ModelCorruptError:
    return ModelCorruptError(f"모델 파일이 손상되었어요: {name}", "저장소를 다시 받아 설치해 주세요.")
