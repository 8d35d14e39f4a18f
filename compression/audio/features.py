"""Mel-frequency cepstral coefficients in NumPy, as librosa 0.11 computes them by default.

Serving needs nothing else, and training sees exactly the numbers that serving computes.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

RATE = 22_050
"""Samples a second."""
SAMPLES = 100_000
"""Samples of a window: 4.5 seconds."""
COEFFICIENTS = 39
FFT, HOP, MELS = 2048, 512, 128
FRAMES = 1 + SAMPLES // HOP

_LEAST_POWER = 1e-10
_DYNAMIC_RANGE_DB = 80.0
# Slaney's mel scale (Auditory Toolbox, 1998): linear below 1 kHz, logarithmic above.
_LINEAR_HZ, _BREAK_HZ, _LOG_STEP = 200 / 3, 1000.0, np.log(6.4) / 27


def centred(samples: Floats, length: int = SAMPLES) -> Floats:
    """The middle of a clip, or the clip with equal silence on both sides.

    Args:
        samples: float32 [n].
        length: samples to give.
    """
    if len(samples) >= length:
        start = (len(samples) - length) // 2
        return samples[start : start + length]
    before = (length - len(samples)) // 2
    return np.pad(samples, (before, length - len(samples) - before))


def mfcc(samples: Floats) -> Floats:
    """The cepstrum of a clip.

    Hann windows of 2,048 samples every 512, centred, zeros beyond the ends; power; 128 Slaney mel bands; decibels with
    a range of 80; orthonormal DCT-II.

    Args:
        samples: float32 [n] at 22,050 Hz in [−1, 1].

    Returns:
        float32 [1 + n // 512, 39].
    """
    padded = np.pad(samples.astype(np.float32, copy=False), FFT // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, FFT)[::HOP]
    spectrum = np.fft.rfft(frames * _hann(), axis=1)
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    bands = np.maximum(power @ mel_filters().T, _LEAST_POWER)
    decibels = 10 * np.log10(bands)
    decibels = np.maximum(decibels, decibels.max(initial=-np.inf) - _DYNAMIC_RANGE_DB)
    return np.asarray(decibels @ _cosines().T, np.float32)


@cache
def mel_filters() -> Floats:
    """Triangles of equal area on Slaney's mel scale: float32 [128, 1025]."""
    bins = np.fft.rfftfreq(FFT, 1 / RATE)
    edges = _mel_to_hz(np.linspace(0, _hz_to_mel(RATE / 2), MELS + 2))
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    triangles = np.maximum(0, np.minimum(rising, falling))
    return np.asarray(triangles * (2 / (edges[2:] - edges[:-2]))[:, None], np.float32)


def _hz_to_mel(hz: float) -> float:
    if hz < _BREAK_HZ:
        return hz / _LINEAR_HZ
    return float(_BREAK_HZ / _LINEAR_HZ + np.log(hz / _BREAK_HZ) / _LOG_STEP)


def _mel_to_hz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    knee = _BREAK_HZ / _LINEAR_HZ
    return np.where(mels < knee, mels * _LINEAR_HZ, _BREAK_HZ * np.exp(_LOG_STEP * (mels - knee)))


@cache
def _hann() -> Floats:
    return np.asarray(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FFT) / FFT), np.float32)


@cache
def _cosines() -> Floats:
    """The first rows of the orthonormal DCT-II: float32 [39, 128]."""
    band = np.arange(MELS) + 0.5
    rows = np.cos(np.pi * np.arange(COEFFICIENTS)[:, None] * band / MELS) * (2 / MELS) ** 0.5
    rows[0] /= 2**0.5
    return np.asarray(rows, np.float32)
