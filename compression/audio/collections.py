"""Emotional speech collections: which clips a folder holds, who speaks them, and what they feel."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from compression.errors import TrainingDataError

RAVDESS_LABELS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
EMODB_LABELS = ("angry", "bored", "disgust", "fearful", "happy", "neutral", "sad")
_EMODB_LETTERS = dict(zip("WLEAFNT", EMODB_LABELS, strict=True))
# modality 03 (audio only), channel 01 (speech), emotion, intensity, statement, repetition, actor
_RAVDESS_NAME = re.compile(r"03-01-(0[1-8])-0[12]-0[12]-0[12]-(\d\d)\.wav")
_EMODB_NAME = re.compile(r"(\d\d)[ab]\d\d([WLEAFNT])[a-z]?\.wav")


@dataclass(frozen=True)
class Clip:
    """One recorded sentence.

    Attributes:
        path: of the sound file.
        speaker: the collection's number of who speaks.
        label: the emotion's place among the collection's labels.
    """

    path: Path
    speaker: int
    label: int


@dataclass(frozen=True)
class Collection:
    """The clips of one collection, in the order of their names; files with equal content are there once.

    Attributes:
        name: ``RAVDESS`` or ``EMO-DB``.
        labels: emotions by number.
        clips: the clips.
    """

    name: str
    labels: tuple[str, ...]
    clips: tuple[Clip, ...]


def find(folder: Path, name: str) -> Collection:
    """Look for a collection's clips anywhere under a folder.

    Args:
        folder: of the data.
        name: ``RAVDESS`` or ``EMO-DB``.

    Raises:
        TrainingDataError: there is no clip of it.
    """
    labels, read = {"RAVDESS": (RAVDESS_LABELS, _ravdess), "EMO-DB": (EMODB_LABELS, _emodb)}[name]
    found: dict[bytes, Clip] = {}
    for clip in filter(None, map(read, sorted(folder.rglob("*.wav"), key=lambda path: (path.name, path)))):
        # A recording that lies there twice could train in one fold and test in another.
        found.setdefault(hashlib.sha256(clip.path.read_bytes()).digest(), clip)
    if not found:
        raise TrainingDataError(
            f"{name}의 소리 파일이 없어요: {folder.name}", "--data로 자료 폴더를 알려 주세요."
        )
    return Collection(name, labels, tuple(found.values()))


def random_folds(count: int, folds: int, seed: int) -> Iterator[list[int]]:
    """The tests of a random cross-validation: every clip's number once, speakers mixed."""
    import numpy as np

    order = np.random.default_rng(seed).permutation(count)
    for part in np.array_split(order, folds):
        yield sorted(part.tolist())


def speaker_folds(clips: tuple[Clip, ...], folds: int) -> Iterator[list[int]]:
    """The tests of a speaker-independent cross-validation: neighbours by number are tested together.

    RAVDESS alternates between men and women, so four neighbours are two of each.
    """
    import numpy as np

    speakers = sorted({clip.speaker for clip in clips})
    for part in np.array_split(speakers, folds):
        yield [number for number, clip in enumerate(clips) if clip.speaker in part]


def _ravdess(path: Path) -> Clip | None:
    match = _RAVDESS_NAME.fullmatch(path.name)
    return Clip(path, int(match[2]), int(match[1]) - 1) if match else None


def _emodb(path: Path) -> Clip | None:
    match = _EMODB_NAME.fullmatch(path.name)
    return Clip(path, int(match[1]), EMODB_LABELS.index(_EMODB_LETTERS[match[2]])) if match else None
