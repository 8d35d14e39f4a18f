"""Chooses the next token from the last position's logits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assistant.errors import SettingsError

Floats = NDArray[np.float32]
Constrain = Callable[[list[int], Floats], None]
"""Changes the logits [vocab] in place, given the tokens generated so far; banned tokens get -inf."""


@dataclass(frozen=True)
class GenerationOptions:
    """How an answer is generated.

    Attributes:
        max_tokens: most tokens to generate.
        temperature: 0 is greedy.
        top_p: smallest probability mass to sample from (Holtzman et al. 2020), in (0, 1].
        repetition_penalty: divides positive and multiplies negative logits of generated tokens (Keskar et al.
            2019); 1 is none. The prompt is not penalised, because a grounded answer copies from it.
        stop: the text ends before the first of these strings.
        seed: makes sampling repeatable; None draws a fresh one.

    Raises:
        SettingsError: a value that cannot work.
    """

    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None

    def __post_init__(self) -> None:
        # Written so that NaN fails too.
        _require(self.max_tokens >= 1, "max_tokens는 1 이상이어야 해요.")
        _require(0 <= self.temperature < np.inf, "temperature는 0 이상이어야 해요.")
        _require(0 < self.top_p <= 1, "top_p는 0보다 크고 1 이하여야 해요.")
        _require(0 < self.repetition_penalty < np.inf, "repetition_penalty는 0보다 커야 해요.")
        _require(self.seed is None or self.seed >= 0, "seed는 0 이상이어야 해요.")


class Sampler:
    """Chooses the tokens of one answer."""

    def __init__(self, options: GenerationOptions, constrain: Constrain | None = None) -> None:
        """Start an answer.

        Args:
            options: temperature, top-p, repetition penalty and seed.
            constrain: called with the tokens so far and the logits, which it may change, before each choice.
        """
        self._options = options
        self._constrain = constrain
        self._random = np.random.default_rng(options.seed)

    def choose(self, logits: Floats, generated: list[int]) -> int:
        """The next token.

        Args:
            logits: float32 [vocab]; changed in place.
            generated: tokens of this answer so far.

        Returns:
            Its id.
        """
        if self._options.repetition_penalty != 1 and generated:
            self._penalise(logits, generated)
        if self._constrain is not None:
            self._constrain(generated, logits)
        if self._options.temperature == 0:
            return int(logits.argmax())
        return self._sample(logits)

    def _penalise(self, logits: Floats, generated: list[int]) -> None:
        seen = np.unique(generated)
        penalty = np.float32(self._options.repetition_penalty)
        logits[seen] = np.where(logits[seen] > 0, logits[seen] / penalty, logits[seen] * penalty)

    def _sample(self, logits: Floats) -> int:
        # Subtracting the maximum first keeps tiny temperatures from overflowing.
        scaled = (logits.astype(np.float64) - logits.max()) / self._options.temperature
        probabilities = np.exp(scaled)
        probabilities /= probabilities.sum()
        if self._options.top_p < 1:
            probabilities = _nucleus(probabilities, self._options.top_p)
        return int(self._random.choice(len(probabilities), p=probabilities))


def _nucleus(probabilities: NDArray[np.float64], top_p: float) -> NDArray[np.float64]:
    """Zero all but the most probable tokens whose mass first reaches ``top_p``; renormalised."""
    order = np.argsort(-probabilities, kind="stable")
    mass_before = np.cumsum(probabilities[order]) - probabilities[order]
    kept = np.where(mass_before < top_p, probabilities[order], 0)
    kept[0] = probabilities[order[0]]
    nucleus = np.empty_like(probabilities)
    nucleus[order] = kept / kept.sum()
    return nucleus


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise SettingsError(message)
