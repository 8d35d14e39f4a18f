"""Damped-window statistics of traffic: the 115 features of N-BaIoT, packet by packet, in bounded memory.

Meidan et al. 2018 (arXiv:1805.03409) with the incremental statistics of Mirsky et al. 2018 (Kitsune, arXiv:1802.09089):
every stream keeps a weight, a sum and a sum of squares that halve every 1/λ seconds, for five λ at once, so that a
packet sees the last 0.2 seconds as well as the last 100.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
State = TypeVar("State")

LAMBDAS = np.array([5.0, 3.0, 1.0, 0.1, 0.01])
"""Decay rates in 1/s."""
_MOST_STREAMS = 20_000
_TINY = 1e-12


class Recent(Generic[State]):
    """The state of every stream by its key; beyond a limit the one longest unused goes.

    A scan opens thousands of streams a second, and a watch runs for weeks: without a limit memory would only grow.
    """

    def __init__(self, fresh: Callable[[], State], limit: int = _MOST_STREAMS) -> None:
        self._fresh, self._limit = fresh, limit
        self._states: OrderedDict[Hashable, State] = OrderedDict()

    def __getitem__(self, key: Hashable) -> State:
        """The key's state, made if need be."""
        if key in self._states:
            self._states.move_to_end(key)
            return self._states[key]
        if len(self._states) >= self._limit:
            self._states.popitem(last=False)
        return self._states.setdefault(key, self._fresh())

    def __len__(self) -> int:
        return len(self._states)


class Stream:
    """Weight, mean and variance of one stream's values, for every λ."""

    def __init__(self) -> None:
        self.sums = np.zeros((3, len(LAMBDAS)))
        self.time = -np.inf

    def decay(self, time: float) -> None:
        """Let the past fade up to ``time`` in seconds; a clock that runs backwards changes nothing."""
        if time > self.time:
            if np.isfinite(self.time):
                self.sums *= np.exp2(LAMBDAS * (self.time - time))
            self.time = time

    def add(self, value: float, time: float) -> None:
        """Take a value in that came at ``time``."""
        self.decay(time)
        self.sums += np.array([[1.0], [value], [value * value]])

    def moments(self) -> tuple[Doubles, Doubles, Doubles]:
        """Weight, mean and variance, float64 [λ] each."""
        weight, total, squares = self.sums
        mean = total / np.maximum(weight, _TINY)
        return weight, mean, np.abs(squares / np.maximum(weight, _TINY) - mean * mean)


class Channel:
    """Two streams that answer each other: there and back between two hosts or two sockets."""

    def __init__(self) -> None:
        self._streams = (Stream(), Stream())
        self._products = Stream()
        self._last = [np.zeros(len(LAMBDAS)), np.zeros(len(LAMBDAS))]

    def add(self, back: bool, value: float, time: float) -> list[Doubles]:
        """Take a value in; gives [weight, mean, variance, magnitude, radius, covariance, correlation], [λ] each."""
        mine, other = self._streams[back], self._streams[not back]
        mine.add(value, time)
        other.decay(time)
        weight, mean, variance = mine.moments()
        other_weight, other_mean, other_variance = other.moments()
        self._last[back] = value - mean
        self._products.decay(time)
        self._products.sums[1] += self._last[back] * self._last[not back]
        covariance = self._products.sums[1] / np.maximum(weight + other_weight, _TINY)
        deviations = np.sqrt(variance * other_variance)
        correlation = np.where(deviations > _TINY, covariance / np.maximum(deviations, _TINY), 0.0)
        magnitude = np.sqrt(mean * mean + other_mean * other_mean)
        radius = np.sqrt(variance * variance + other_variance * other_variance)
        return [weight, mean, variance, magnitude, radius, covariance, np.clip(correlation, -1, 1)]


class Gaps:
    """The seconds between one packet of a stream and the next."""

    def __init__(self) -> None:
        self._stream = Stream()

    def add(self, time: float) -> list[Doubles]:
        """Take a packet in; gives weight, mean and variance, [λ] each. The first packet has gap 0."""
        before = self._stream.time
        self._stream.add(max(0.0, time - before) if np.isfinite(before) else 0.0, time)
        return list(self._stream.moments())


_ONE = ("weight", "mean", "variance")
_TWO = (*_ONE, "magnitude", "radius", "covariance", "correlation")
_GROUPS = {"MI": _ONE, "H": _ONE, "HH": _TWO, "HH_jit": _ONE, "HpHp": _TWO}
DAMPED_FEATURES = [
    f"{group}_L{rate:g}_{name}" for group, names in _GROUPS.items() for name in names for rate in LAMBDAS
]
"""MI: source MAC and address; H: source address; HH: pair of addresses; HpHp: pair of sockets; L: λ."""


class DampedStatistics:
    """The statistics of all streams that a packet belongs to, in the order of `DAMPED_FEATURES`."""

    def __init__(self) -> None:
        self._senders: Recent[Stream] = Recent(Stream)
        self._hosts: Recent[Stream] = Recent(Stream)
        self._pairs: Recent[Channel] = Recent(Channel)
        self._gaps: Recent[Gaps] = Recent(Gaps)
        self._sockets: Recent[Channel] = Recent(Channel)

    def add(
        self, time: float, size: float, mac: bytes, source: bytes, target: bytes, ports: tuple[int, int]
    ) -> Doubles:
        """Take a packet in.

        Args:
            time: in seconds.
            size: in bytes.
            mac: of the sender.
            source: address of the sender.
            target: address of the receiver.
            ports: of the sender and of the receiver.

        Returns:
            float64 [115].
        """
        sender, host = self._senders[mac, source], self._hosts[source]
        sender.add(size, time)
        host.add(size, time)
        back = source > target
        pair = self._pairs[(target, source) if back else (source, target)]
        here, there = (source, ports[0]), (target, ports[1])
        answer = here > there
        sockets = self._sockets[(there, here) if answer else (here, there)]
        parts = [
            *sender.moments(),
            *host.moments(),
            *pair.add(back, size, time),
            *self._gaps[source, target].add(time),
            *sockets.add(answer, size, time),
        ]
        return np.concatenate(parts)
