"""A small adapter on the frozen sentence vector, one for each agent.

A residual bottleneck (Houlsby et al. 2019, arXiv:1902.00751) bends the vector to the agent's distinctions,
and a linear head scores its intents and ``none``, the class of all that is not for this agent. Adapters share
no weight, so adding an agent changes no other agent's scores.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from compression.errors import ModelCorruptError, ModelMissingError

Array = NDArray[Any]


@dataclass(frozen=True)
class Adapter:
    """Weights of one agent's adapter, all float32.

    Attributes:
        down: [rank, inputs], into the bottleneck.
        bias: [rank].
        up: [inputs, rank], back to the input's size; zero before training.
        head: [intents + 1, inputs]; the last row is ``none``.
        offset: [intents + 1].
    """

    down: Array
    bias: Array
    up: Array
    head: Array
    offset: Array

    @classmethod
    def fresh(cls, inputs: int, intents: int, rank: int, seed: int = 0) -> Adapter:
        """An untrained adapter that passes its input through and scores everything alike."""
        down = np.random.default_rng(seed).normal(0, inputs**-0.5, (rank, inputs)).astype(np.float32)
        zeros = [
            np.zeros(shape, np.float32)
            for shape in ((rank,), (inputs, rank), (intents + 1, inputs), (intents + 1,))
        ]
        return cls(down, *zeros)

    def logits(self, inputs: Array) -> Array:
        """Score inputs.

        Args:
            inputs: float32 [n, inputs].

        Returns:
            float32 [n, intents + 1], the last column for ``none``.
        """
        bottleneck = np.maximum(inputs @ self.down.T + self.bias, 0)
        scores: Array = inputs @ self.head.T + bottleneck @ (self.head @ self.up).T + self.offset
        return scores

    def save(self, path: Path) -> None:
        """Write the weights as safetensors."""
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(self.tensors(), path)

    def tensors(self) -> dict[str, Array]:
        """The weights by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def load(cls, path: Path) -> Adapter:
        """Read the weights.

        Raises:
            ModelMissingError: there is no such file.
            ModelCorruptError: it is damaged, or its tensors do not fit together.
        """
        if not path.is_file():
            raise ModelMissingError(
                f"어댑터 파일 {path.name}이(가) 없습니다.", "models 폴더를 다시 받아 주세요."
            )
        try:
            tensors = load_file(path)
            adapter = cls(**tensors)
            adapter.logits(np.zeros((1, adapter.down.shape[1]), np.float32))
        except (SafetensorError, TypeError, ValueError, IndexError) as error:
            message = f"어댑터 파일 {path.name}이(가) 손상되었습니다."
            raise ModelCorruptError(message, "models 폴더를 다시 받아 주세요.") from error
        return adapter


def log_odds(logits: Array) -> Array:
    """How much likelier the message is the agent's than not: log Σ exp(intents) − none; float32 [n]."""
    intents = logits[:, :-1]
    highest = intents.max(axis=1, keepdims=True)
    odds: Array = highest[:, 0] + np.log(np.exp(intents - highest).sum(axis=1)) - logits[:, -1]
    return odds


def softmax(logits: Array) -> Array:
    """Probabilities along the last axis."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities: Array = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return probabilities
