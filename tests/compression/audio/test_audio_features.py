from __future__ import annotations

import numpy as np
import pytest

from compression.audio.features import (
    COEFFICIENTS,
    FRAMES,
    RATE,
    SAMPLES,
    Floats,
    centred,
    mel_filters,
    mfcc,
)  # fmt: skip


def chirp() -> Floats:
    """A rising tone that fades, with noise, and nothing at all in between."""
    n = np.arange(30_000)
    tone = 0.4 * np.sin(2 * np.pi * (200 * n / RATE + 900 * (n / RATE) ** 2)) * np.exp(-n / 12_000)
    samples = (tone + 0.01 * np.random.default_rng(5).standard_normal(30_000)).astype(np.float32)
    samples[20_000:24_000] = 0
    return samples


# librosa 0.11.0: feature.mfcc(y=chirp(), sr=22050, n_mfcc=39, n_fft=2048, hop_length=512)
FRAMES_KEPT, COEFFICIENTS_KEPT = [0, 17, 42, 58], [0, 1, 2, 5, 12, 25, 38]
REFERENCE = [
    [-205.602, 97.385, 70.117, 23.688, -11.687, 0.003, 0.829],
    [-222.936, 20.268, -4.508, -15.269, -19.884, -10.752, -1.697],
    [-575.468, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    [-246.097, -0.625, -6.745, -17.641, -7.063, -1.723, 0.94],
]


def test_the_cepstrum_is_the_one_that_librosa_computes() -> None:
    found = mfcc(chirp())
    assert found.shape == (59, COEFFICIENTS) and found.dtype == np.float32
    np.testing.assert_allclose(found[FRAMES_KEPT][:, COEFFICIENTS_KEPT], REFERENCE, atol=0.01)


def test_the_cepstrum_equals_librosas_where_it_is_installed() -> None:
    librosa = pytest.importorskip("librosa", exc_type=ImportError)
    wanted = librosa.feature.mfcc(y=chirp(), sr=RATE, n_mfcc=39, n_fft=2048, hop_length=512).T
    np.testing.assert_allclose(mfcc(chirp()), wanted, atol=0.01)
    np.testing.assert_allclose(mel_filters(), librosa.filters.mel(sr=RATE, n_fft=2048), atol=1e-6)


def test_a_window_has_the_papers_shape() -> None:
    assert mfcc(np.zeros(SAMPLES, np.float32)).shape == (FRAMES, COEFFICIENTS) == (196, 39)


def test_silence_and_nothing_are_finite() -> None:
    assert np.isfinite(mfcc(np.zeros(5_000, np.float32))).all()
    assert np.isfinite(mfcc(np.zeros(0, np.float32))).all()


@pytest.mark.parametrize("length", [0, 1, SAMPLES - 1, SAMPLES, SAMPLES + 1, 3 * SAMPLES])
def test_a_clip_is_centred(length: int) -> None:
    samples = np.arange(1, length + 1, dtype=np.float32)
    found = centred(samples)
    assert len(found) == SAMPLES
    if length >= SAMPLES:
        assert found[0] == samples[(length - SAMPLES) // 2]
    else:
        np.testing.assert_array_equal(found[found > 0], samples)
        assert abs(int((np.cumsum(found) == 0).sum()) - int((np.cumsum(found[::-1]) == 0).sum())) <= 1
