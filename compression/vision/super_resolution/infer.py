"""Enlarges pictures tile by tile: NumPy and ONNX Runtime only."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np

from compression.artefacts import model_folder
from compression.errors import ModelCorruptError
from compression.runtime import session
from compression.vision.super_resolution.resize import Pixels

INPUT, OUTPUT = "low", "high"
MODEL, CONFIG = "super-resolution", "config.json"
SCALES = (2, 4)
_TILE = 224  # pixels of the input, a side


class Speed(StrEnum):
    """Which network enlarges: the better one, or one of half the depth, in a third of the time."""

    quality = "quality"
    fast = "fast"


@dataclass(frozen=True)
class Tile:
    """A rectangle of the input and its surroundings, as (start, stop) of rows and columns."""

    rows: tuple[int, int]
    columns: tuple[int, int]
    seen_rows: tuple[int, int]
    seen_columns: tuple[int, int]


class Upscaler:
    """A network that enlarges by its factor."""

    def __init__(self, model: Path | bytes, scale: int, radius: int, threads: int | None = None) -> None:
        """Load the network.

        Args:
            model: an ONNX file, or its bytes, as `export.to_onnx` writes it.
            scale: its factor.
            radius: how far, in pixels of the input, a pixel of the result looks.
            threads: of the runtime; all physical cores by default.

        Raises:
            ModelMissingError: there is no such file.
            ModelCorruptError: it is no such network.
        """
        self.scale, self._radius = scale, radius
        self._session = session(model, threads)
        names = [item.name for item in (*self._session.get_inputs(), *self._session.get_outputs())]
        if names != [INPUT, OUTPUT]:
            raise ModelCorruptError("사진을 키우는 모델이 아니에요.", "저장소를 다시 받아 설치해 주세요.")

    @classmethod
    def load(cls, scale: int, speed: Speed = Speed.quality, threads: int | None = None) -> Upscaler:
        """The embedded network.

        Args:
            scale: one of `SCALES`.
            speed: which of the two.
            threads: of the runtime.

        Raises:
            ModelError: it is missing or damaged.
        """
        folder = model_folder(MODEL)
        try:
            described = json.loads((folder / CONFIG).read_text(encoding="utf-8"))[speed.value][str(scale)]
            radius = int(described["radius"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelCorruptError(
                f"{MODEL}의 {CONFIG}을 읽을 수 없어요.", "저장소를 다시 받아 주세요."
            ) from error
        return cls(folder / file_name(speed, scale), scale, radius, threads)

    def __call__(self, image: Pixels, progress: Callable[[float], None] = lambda _: None) -> Pixels:
        """Enlarge a picture.

        A tile sees as far beyond its edges as the network looks, so that the result has no seams and is the one that
        the whole picture at once would give; memory stays that of one tile beside the two pictures.

        Args:
            image: uint8 [height, width, 3]; or [height, width, 1], of which the grey of the result is the mean.
            progress: is told the share that is done, in [0, 1]; it may raise to stop.

        Returns:
            uint8 [height · scale, width · scale, channels].
        """
        height, width, channels = image.shape
        scale = self.scale
        result = np.empty((height * scale, width * scale, channels), np.uint8)
        tiles = list(cut(height, width, self._radius))
        for number, tile in enumerate(tiles, 1):
            seen = image[slice(*tile.seen_rows), slice(*tile.seen_columns)]
            large = self._run(seen)
            top, left = (
                (tile.rows[0] - tile.seen_rows[0]) * scale,
                (tile.columns[0] - tile.seen_columns[0]) * scale,
            )
            target = result[
                tile.rows[0] * scale : tile.rows[1] * scale, tile.columns[0] * scale : tile.columns[1] * scale
            ]
            target[:] = large[top : top + target.shape[0], left : left + target.shape[1]]
            progress(number / len(tiles))
        return result

    def _run(self, image: Pixels) -> Pixels:
        colour = image if image.shape[2] == 3 else np.repeat(image, 3, axis=2)
        large: Pixels = self._session.run(None, {INPUT: np.ascontiguousarray(colour[None])})[0][0]
        if image.shape[2] == 3:
            return large
        grey: Pixels = np.floor(large.mean(axis=2, keepdims=True, dtype=np.float32) + 0.5).astype(np.uint8)
        return grey


def cut(height: int, width: int, radius: int, side: int = _TILE) -> Iterator[Tile]:
    """Tiles that cover a picture once, each with what lies within ``radius`` of it."""
    for top in range(0, height, side):
        for left in range(0, width, side):
            rows, columns = (top, min(top + side, height)), (left, min(left + side, width))
            yield Tile(rows, columns, _widened(rows, radius, height), _widened(columns, radius, width))


def file_name(speed: Speed, scale: int) -> str:
    """The file of an embedded network."""
    return f"{speed.value}-x{scale}.onnx"


def _widened(span: tuple[int, int], radius: int, length: int) -> tuple[int, int]:
    return max(0, span[0] - radius), min(length, span[1] + radius)
