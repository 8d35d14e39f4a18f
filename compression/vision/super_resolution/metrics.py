"""PSNR and SSIM as super-resolution papers report them: on luma, without the border, after rounding to 8 bits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from compression.vision.super_resolution.resize import Pixels

Luma = NDArray[np.float64]

_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def luma(image: Pixels) -> Luma:
    """Y of BT.601 in 16–235, rounded as MATLAB's ``rgb2ycbcr`` does for 8 bits; a grey picture stays as it is.

    Args:
        image: uint8 [height, width, 3 or 1].

    Returns:
        float64 [height, width].
    """
    if image.shape[2] == 1:
        return image[:, :, 0].astype(np.float64)
    weights = np.array([65.481, 128.553, 24.966]) / 255
    return np.floor(image.astype(np.float64) @ weights + 16.5)


def shaved(image: Luma, border: int) -> Luma:
    """The picture without ``border`` pixels on each side."""
    return image[border:-border, border:-border]


def psnr(found: Luma, truth: Luma) -> float:
    """Peak signal-to-noise ratio in dB for a peak of 255; infinite for equal pictures."""
    error = float(np.mean(np.square(found - truth)))
    return float("inf") if not error else 10 * float(np.log10(255**2 / error))


def ssim(found: Luma, truth: Luma) -> float:
    """Structural similarity (Wang et al. 2004): Gaussian window of 11 with σ 1.5, only where it fits whole."""
    a, b = found.astype(np.float32), truth.astype(np.float32)
    mean_a, mean_b = _blurred(a), _blurred(b)
    product, squares = mean_a * mean_b, mean_a * mean_a + mean_b * mean_b
    # Only the sum of the two variances is needed.
    variances = _blurred(a * a + b * b) - squares
    covariance = _blurred(a * b) - product
    similarity = (2 * product + _C1) * (2 * covariance + _C2) / ((squares + _C1) * (variances + _C2))
    return float(similarity.mean(dtype=np.float64))


def _blurred(image: NDArray[np.float32]) -> NDArray[np.float32]:
    taps = np.exp(-((np.arange(_WINDOW) - _WINDOW // 2) ** 2) / (2 * _SIGMA**2))
    taps = (taps / taps.sum()).astype(np.float32)
    height, width = image.shape[0] - _WINDOW + 1, image.shape[1] - _WINDOW + 1
    rows = sum(tap * image[at : at + height] for at, tap in enumerate(taps))
    blurred: NDArray[np.float32] = sum(tap * rows[:, at : at + width] for at, tap in enumerate(taps))
    return blurred
