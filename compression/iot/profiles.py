"""Profiles of devices on disk: a small ONNX file and a JSON file that vouches for it.

A device's name is data: the folder is called after its digest, so that no name can be a path. The JSON file is written
last and in one step; it names the network by its digest, so that a process killed in between leaves the old profile as
it was.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from compression.artefacts import model_folder
from compression.errors import DamsoError, ModelCorruptError, ModelMissingError
from compression.iot.errors import TrafficError
from compression.iot.export import restored, stored
from compression.iot.features import Doubles, Scaler, Schema
from compression.iot.threshold import Vote

PROFILE_FILE = "profile.json"
EXAMPLE = "JIIS23"
_EMBEDDED = "iot-anomaly"
_FORMAT = 1
_LARGEST_JSON, _LARGEST_MODEL = 4_000_000, 16_000_000  # bytes; a thousand features need about a tenth
_LONGEST_NAME = 100
_MODEL_FILE = re.compile(r"model-[0-9a-f]{16}\.onnx\.z")


@dataclass(frozen=True)
class Profile:
    """What normal is for one device.

    Attributes:
        name: of the device, as the person calls it.
        capture: whether the records come from captures; else from tables.
        schema: what the records look like.
        rename: a table's column → its name in the schema.
        scaler: standardises the features.
        spread: float64 [features], positive: how far reconstructions of normal records lie off, in root mean square.
        threshold: score above which a record is conspicuous.
        vote: how many conspicuous records make an alarm.
        model: the autoencoder as ONNX.
        figures: what was measured in training, in plain JSON types.
    """

    name: str
    capture: bool
    schema: Schema
    scaler: Scaler
    spread: Doubles
    threshold: float
    model: bytes = field(repr=False)
    rename: Mapping[str, str] = field(default_factory=dict)
    vote: Vote = field(default_factory=Vote)
    figures: Mapping[str, Any] = field(default_factory=dict)


def profiles_folder(home: Path) -> Path:
    """Where a person's profiles are."""
    return home / "iot"


def checked_name(name: str) -> str:
    """The name in one spelling (NFC, single spaces).

    Raises:
        TrafficError: empty, too long, or with characters that cannot be shown.
    """
    name = " ".join(unicodedata.normalize("NFC", name).split())
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise TrafficError(
            "기기 이름으로 쓸 수 없어요.", f"보이는 글자로 {_LONGEST_NAME}자까지 적어 주세요. 예: 거실 카메라"
        )
    return name


def save(profile: Profile, home: Path) -> Path:
    """Keep a profile; one of the same name is replaced in one step.

    Args:
        profile: to keep.
        home: the person's data folder.

    Returns:
        The profile's folder.

    Raises:
        OSError: it cannot be written; the old profile is as it was.
    """
    folder = profiles_folder(home) / _folder_name(profile.name)
    write(profile, folder)
    return folder


def load(name: str, home: Path) -> Profile:
    """A kept profile, or the embedded example under its own name if the person has none of that name.

    Raises:
        ModelMissingError: no profile of that name.
        ModelCorruptError: its files are damaged.
    """
    name = checked_name(name)
    folder = profiles_folder(home) / _folder_name(name)
    if not (folder / PROFILE_FILE).is_file():
        if name == EXAMPLE:
            return read(model_folder(_EMBEDDED))
        raise ModelMissingError(
            f"'{name}' 기기의 프로필이 없어요.", f'damso iot learn "{name}" 파일… 로 먼저 배워 주세요.'
        )
    return read(folder)


def load_all(home: Path) -> list[Profile | DamsoError]:
    """Every kept profile by name; a damaged one is its error."""
    found: list[Profile | DamsoError] = []
    for file in sorted(profiles_folder(home).glob(f"*/{PROFILE_FILE}")):
        try:
            found.append(read(file.parent))
        except DamsoError as error:
            found.append(error)
    return sorted(found, key=lambda item: item.name if isinstance(item, Profile) else "\U0010ffff")


def write(profile: Profile, folder: Path) -> None:
    """Write a profile's two files, the JSON file last."""
    folder.mkdir(parents=True, exist_ok=True)
    content = stored(profile.model)
    digest = hashlib.sha256(content).hexdigest()
    model = folder / f"model-{digest[:16]}.onnx.z"
    description = {
        "format": _FORMAT,
        "name": profile.name,
        "capture": profile.capture,
        "numbers": list(profile.schema.numbers),
        "categories": {name: list(values) for name, values in profile.schema.categories.items()},
        "time": profile.schema.time,
        "rename": dict(profile.rename),
        "center": profile.scaler.center.tolist(),
        "scale": profile.scaler.scale.tolist(),
        "spread": profile.spread.tolist(),
        "threshold": profile.threshold,
        "vote": asdict(profile.vote),
        "figures": dict(profile.figures),
        "model": {"file": model.name, "sha256": digest},
    }
    _write_file(model, content)
    text = json.dumps(description, ensure_ascii=False, indent=1) + "\n"
    _write_file(folder / PROFILE_FILE, text.encode())
    for file in folder.glob("model-*.onnx.z"):
        if file != model:
            file.unlink(missing_ok=True)


def read(folder: Path) -> Profile:
    """The profile in a folder.

    Raises:
        ModelCorruptError: a file is missing, too large, or not what it says.
    """
    try:
        described = json.loads(_read_file(folder / PROFILE_FILE, _LARGEST_JSON))
        if described["format"] != _FORMAT or not _MODEL_FILE.fullmatch(described["model"]["file"]):
            raise ValueError("another format")
        content = _read_file(folder / described["model"]["file"], _LARGEST_MODEL)
        if hashlib.sha256(content).hexdigest() != described["model"]["sha256"]:
            raise ValueError("another network")
        return _described(described, restored(content, _LARGEST_MODEL))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelCorruptError(
            f"기기 프로필이 손상되었어요: {folder.name}", "damso iot learn으로 다시 배워 주세요."
        ) from error


def _described(described: Mapping[str, Any], model: bytes) -> Profile:
    categories = {str(name): tuple(map(str, values)) for name, values in described["categories"].items()}
    schema = Schema(tuple(map(str, described["numbers"])), categories, str(described["time"]))
    center, scale, spread = (np.array(described[key], np.float64) for key in ("center", "scale", "spread"))
    vote, threshold = Vote(**described["vote"]), float(described["threshold"])
    shape = (len(schema.features),)
    if not center.shape == scale.shape == spread.shape == shape or not (np.minimum(scale, spread) > 0).all():
        raise ValueError("the scales do not fit the features")
    if not (
        np.isfinite([center, scale, spread]).all()
        and np.isfinite(threshold)
        and 1 <= vote.needed <= vote.window
    ):
        raise ValueError("a number that cannot be")
    return Profile(
        checked_name(described["name"]), bool(described["capture"]), schema, Scaler(center, scale), spread,
        threshold, model, dict(described["rename"]), vote, dict(described["figures"]),
    )  # fmt: skip


def _folder_name(name: str) -> str:
    return hashlib.sha256(checked_name(name).encode()).hexdigest()[:32]


def _read_file(path: Path, limit: int) -> bytes:
    with path.open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ValueError("too large")
    return content


def _write_file(path: Path, content: bytes) -> None:
    """Whole or not at all: a temporary file, synced, takes the name."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
