"""Trains the autoencoder on normal records, makes it small step by step, and fits the threshold afterwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from compression.iot.export import rounded, stored, to_onnx
from compression.iot.model import Autoencoder, Floats
from compression.methods.pruning import (
    cubic_sparsity,
    magnitude_masks,
    remove_units,
    strongest,
    unit_influence,
    widths_for,
)

Progress = Callable[[], None]

SIZE_BAR = 0.0795
"""Bytes of the stored int8 network as a share of the float one, stored alike: a little under the 8 % promised."""
SPARSITY = 0.8
_MOST_SPARSITY = 0.95
_BOTTLENECK = 8  # units that even the narrowest layer keeps
_FOREIGN = 0.1  # share of a mixed record's features that are another's


@dataclass(frozen=True)
class Recipe:
    """How a network is trained and pruned.

    Attributes:
        rate: Adam's first rate; it falls to zero along a line.
        batch: records a step.
        epochs: epochs at most.
        patience: epochs without a better validation loss before training stops.
        least_steps: steps of an epoch at least: few records are seen more than once.
        most_steps: steps of an epoch at most, so that a large collection does not take forever.
        prune_steps: steps of the cubic schedule.
        tune_rate: Adam's first rate after a pruning step; higher, because what is left has to find a new balance.
        tune_epochs: epochs after each pruning step but the last.
        last_epochs: epochs at most after the last pruning step, and again with rounded weights.
        seed: of the start and of the order.
    """

    rate: float = 1e-3
    batch: int = 256
    epochs: int = 60
    patience: int = 30
    least_steps: int = 50
    most_steps: int = 400
    prune_steps: int = 6
    tune_rate: float = 3e-3
    tune_epochs: int = 15
    last_epochs: int = 200
    seed: int = 0


def train(
    training: Floats, validation: Floats, recipe: Recipe, progress: Progress = lambda: None
) -> Autoencoder:
    """Train the full network on normal records.

    Args:
        training: float32 [records, features], standardised.
        validation: the same, of normal records apart.
        recipe: sizes and rates.
        progress: called after every epoch.
    """
    fresh = Autoencoder.fresh(training.shape[1], seed=recipe.seed)
    return _fit(fresh, training, validation, recipe, progress)


def prune_weights(
    network: Autoencoder,
    training: Floats,
    validation: Floats,
    recipe: Recipe,
    progress: Progress = lambda: None,
) -> Autoencoder:
    """Drop the smallest weights down to `SPARSITY` on the cubic schedule, tuning after each step; the shapes stay.

    Args:
        network: trained.
        training: float32 [records, features], standardised normal records.
        validation: the same, apart.
        recipe: rates and steps.
        progress: called after every epoch.
    """
    teacher = network
    for step in range(1, recipe.prune_steps + 1):
        masks = magnitude_masks(network.weights, cubic_sparsity(step, recipe.prune_steps, SPARSITY))
        network = replace(network, weights=tuple(w * m for w, m in zip(network.weights, masks, strict=True)))
        network = _fit(network, training, validation, _tuning(recipe, step), progress, teacher, masks)
    return network


def prune_units(
    network: Autoencoder,
    training: Floats,
    validation: Floats,
    recipe: Recipe,
    progress: Progress = lambda: None,
) -> Autoencoder:
    """Take whole hidden units away on the cubic schedule, tuning after each step: a smaller dense network is left.

    Args:
        network: trained.
        training: float32 [records, features], standardised normal records.
        validation: the same, apart.
        recipe: rates and steps.
        progress: called after every epoch.
    """
    teacher, wide = network, network.widths
    sparsity = compact_sparsity(wide)
    for step in range(1, recipe.prune_steps + 1):
        widths = widths_for(wide, cubic_sparsity(step, recipe.prune_steps, sparsity), _BOTTLENECK)
        network = narrowed(network, widths, validation)
        network = _fit(network, training, validation, _tuning(recipe, step), progress, teacher)
    return network


def tune_for_int8(
    network: Autoencoder, teacher: Autoencoder, training: Floats, validation: Floats, recipe: Recipe,
    progress: Progress = lambda: None,
) -> Autoencoder:  # fmt: skip
    """Let a pruned network get used to its rounded weights.

    Normal records are rebuilt so closely that the error of rounding to int8 is as large as the reconstruction's own.
    The rounded network answers, and its gradient moves the weights behind it (Jacob et al. 2018, arXiv:1712.05877).

    Args:
        network: pruned.
        teacher: the full network.
        training: float32 [records, features], standardised normal records.
        validation: the same, apart.
        recipe: rates and steps.
        progress: called after every epoch.

    Returns:
        The network whose rounding is best; exporting it at 8 bits rounds it the same way.
    """
    last = _tuning(recipe, recipe.prune_steps)
    return _fit(network, training, validation, last, progress, teacher, as_exported=rounded)


def compact_sparsity(widths: Sequence[int]) -> float:
    """The share of weights to prune: `SPARSITY`, or as much more as the int8 file needs to be within `SIZE_BAR`.

    Scales, biases and the graph itself do not shrink with the weights, so a network of few features loses more.

    Args:
        widths: of the float network.
    """
    allowed = SIZE_BAR * _stored_bytes(widths, 32)
    sparsity = SPARSITY
    while sparsity < _MOST_SPARSITY and _stored_bytes(widths_for(widths, sparsity, _BOTTLENECK), 8) > allowed:
        sparsity += 0.005
    return sparsity


def _stored_bytes(widths: Sequence[int], bits: int) -> int:
    """The size of a network of these widths: random weights and biases deflate like trained ones."""
    fresh, chooser = Autoencoder.fresh(widths[0], widths[1:-1]), np.random.default_rng(0)
    biases = tuple(chooser.standard_normal(bias.shape, np.float32) for bias in fresh.biases)
    return len(stored(to_onnx(replace(fresh, biases=biases), bits)))


def narrowed(network: Autoencoder, widths: Sequence[int], calibration: Floats) -> Autoencoder:
    """Keep the hidden units that matter most.

    Args:
        network: with at least ``widths`` units in every layer.
        widths: units to keep, of the input, of every hidden layer and of the output.
        calibration: float32 [records, features], standardised normal records.
    """
    weights, biases = list(network.weights), list(network.biases)
    activations = network.activations(calibration)
    for layer, width in enumerate(widths[1:-1]):
        seen, following = activations[layer + 1], layer + 1
        kept = strongest(unit_influence(seen, weights[following]), width)
        weights[layer], biases[layer], weights[following], biases[following] = remove_units(
            weights[layer], biases[layer], weights[following], biases[following], seen.mean(axis=0), kept
        )
    return Autoencoder(tuple(weights), tuple(biases))


def _tuning(recipe: Recipe, step: int) -> Recipe:
    last = step == recipe.prune_steps
    return replace(recipe, rate=recipe.tune_rate, epochs=recipe.last_epochs if last else recipe.tune_epochs)


def mixed(records: Floats, chooser: np.random.Generator) -> Floats:
    """Records some of whose features are another record's: what odd traffic may look like.

    Args:
        records: float32 [records, features].
        chooser: draws which features, and from whom.
    """
    foreign = np.take_along_axis(records, chooser.integers(0, len(records), records.shape), axis=0)
    return np.where(chooser.random(records.shape, np.float32) < _FOREIGN, foreign, records)


def _fit(
    network: Autoencoder, training: Floats, validation: Floats, recipe: Recipe, progress: Progress,
    teacher: Autoencoder | None = None, masks: Sequence[Floats] = (),
    as_exported: Callable[[Autoencoder], Autoencoder] = lambda network: network,
) -> Autoencoder:  # fmt: skip
    """Train until the validation loss has stopped falling; gives the best network seen.

    Without a teacher the network learns to rebuild normal records. With one it learns to answer as the teacher does,
    on mixed records too: a pruned network that only rebuilds normal records may be wrong about odd ones in any way,
    and how wrong it is about those is the score.
    """
    chooser = np.random.default_rng(recipe.seed)
    validation = validation if teacher is None else mixed(validation, chooser)
    goal = validation if teacher is None else teacher.reconstruct(validation)
    network, best, best_loss, worse = network.copy(), network, np.inf, 0
    optimiser = _Adam()
    steps = min(max(-(-len(training) // recipe.batch), recipe.least_steps), recipe.most_steps)
    for epoch in range(recipe.epochs):
        rounds = -(-steps * recipe.batch // len(training))
        order = np.concatenate([chooser.permutation(len(training)) for _ in range(rounds)])
        for step in range(steps):
            shown = training[order[step * recipe.batch : (step + 1) * recipe.batch]]
            shown = shown if teacher is None else mixed(shown, chooser)
            wanted = shown if teacher is None else teacher.reconstruct(shown)
            _, by_weights, by_biases = as_exported(network).loss_and_gradients(shown, wanted)
            rate = recipe.rate * (1 - (epoch + step / steps) / recipe.epochs)
            optimiser.step([*network.weights, *network.biases], by_weights + by_biases, rate)
            for weight, mask in zip(network.weights, masks, strict=False):
                weight *= mask
        progress()
        loss = float(np.mean(np.square(as_exported(network).reconstruct(validation) - goal)))
        if loss < best_loss:
            best, best_loss, worse = network.copy(), loss, 0
        elif (worse := worse + 1) >= recipe.patience:
            break
    return best


class _Adam:
    """Adam (Kingma & Ba 2015, arXiv:1412.6980) on a list of arrays, in place."""

    def __init__(self) -> None:
        self._step = 0
        self._moments: list[tuple[Floats, Floats]] = []

    def step(self, values: Sequence[Floats], gradients: Sequence[Floats], rate: float) -> None:
        self._moments = self._moments or [(np.zeros_like(value), np.zeros_like(value)) for value in values]
        self._step += 1
        rate *= (1 - 0.999**self._step) ** 0.5 / (1 - 0.9**self._step)
        for value, gradient, (mean, square) in zip(values, gradients, self._moments, strict=True):
            mean += np.float32(0.1) * (gradient - mean)
            square += np.float32(0.001) * (gradient * gradient - square)
            value -= np.float32(rate) * mean / (np.sqrt(square) + np.float32(1e-8))
