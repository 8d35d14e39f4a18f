"""Enlarges pictures sharply. Files of people are read with care: sizes are checked before a pixel is decoded."""

from __future__ import annotations

import re
import uuid
import warnings
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from agents.slots.numbers import quantities
from assistant.errors import DiskFullError, PictureError, ToolArgumentError
from assistant.events import ToolResult
from assistant.tools.registry import Registry

if TYPE_CHECKING:
    from PIL import Image

    from compression.vision.super_resolution.resize import Pixels

Progress = Callable[[float], None]

MOST_PIXELS = 100_000_000
"""Of a result: what 4 bytes a pixel, a few times over, leave of a small computer's memory."""
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
_FORMAT_NAMES = "PNG, JPEG, WebP, BMP, TIFF, GIF"
_NO_FILE = "크게 만들 사진을 붙여서 다시 말씀해 주세요."
_NOTE_DEEP = "16비트 사진이라 8비트로 바꾸어 키웠어요."
_NOTE_INKS = "인쇄용(CMYK) 사진이라 화면용(RGB)으로 바꾸어 키웠어요."
_FAST = re.compile(r"빨리|빠르게|후딱|얼른|급해|급하")
_QUALITY, _LONGEST_JPEG = 95, 65_500  # of a JPEG result, and its sides in pixels
_VIEW = (640, 480)  # of each half of the comparison, in pixels
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, TypeError, IndexError, KeyError, AttributeError, OverflowError,
    zlib.error, ArithmeticError, MemoryError)  # fmt: skip
"""What Pillow raises on damaged files."""


@dataclass(frozen=True)
class Picture:
    """A decoded picture, upright.

    Attributes:
        pixels: uint8 [height, width, 3], or [height, width, 1] of a grey one.
        alpha: uint8 [height, width, 1], or None where every pixel is opaque.
        photograph: whether the file was a JPEG, which its result becomes too.
        profile: the ICC profile that its colours are in; None stands for sRGB.
        notes: Korean sentences on what was changed in reading.
    """

    pixels: Pixels
    alpha: Pixels | None
    photograph: bool
    profile: bytes | None
    notes: tuple[str, ...]


class Vision:
    """What pictures can have done to them; results go to one data folder."""

    def __init__(self, folder: Path) -> None:
        """Name the person's data folder."""
        self._folder = folder

    def upscale_image(
        self, image: Path, scale: Literal[2, 3, 4] = 2, speed: Literal["quality", "fast"] = "quality"
    ) -> ToolResult:
        """사진을 선명하게 키워요.

        Args:
            image: 키울 사진 파일.
            scale: 가로와 세로를 몇 배로 키울지: 2, 3, 4.
            speed: quality는 더 선명하게, fast는 더 빠르게.

        Raises:
            PictureError: the file is no picture that can be enlarged.
            DiskFullError: the result cannot be written; nothing of it is left.
        """
        results = self._folder / "results"
        picture = read(image, scale)
        large = enlarge(picture, scale, speed)
        target = results / f"{uuid.uuid4().hex}{suffix(picture, large)}"
        comparison = results / f"{uuid.uuid4().hex}.png"
        write(picture, large, scale, target)
        try:
            _saved(_comparison(picture, large, scale), comparison, {})
        except DiskFullError:
            target.unlink(missing_ok=True)
            raise
        (height, width), (high, wide) = picture.pixels.shape[:2], large.shape[:2]
        text = (
            f"{width:,}×{height:,} 사진을 {scale}배로 키워 {wide:,}×{high:,}이 되었어요. "
            "견준 그림은 왼쪽이 그냥 늘린 것, 오른쪽이 키운 결과예요."
        )
        return ToolResult("upscale_image", " ".join([text, *picture.notes]), (str(comparison), str(target)))

    def slots(self, text: str, now: datetime) -> Mapping[str, Any]:
        """``scale`` from 두 배, 4배, x4 …, and ``speed`` from 빨리.

        Raises:
            ToolArgumentError: another factor than 2, 3 and 4.
        """
        found: dict[str, Any] = {}
        factors = [item.value for item in quantities(text) if item.unit == "배"]
        factors += [float(number) for number in re.findall(r"(?<!\d)[x×]\s?(\d+)(?!\d)", text, re.IGNORECASE)]
        if factors:
            if factors[0] not in (2, 3, 4):
                raise ToolArgumentError(
                    f"사진은 {factors[0]:g}배로는 키울 수 없어요.", "2, 3, 4배 가운데 골라 주세요."
                )
            found["scale"] = int(factors[0])
        if _FAST.search(text):
            found["speed"] = "fast"
        return found


