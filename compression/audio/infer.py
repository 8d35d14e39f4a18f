"""Recognises the emotion of recordings: NumPy and ONNX Runtime only."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compression.artefacts import model_folder
from compression.audio.features import RATE, SAMPLES, Floats, centred, mfcc
from compression.errors import ModelCorruptError
from compression.runtime import session

NAME = "speech-emotion"
MODEL_FILE, CONFIG_FILE = "model.onnx", "config.json"
INPUT = "mfcc"
HOP = SAMPLES // 2
"""Samples from the start of a window to the next: 2.3 seconds."""
_SILENT = 1e-3  # peak: −60 decibels of full scale
_CLIPPED, _MUCH_CLIPPED = 0.999, 0.005  # level, and the share of samples there that is much
_LEAST_NEW = RATE // 2  # samples that a last window must add to be heard

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Window:
    """What a stretch of a recording sounds like.

    Attributes:
        start: seconds from the beginning.
        end: seconds from the beginning.
        probabilities: calibrated, one an emotion; empty where there is silence.
        clipped: whether the recording was too loud here.
    """

    start: float
    end: float
    probabilities: tuple[float, ...]
    clipped: bool = False


@dataclass(frozen=True)
class Hearing:
    """What a whole recording sounds like.

    Attributes:
        labels: emotions in the order of the probabilities.
        seconds: the recording's length.
        windows: in the order of time.
        probabilities: mean over the windows with sound; empty when there is none.
    """

    labels: tuple[str, ...]
    seconds: float
    windows: tuple[Window, ...]
    probabilities: tuple[float, ...]


class Recogniser:
    """The embedded network with its calibration."""

    def __init__(
        self, model: Path | bytes, labels: Iterable[str], temperature: float, threshold: float
    ) -> None:
        """Load the network.

        Args:
            model: an ONNX file, ``mfcc`` float32 [clips, frames, 39] → logits [clips, labels].
            labels: emotions.
            temperature: that the logits are divided by, fitted on speakers who did not train the network.
            threshold: the probability under which an answer is not sure.

        Raises:
            ModelError: the network cannot be run, or does not fit the labels.
        """
        self.labels, self.temperature, self.threshold = tuple(labels), temperature, threshold
        self._session = session(model, 1)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        fits = [value.name for value in inputs] == [INPUT] and outputs[0].shape[1:] == [len(self.labels)]
        if not fits or not self.labels:
            raise ModelCorruptError("감정 모델이 설정과 맞지 않아요.", "저장소를 다시 받아 설치해 주세요.")

    @classmethod
    def load(cls, folder: Path | None = None) -> Recogniser:
        """The embedded model, or the one in a folder.

        Raises:
            ModelError: missing or damaged.
        """
        folder = folder or model_folder(NAME)
        try:
            values: dict[str, Any] = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
            labels = [str(label) for label in values["labels"]]
            numbers = (float(values["temperature"]), float(values["threshold"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelCorruptError(
                "감정 모델의 설정을 읽을 수 없어요.", "저장소를 다시 받아 설치해 주세요."
            ) from error
        return cls(folder / MODEL_FILE, labels, *numbers)

    def probabilities(self, samples: Floats) -> Doubles:
        """The emotions of one window: float32 [n] at 22,050 Hz → float64 [labels]."""
        cepstra = mfcc(centred(samples))[None]
        found: Doubles = calibrated(self._session.run(None, {INPUT: cepstra})[0], self.temperature)[0]
        return found

    def hear(self, blocks: Iterable[Floats]) -> Hearing:
        """Listen to a recording of any length, window by window, in the same memory.

        Args:
            blocks: its samples at 22,050 Hz, float32 [n] each.
        """
        windows = []
        for start, samples in windowed(blocks):
            windows.append(self._window(start, samples))
        heard = [window.probabilities for window in windows if window.probabilities]
        mean = np.mean(heard, axis=0).tolist() if heard else []
        return Hearing(self.labels, windows[-1].end if windows else 0.0, tuple(windows), tuple(mean))

    def _window(self, start: int, samples: Floats) -> Window:
        begin, end = start / RATE, (start + len(samples)) / RATE
        level = np.abs(samples)
        if level.max() < _SILENT:
            return Window(begin, end, ())
        clipped = bool((level >= _CLIPPED).mean() > _MUCH_CLIPPED)
        return Window(begin, end, tuple(self.probabilities(samples).tolist()), clipped)


def windowed(blocks: Iterable[Floats]) -> Iterator[tuple[int, Floats]]:
    """Half-overlapping windows of 100,000 samples, the last of which may be shorter.

    Args:
        blocks: samples, float32 [n] each.

    Yields:
        The first sample's number, and float32 [at most 100,000].
    """
    start, kept = 0, np.zeros(0, np.float32)
    for block in blocks:
        kept = np.concatenate([kept, block])
        while len(kept) >= SAMPLES:
            yield start, kept[:SAMPLES]
            start, kept = start + HOP, kept[HOP:]
    # What is left begins with the half that the window before has heard already.
    heard = SAMPLES - HOP if start else 0
    if len(kept) and (not start or len(kept) - heard >= _LEAST_NEW):
        yield start, kept


def calibrated(logits: Floats, temperature: float) -> Doubles:
    """Softmax of the logits over the temperature (Guo et al. 2017, arXiv:1706.04599): [n, labels] → float64."""
    scaled = logits.astype(np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float64)


def fit_temperature(logits: Floats, labels: NDArray[np.int64]) -> float:
    """The temperature with the highest likelihood.

    Args:
        logits: float32 [clips, labels] of clips that did not train the network.
        labels: int64 [clips].
    """
    tried = np.geomspace(0.2, 5, 200)
    rows = np.arange(len(labels))
    likelihoods = [np.log(np.maximum(calibrated(logits, t)[rows, labels], 1e-12)).mean() for t in tried]
    return float(tried[int(np.argmax(likelihoods))])


def calibration_error(probabilities: Doubles, labels: NDArray[np.int64], bins: int = 10) -> float:
    """Expected calibration error of the best emotion's probability, in equal-width bins."""
    best, right = probabilities.max(1), probabilities.argmax(1) == labels
    places = np.minimum((best * bins).astype(int), bins - 1)
    gaps = [abs(best[places == b].sum() - right[places == b].sum()) for b in range(bins)]
    return float(sum(gaps) / len(labels))
