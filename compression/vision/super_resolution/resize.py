"""Bicubic resizing exactly as MATLAB's ``imresize``: the low resolution of every published comparison.

Other libraries' bicubic differs: no antialiasing when shrinking, another cubic (a = −0.75), other edges. Half a decibel
hangs on it, so the function is written out (Keys 1981, a = −0.5; the kernel is stretched when shrinking; edges mirror).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Pixels = NDArray[np.uint8]

_SUPPORT = 4  # samples under a cubic that is not stretched


def bicubic(image: Floats, scale: float) -> Floats:
    """Resize a picture by a factor, rows first.

    Args:
        image: float [height, width, channels] of any range.
        scale: > 1 enlarges, < 1 shrinks; the new sides are ``ceil(side · scale)``.

    Returns:
        The same dtype, [new height, new width, channels]; the cubic overshoots, so values may leave the range.
    """
    return _along_columns(_along_rows(image, scale), scale)


def bicubic_pixels(image: Pixels, scale: float) -> Pixels:
    """The same for 8-bit pixels, uint8 [height, width, channels], rounded once at the end."""
    return to_pixels(bicubic(image.astype(np.float64), scale))


def to_pixels(values: Floats) -> Pixels:
    """Values in 0–255 rounded and clipped to uint8; halves go up, as in MATLAB."""
    pixels: Pixels = np.clip(np.floor(values + 0.5), 0, 255).astype(np.uint8)
    return pixels


def mod_crop(image: Pixels, scale: int) -> Pixels:
    """The picture without the last rows and columns that are no multiple of the scale."""
    height, width = image.shape[:2]
    return image[: height - height % scale, : width - width % scale]


def _along_rows(image: Floats, scale: float) -> Floats:
    indices, weights = _contributions(image.shape[0], scale)
    weights = weights.astype(image.dtype)
    result = np.zeros((len(indices), *image.shape[1:]), image.dtype)
    for tap in range(indices.shape[1]):
        result += image[indices[:, tap]] * weights[:, tap, None, None]
    return result


def _along_columns(image: Floats, scale: float) -> Floats:
    turned = _along_rows(np.ascontiguousarray(image.transpose(1, 0, 2)), scale)
    return np.ascontiguousarray(turned.transpose(1, 0, 2))


@lru_cache(maxsize=64)
def _contributions(length: int, scale: float) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """For every new sample the old ones it is made of, [new, taps], and their weights."""
    stretch = min(scale, 1.0)
    support = _SUPPORT / stretch
    centres = np.arange(1, int(np.ceil(length * scale)) + 1) / scale + 0.5 * (1 - 1 / scale)
    taps = np.floor(centres - support / 2)[:, None] + np.arange(int(np.ceil(support)) + 2)
    weights = stretch * _cubic(stretch * (centres[:, None] - taps))
    weights /= weights.sum(axis=1, keepdims=True)
    mirror = np.concatenate([np.arange(length), np.arange(length)[::-1]])
    indices = mirror[(taps.astype(np.intp) - 1) % len(mirror)]
    used = weights.any(axis=0)
    return indices[:, used], weights[:, used]


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    x = np.abs(x)
    inner = 1.5 * x**3 - 2.5 * x**2 + 1
    outer = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, inner, np.where(x <= 2, outer, 0.0))