def register(registry: Registry, vision: Vision) -> None:
    """Make the functions on pictures tools."""
    registry.add(vision.upscale_image, vision.slots, {"image": _NO_FILE})


def read(file: Path, scale: int) -> Picture:
    """A picture file, upright, in 8 bits, grey or RGB.

    Args:
        file: of any name; its content decides what it is.
        scale: by which it is to be enlarged; the result's size is limited.

    Raises:
        PictureError: no picture, a damaged or a moving one, or too large.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    too_large = Image.DecompressionBombError, Image.DecompressionBombWarning
    try:
        with warnings.catch_warnings():
            # Pillow warns of sizes that are refused here anyway, and of tags that it leaves out.
            warnings.simplefilter("ignore")
            with Image.open(file, formats=_FORMATS) as image:
                _check(image, file.name, scale)
                image.load()
                ImageOps.exif_transpose(image, in_place=True)
                return _decoded(image, file.name)
    except too_large as error:
        raise _too_large(file.name) from error
    except UnidentifiedImageError as error:
        raise PictureError(
            f"{file.name}은(는) 읽을 수 있는 사진 파일이 아니에요.", f"{_FORMAT_NAMES} 파일을 주세요."
        ) from error
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise PictureError(f"파일을 열 수 없어요: {file.name}", "경로와 권한을 확인해 주세요.") from error
    except _BROKEN as error:
        raise PictureError(
            f"{file.name}은(는) 손상되었거나 중간에 끊긴 사진이에요.", "원본을 다시 받아서 시도해 주세요."
        ) from error


def enlarge(
    picture: Picture, scale: int, speed: str = "quality", progress: Progress = lambda _: None
) -> Pixels:
    """The picture's pixels, ``scale`` times as many on each side.

    Args:
        picture: to enlarge.
        scale: 2, 3 or 4; three times is four times, shrunk.
        speed: ``quality`` or ``fast``.
        progress: is told the share that is done.

    Raises:
        ModelError: the embedded network is missing or damaged.
    """
    from assistant.settings import Settings
    from compression.vision.super_resolution.infer import SCALES, Speed, Upscaler

    factor = scale if scale in SCALES else max(SCALES)
    large = Upscaler.load(factor, Speed(speed), Settings.load().threads)(picture.pixels, progress)
    height, width = picture.pixels.shape[:2]
    return large if factor == scale else _resized(large, width * scale, height * scale)


def suffix(picture: Picture, large: Pixels) -> str:
    """The ending of a result's name: a JPEG stays one, unless it has become longer than a JPEG can be."""
    return ".jpg" if picture.photograph and max(large.shape) <= _LONGEST_JPEG else ".png"


def write(picture: Picture, large: Pixels, scale: int, target: Path) -> None:
    """Write the enlarged picture with its transparency and colour profile, whole or not at all.

    Args:
        picture: what it was made from.
        large: its pixels.
        scale: by how much.
        target: ending in .png or .jpg.

    Raises:
        PictureError: another ending.
        DiskFullError: it cannot be written.
    """
    from PIL import Image

    if target.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise PictureError(f"{target.name}에는 쓸 수 없어요.", "이름을 .png나 .jpg로 끝내 주세요.")
    jpeg = target.suffix.lower() != ".png"
    image = _image(large)
    if picture.alpha is not None and not jpeg:
        alpha = _resized(picture.alpha, large.shape[1], large.shape[0])
        image.putalpha(Image.fromarray(alpha[:, :, 0]))
    options: dict[str, Any] = {"icc_profile": picture.profile} if picture.profile else {}
    # Level 1 of PNG is three times as fast as the default and a tenth larger.
    options |= {"quality": _QUALITY, "subsampling": 0} if jpeg else {"compress_level": 1}
    _saved(image, target, options)


