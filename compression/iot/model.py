"""The autoencoder n-64-32-16-32-64-n and its gradient, in NumPy.

The network is tiny, so plain arrays train it in seconds, and a person's own machine can learn a device with what
serving already has: no deep-learning library.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

HIDDEN = (64, 32, 16, 32, 64)


@dataclass(frozen=True)
class Autoencoder:
    """A multilayer perceptron with ReLU between its layers.

    Attributes:
        weights: float32 [in, out] a layer.
        biases: float32 [out] a layer.
    """

    weights: tuple[Floats, ...]
    biases: tuple[Floats, ...]

    @classmethod
    def fresh(cls, features: int, hidden: Sequence[int] = HIDDEN, seed: int = 0) -> Autoencoder:
        """Random weights (He et al. 2015) and biases of zero for ``features`` inputs."""
        chooser = np.random.default_rng(seed)
        widths = [features, *hidden, features]
        shapes = list(zip(widths[:-1], widths[1:], strict=True))
        weights = [
            chooser.standard_normal(shape, np.float32) * np.float32((2 / shape[0]) ** 0.5) for shape in shapes
        ]
        return cls(tuple(weights), tuple(np.zeros(shape[1], np.float32) for shape in shapes))

    def copy(self) -> Autoencoder:
        """The same network in arrays of its own."""
        return Autoencoder(tuple(w.copy() for w in self.weights), tuple(b.copy() for b in self.biases))

    @property
    def widths(self) -> list[int]:
        """Units of the input, of every hidden layer and of the output."""
        return [self.weights[0].shape[0], *(len(bias) for bias in self.biases)]

    def activations(self, records: Floats) -> list[Floats]:
        """What enters each layer, then the reconstruction: float32 [records, width] for every width."""
        entering = [records]
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True), 1):
            sums = entering[-1] @ weight + bias
            entering.append(sums if number == len(self.weights) else np.maximum(sums, 0))
        return entering

    def reconstruct(self, records: Floats) -> Floats:
        """float32 [records, features] → the same shape."""
        return self.activations(records)[-1]

    def loss_and_gradients(self, records: Floats, wanted: Floats) -> tuple[float, list[Floats], list[Floats]]:
        """Mean squared error of the reconstructions and its gradients.

        Args:
            records: float32 [records, features], what the network is shown.
            wanted: the same shape, what it should give: the records themselves, or a teacher's reconstructions.

        Returns:
            The loss, the gradient of every weight and of every bias.
        """
        entering = self.activations(records)
        error = entering[-1] - wanted
        downstream = error * np.float32(2 / error.size)
        weights: list[Floats] = []
        biases: list[Floats] = []
        for weight, inputs in zip(self.weights[::-1], entering[-2::-1], strict=True):
            weights.append(inputs.T @ downstream)
            biases.append(downstream.sum(axis=0))
            downstream = (downstream @ weight.T) * (inputs > 0)
        return float(np.mean(np.square(error))), weights[::-1], biases[::-1]
