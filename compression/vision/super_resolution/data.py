"""Pictures for training, validation and test: ``DIR/train``, ``DIR/validation``, ``DIR/test/<set>``.

Folders are searched to the bottom. The low resolution is made here, with `resize.bicubic_pixels`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from compression.errors import TrainingDataError
from compression.vision.super_resolution.resize import (
    Floats,
    Pixels,
    bicubic,
    bicubic_pixels,
    mod_crop,
    to_pixels,
)

TEST_SETS = ("Set5", "Set14", "B100", "Urban100", "Manga109")
LEAKS = frozenset({"302003.png", "3316926_opo25u.png"})
"""Training pictures that equal one of Set5 and one of the validation pictures."""
_SUFFIXES = frozenset({".png", ".bmp", ".jpg", ".jpeg", ".webp", ".tif", ".tiff"})


@dataclass(frozen=True)
class Pair:
    """A picture, uint8 [height, width, channels], and its low resolution, a ``scale``-th of each side."""

    low: Pixels
    high: Pixels


class Patches:
    """Random patches of the training pictures; the same seed and step give the same batch."""

    def __init__(self, pictures: Sequence[Pixels], scale: int, side: int, seed: int = 0) -> None:
        """Make the low resolutions.

        Args:
            pictures: uint8 [height, width, 3] each.
            scale: factor of enlargement.
            side: of a patch of the low resolution, in pixels.
            seed: of the choice.

        Raises:
            TrainingDataError: no picture is large enough for a patch.
        """
        large = [picture for picture in pictures if min(picture.shape[:2]) >= side * scale]
        if not large:
            raise TrainingDataError(
                "학습할 사진이 없거나 모두 너무 작아요.", "폴더의 train에 사진 파일을 넣어 주세요."
            )
        self._pairs = [
            pair(picture, scale) for picture in tqdm(large, desc=f"×{scale}", unit="장", leave=False)
        ]
        areas = np.array([item.low.shape[0] * item.low.shape[1] for item in self._pairs], np.float64)
        self._shares = areas / areas.sum()
        self._scale, self._side, self._seed = scale, side, seed

    def batch(self, step: int, size: int) -> tuple[Floats, Floats]:
        """Patches for one step.

        Returns:
            float32 [size, 3, side, side] and [size, 3, side · scale, side · scale] in [0, 1], flipped and turned at
            random, the same way in both.
        """
        chooser = np.random.default_rng((self._seed, step))
        chosen = [self._patch(chooser) for _ in range(size)]
        low, high = (np.stack([one[part] for one in chosen]) for part in (0, 1))
        return low.astype(np.float32) / 255, high.astype(np.float32) / 255

    def _patch(self, chooser: np.random.Generator) -> tuple[Pixels, Pixels]:
        pair = self._pairs[chooser.choice(len(self._pairs), p=self._shares)]
        side, scale = self._side, self._scale
        top, left = (int(chooser.integers(0, length - side + 1)) for length in pair.low.shape[:2])
        low = pair.low[top : top + side, left : left + side]
        high = pair.high[top * scale : (top + side) * scale, left * scale : (left + side) * scale]
        turns, flip = int(chooser.integers(4)), bool(chooser.integers(2))
        return _turned(low, turns, flip), _turned(high, turns, flip)


def pair(picture: Pixels, scale: int) -> Pair:
    """A picture and its low resolution, after cutting it to a multiple of the scale."""
    high = mod_crop(picture, scale)
    # Single precision is twice as fast; a rounding in a thousand may differ by one level.
    low = to_pixels(bicubic(high.astype(np.float32), 1 / scale))
    return Pair(low, high)


def exact_pair(picture: Pixels, scale: int) -> Pair:
    """The same in double precision, as published comparisons need it."""
    high = mod_crop(picture, scale)
    return Pair(bicubic_pixels(high, 1 / scale), high)


def read_training(data: Path, most: int | None = None) -> list[Pixels]:
    """All pictures below ``train`` in colour, without the `LEAKS`; at most so many, evenly chosen.

    Raises:
        TrainingDataError: there are none, or one cannot be read.
    """
    files = [file for file in _pictures(data / "train") if file.name not in LEAKS]
    return [
        np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image
        for image in map(read_picture, _spread(files, most))
    ]


def read_validation(data: Path, most: int | None = None, side: int | None = None) -> list[Pixels]:
    """Pictures below ``validation``, their middle ``side`` × ``side`` pixels if that is given.

    Raises:
        TrainingDataError: there are none, or one cannot be read.
    """
    pictures = map(read_picture, _spread(_pictures(data / "validation"), most))
    return [picture if side is None else _middle(picture, side) for picture in pictures]


def test_files(data: Path) -> dict[str, list[Path]]:
    """The pictures of every test set that is at hand."""
    folders = {name: data / "test" / name for name in TEST_SETS}
    return {name: _pictures(folder) for name, folder in folders.items() if folder.is_dir()}


def read_picture(file: Path) -> Pixels:
    """uint8 [height, width, 3], or [height, width, 1] of a grey picture.

    Raises:
        TrainingDataError: it cannot be read.
    """
    try:
        with Image.open(file) as image:
            grey = image.mode in ("1", "L", "I", "I;16", "F")
            pixels = np.asarray(image.convert("L" if grey else "RGB"))
    except (OSError, UnidentifiedImageError, ValueError, Image.DecompressionBombError) as error:
        raise TrainingDataError(f"사진을 읽지 못했어요: {file.name}", "파일을 다시 받아 주세요.") from error
    return pixels[:, :, None] if grey else pixels


def _pictures(folder: Path) -> list[Path]:
    found = sorted(file for file in folder.rglob("*") if file.suffix.lower() in _SUFFIXES)
    if not found:
        raise TrainingDataError(
            f"사진 폴더가 비었거나 없어요: {folder.name}",
            "--data 폴더 아래에 train, validation, test/Set5 … 폴더를 두고 사진을 넣어 주세요.",
        )
    return found


def _spread(files: Sequence[Path], most: int | None) -> list[Path]:
    if most is None or len(files) <= most:
        return list(files)
    return [files[round(place)] for place in np.linspace(0, len(files) - 1, most)]


def _middle(picture: Pixels, side: int) -> Pixels:
    top, left = (max(0, (length - side) // 2) for length in picture.shape[:2])
    return picture[top : top + side, left : left + side]


def _turned(patch: Pixels, turns: int, flip: bool) -> Pixels:
    patch = np.rot90(patch, turns)
    return np.ascontiguousarray((patch[:, ::-1] if flip else patch).transpose(2, 0, 1))