def _check(image: Image.Image, name: str, scale: int) -> None:
    width, height = image.size
    if width * height * scale * scale > MOST_PIXELS:
        raise _too_large(name, width, height, scale)
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise PictureError(
            f"{name}은(는) 여러 장면이 든 그림이라 키울 수 없어요.",
            "키우고 싶은 한 장면을 따로 저장해서 주세요.",
        )


def _too_large(name: str, width: int = 0, height: int = 0, scale: int = 2) -> PictureError:
    size = f" ({width:,}×{height:,})" if width else ""
    side = int((MOST_PIXELS / scale**2) ** 0.5)
    return PictureError(
        f"{name}은(는) {scale}배로 키우기에 너무 커요{size}.",
        f"{side:,}×{side:,}쯤까지 {scale}배로 키울 수 있어요. 사진을 줄이거나 배수를 낮춰 주세요.",
    )


def _decoded(image: Image.Image, name: str) -> Picture:
    import numpy as np

    photograph, profile = image.format in ("JPEG", "MPO"), image.info.get("icc_profile")
    if image.mode == "F":
        raise PictureError(f"{name}의 화소 형식(소수)은 읽을 수 없어요.", "8비트나 16비트로 저장해서 주세요.")
    if image.mode.startswith("I"):
        deep = np.asarray(image).astype(np.int64)
        grey = np.clip((deep + 128) // 257, 0, 255).astype(np.uint8)
        return Picture(grey[:, :, None], None, False, None, (_NOTE_DEEP,))
    alpha, grey_mode = None, image.mode in ("1", "L", "LA", "La")
    notes: tuple[str, ...] = ()
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = np.asarray(image.getchannel("A"))[:, :, None]
    if image.mode == "CMYK":
        # The profile is of the inks, which are no longer there.
        profile, notes = None, (_NOTE_INKS,)
    pixels = np.asarray(image.convert("L" if grey_mode else "RGB"))
    return Picture(pixels[:, :, None] if grey_mode else pixels, alpha, photograph, profile, notes)


def _comparison(picture: Picture, large: Pixels, scale: int) -> Image.Image:
    """The part with most detail, enlarged plainly on the left and by the network on the right."""
    from PIL import Image

    top, left, height, width = _liveliest(picture.pixels, scale)
    before = _resized(picture.pixels[top : top + height, left : left + width], width * scale, height * scale)
    after = large[top * scale : (top + height) * scale, left * scale : (left + width) * scale]
    gap = 4
    joined = Image.new("RGB", (2 * width * scale + gap, height * scale), "white")
    joined.paste(_image(before), (0, 0))
    joined.paste(_image(after), (width * scale + gap, 0))
    return joined


def _liveliest(pixels: Pixels, scale: int) -> tuple[int, int, int, int]:
    """Top, left, height and width of the window in which neighbouring pixels differ most."""
    import numpy as np

    height, width = (
        min(length, most // scale) for length, most in zip(pixels.shape[:2], _VIEW[::-1], strict=True)
    )
    best, place = -1.0, (0, 0)
    for top in _starts(pixels.shape[0], height):
        for left in _starts(pixels.shape[1], width):
            window = pixels[top : top + height, left : left + width, 0].astype(np.float32)
            change = float(np.abs(np.diff(window, axis=0)).sum() + np.abs(np.diff(window, axis=1)).sum())
            best, place = max((best, place), (change, (top, left)))
    return *place, height, width


def _starts(length: int, side: int) -> list[int]:
    return sorted({min(start, length - side) for start in range(0, length, max(1, side))})


def _resized(pixels: Pixels, width: int, height: int) -> Pixels:
    """Bicubic, antialiased when shrinking."""
    import numpy as np
    from PIL import Image

    image = _image(pixels).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(image).reshape(height, width, pixels.shape[2])


def _image(pixels: Pixels) -> Image.Image:
    from PIL import Image

    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def _saved(image: Image.Image, target: Path, options: Mapping[str, Any]) -> None:
    """A temporary file takes the name when it is complete."""
    partial = target.with_name(f"{target.name}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        image.save(partial, format="PNG" if target.suffix.lower() == ".png" else "JPEG", **options)
        partial.replace(target)
    except OSError as error:
        raise DiskFullError(
            f"결과 사진을 쓰지 못했어요: {target.name}", "디스크 공간과 폴더 권한을 확인해 주세요."
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
