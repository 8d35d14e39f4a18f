"""Trains an adapter with Adam in NumPy: seconds on one core, so that people can add agents of their own."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from agents.adapter import Adapter, Array, softmax

Gradients = dict[str, Array]


@dataclass(frozen=True)
class AdapterRecipe:
    """How an adapter is trained.

    Attributes:
        rank: width of the bottleneck.
        epochs: passes over the lines.
        batch: lines a step.
        learning_rate: Adam's peak rate, falling to zero along a line.
        decay: decoupled weight decay (Loshchilov & Hutter 2019).
        smoothing: share of the target spread over all classes.
        dropout: share of the inputs hidden in a step, so that no single word decides.
        seed: of the start and of the order.
    """

    rank: int = 8
    epochs: int = 12
    batch: int = 256
    learning_rate: float = 5e-3
    decay: float = 0.5
    smoothing: float = 0.05
    dropout: float = 0.5
    seed: int = 0


def train_adapter(
    inputs: Array, allowed: NDArray[np.bool_], weights: Array, recipe: AdapterRecipe
) -> Adapter:
    """Train one agent's adapter.

    Args:
        inputs: float32 [n, inputs].
        allowed: [n, intents + 1]; the classes a line may have. A line of the agent's without a known intent
            allows all intents; a line for others allows only ``none``.
        weights: float32 [n], each line's weight in the loss.
        recipe: sizes and rates.
    """
    adapter = Adapter.fresh(inputs.shape[1], allowed.shape[1] - 1, recipe.rank, recipe.seed)
    optimiser = _Adam(recipe, steps=recipe.epochs * -(-len(inputs) // recipe.batch))
    chooser = np.random.default_rng(recipe.seed)
    for _ in range(recipe.epochs):
        order = chooser.permutation(len(inputs))
        for start in range(0, len(order), recipe.batch):
            chosen = order[start : start + recipe.batch]
            shown = inputs[chosen]
            shown *= chooser.integers(0, 256, shown.shape, np.uint8) >= 256 * recipe.dropout
            shown /= np.float32(1 - recipe.dropout)
            _, gradients = loss_and_gradients(
                adapter, shown, allowed[chosen], weights[chosen], recipe.smoothing
            )
            adapter = optimiser.step(adapter, gradients)
    return adapter


def loss_and_gradients(
    adapter: Adapter, inputs: Array, allowed: NDArray[np.bool_], weights: Array, smoothing: float
) -> tuple[float, Gradients]:
    """Weighted mean of −log p(allowed classes), smoothed, and its gradient by every weight of the adapter.

    The target of a line with several allowed classes is the model's own distribution among them, as the
    gradient of the marginal likelihood asks.
    """
    raw = inputs @ adapter.down.T + adapter.bias
    bottleneck = np.maximum(raw, 0)
    # The bent input is never formed: it is as wide as the input, and everything passes through the bottleneck.
    through = adapter.head @ adapter.up
    logits = inputs @ adapter.head.T + bottleneck @ through.T + adapter.offset
    probabilities = softmax(logits)
    masked = np.where(allowed, probabilities, 0)
    likelihood = np.maximum(masked.sum(axis=1, keepdims=True), 1e-12)
    target = (1 - smoothing) * masked / likelihood + smoothing / allowed.shape[1]
    share = (weights / weights.sum())[:, None]
    smooth = -np.log(np.maximum(probabilities, 1e-12)).mean(axis=1)
    loss = float((share[:, 0] * (-(1 - smoothing) * np.log(likelihood[:, 0]) + smoothing * smooth)).sum())
    by_logits = share * (probabilities - target)
    by_raw = (by_logits @ through) * (raw > 0)
    by_through = by_logits.T @ bottleneck
    return loss, {
        "down": by_raw.T @ inputs,
        "bias": by_raw.sum(axis=0),
        "up": adapter.head.T @ by_through,
        "head": by_logits.T @ inputs + by_through @ adapter.up.T,
        "offset": by_logits.sum(axis=0),
    }


class _Adam:
    """Adam (Kingma & Ba 2015, arXiv:1412.6980) with decoupled weight decay and a linear schedule."""

    def __init__(self, recipe: AdapterRecipe, steps: int) -> None:
        self._recipe = recipe
        self._steps = steps
        self._step = 0
        self._means: Gradients = {}
        self._squares: Gradients = {}

    def step(self, adapter: Adapter, gradients: Gradients) -> Adapter:
        rate = self._recipe.learning_rate * (1 - self._step / self._steps)
        self._step += 1
        return replace(
            adapter, **{name: self._moved(adapter, name, gradients[name], rate) for name in gradients}
        )

    def _moved(self, adapter: Adapter, name: str, gradient: Array, rate: float) -> Array:
        mean = self._means[name] = 0.9 * self._means.get(name, np.zeros_like(gradient)) + 0.1 * gradient
        square = self._squares[name] = (
            0.999 * self._squares.get(name, np.zeros_like(gradient)) + 0.001 * gradient**2
        )
        direction = mean / (1 - 0.9**self._step) / (np.sqrt(square / (1 - 0.999**self._step)) + 1e-8)
        weight: Array = getattr(adapter, name)
        moved: Array = (weight - rate * (direction + self._recipe.decay * weight)).astype(np.float32)
        return moved


def fit_temperature(scores: Array, labels: NDArray[np.int64]) -> float:
    """The temperature that makes softmax(scores / temperature) likeliest on held-out lines (Guo et al. 2017).

    Args:
        scores: float32 [n, classes].
        labels: int64 [n].
    """
    candidates = np.geomspace(0.2, 5, 60)
    rows = np.arange(len(labels))
    losses = [-np.log(softmax(scores / t)[rows, labels] + 1e-9).mean() for t in candidates]
    return float(candidates[int(np.argmin(losses))])
