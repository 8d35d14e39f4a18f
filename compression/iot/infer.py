"""Judges traffic by a device's profile: NumPy and ONNX Runtime only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compression.errors import ModelCorruptError
from compression.iot.export import INPUT
from compression.iot.features import Floats, Records
from compression.iot.profiles import Profile
from compression.iot.threshold import voted
from compression.runtime import session

_ROWS_AT_ONCE = 8192
_DRIVERS = 3

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Driver:
    """A feature and its share of a score, in [0, 1]."""

    feature: str
    share: float


@dataclass(frozen=True)
class SuspectWindow:
    """A stretch of records that together are an alarm.

    Attributes:
        start: time of the first record.
        end: time of the last record.
        records: how many there are.
        score: the highest score among them.
        drivers: the features that made the scores high, most first.
    """

    start: float
    end: float
    records: int
    score: float
    drivers: tuple[Driver, ...]


@dataclass(frozen=True)
class Findings:
    """What a profile says about records.

    Attributes:
        scores: float64 [records].
        above: bool [records], over the threshold.
        alarm: bool [records], as the vote of the last records.
        windows: the suspect windows, worst first.
    """

    scores: Doubles
    above: NDArray[np.bool_]
    alarm: NDArray[np.bool_]
    windows: tuple[SuspectWindow, ...]


class Detector:
    """A profile with its network loaded."""

    def __init__(self, profile: Profile, threads: int = 1) -> None:
        """Load the network.

        Args:
            profile: of the device.
            threads: one is the fastest for so small a network.

        Raises:
            ModelCorruptError: the network cannot be run, or does not fit the profile's features.
        """
        self.profile = profile
        self._session = session(profile.model, threads)
        self._sharpness = (1 / profile.spread).astype(np.float32)
        inputs, width = self._session.get_inputs(), len(profile.schema.features)
        if len(inputs) != 1 or inputs[0].name != INPUT or inputs[0].shape[1:] != [width]:
            raise ModelCorruptError(
                f"'{profile.name}' 프로필의 모델이 특징과 맞지 않아요.",
                "damso iot learn으로 다시 배워 주세요.",
            )

    def errors(self, values: Floats) -> Floats:
        """Squared reconstruction error of every feature, in units of what is normal for it.

        Args:
            values: float32 [records, features] as `Records` has them.

        Returns:
            float32 [records, features].
        """
        scaled = self.profile.scaler(values)
        parts = [
            np.square((self._session.run(None, {INPUT: part})[0] - part) * self._sharpness)
            for part in np.split(scaled, range(_ROWS_AT_ONCE, len(scaled), _ROWS_AT_ONCE))
        ]
        return np.concatenate(parts)

    def scores(self, values: Floats) -> Doubles:
        """How far each record is from normal: its mean of `errors`, about 1 for normal, float64 [records]."""
        scores: Doubles = self.errors(values).mean(axis=1, dtype=np.float64)
        return scores

    def examine(self, records: Records, worst: int = 5) -> Findings:
        """Score records, let them vote, and explain the worst stretches.

        Args:
            records: in the order of time.
            worst: suspect windows to give at most.
        """
        scores = self.scores(records.values)
        above = scores > self.profile.threshold
        alarm = voted(above, self.profile.vote)
        spans = sorted(_spans(alarm, self.profile.vote.window), key=lambda span: -scores[slice(*span)].max())
        windows = tuple(self._window(records, scores, above, span) for span in spans[:worst])
        return Findings(scores, above, alarm, windows)

    def drivers(self, values: Floats) -> tuple[Driver, ...]:
        """The features with the largest shares of the records' errors together, largest first."""
        shares = self.errors(values).mean(axis=0, dtype=np.float64)
        shares /= max(float(shares.sum()), 1e-12)
        largest = np.argsort(-shares, kind="stable")[:_DRIVERS]
        return tuple(
            Driver(self.profile.schema.features[i], float(shares[i])) for i in largest if shares[i] > 0
        )

    def _window(
        self, records: Records, scores: Doubles, above: NDArray[np.bool_], span: Sequence[int]
    ) -> SuspectWindow:
        start, stop = span
        odd = records.values[start:stop][above[start:stop]]
        first, last = float(records.times[start]), float(records.times[stop - 1])
        return SuspectWindow(first, last, stop - start, float(scores[start:stop].max()), self.drivers(odd))


def _spans(alarm: NDArray[np.bool_], window: int) -> list[tuple[int, int]]:
    """Runs of alarms as [start, stop), each reaching back to the first record that voted for it."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], alarm, [False]]).astype(np.int8)))
    return [(max(0, int(start) - window + 1), int(stop)) for start, stop in edges.reshape(-1, 2)]
