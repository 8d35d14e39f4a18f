"""Variants of training clips: some are computed once with the features, the others are drawn for every batch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from compression.audio.features import SAMPLES, Floats, centred, mfcc

SPEEDS = (1.0, 0.92, 1.08)
"""Speeds of the stored variants. Pitch and formants move with the tempo: about what another speaker changes."""
_NOISE_DB = 25.0  # below the clip's own level
_MOST_SHIFT = 12  # frames
_MASKS, _LONGEST_MASK, _MOST_COEFFICIENTS = 2, 20, 4


def variants(samples: Floats, seed: int) -> Floats:
    """The cepstra of a clip as it is, and of the clip at other speeds with a little noise.

    Args:
        samples: float32 [n], the whole clip.
        seed: of the noise.

    Returns:
        float32 [len(SPEEDS), 196, 39].
    """
    chooser = np.random.default_rng(seed)
    given = [mfcc(centred(samples))]
    for speed in SPEEDS[1:]:
        clip = centred(_resampled(samples, speed), SAMPLES)
        level = np.sqrt(np.mean(np.square(samples))) * 10 ** (-_NOISE_DB / 20)
        given.append(mfcc(clip + level * chooser.standard_normal(len(clip), np.float32)))
    return np.stack(given)


def drawn(features: Floats, numbers: NDArray[np.int64], chooser: np.random.Generator) -> Floats:
    """A batch of training clips: a variant of each, moved along time, with stretches and coefficients masked.

    SpecAugment (Park et al. 2019, arXiv:1904.08779) on cepstra, whose mean over the training clips is zero.

    Args:
        features: float32 [clips, variants, 196, 39], standardised.
        numbers: which clips.
        chooser: draws.

    Returns:
        float32 [len(numbers), 196, 39].
    """
    batch = features[numbers, chooser.integers(0, features.shape[1], len(numbers))]
    for clip in batch:
        clip[:] = np.roll(clip, chooser.integers(-_MOST_SHIFT, _MOST_SHIFT + 1), axis=0)
        for _ in range(_MASKS):
            length = chooser.integers(0, _LONGEST_MASK + 1)
            start = chooser.integers(0, len(clip) - length + 1)
            clip[start : start + length] = 0
        masked = chooser.integers(0, _MOST_COEFFICIENTS + 1)
        clip[:, chooser.choice(clip.shape[1], masked, replace=False)] = 0
    return batch


def _resampled(samples: Floats, speed: float) -> Floats:
    """Linear interpolation is enough: what it folds lies far below the speech."""
    places = np.arange(0, len(samples) - 1, speed)
    return np.asarray(np.interp(places, np.arange(len(samples)), samples), np.float32)
