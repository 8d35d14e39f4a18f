"""Trains a network on the clips of a fold by a fixed schedule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from compression.audio.augmentation import drawn
from compression.audio.features import Floats
from compression.audio.model import CompactNet, Reversal, RoutingConvNet

Progress = Callable[[], None]
Integers = NDArray[np.int64]

_BETAS = (0.975, 0.932)
_MSE_SHARE = 0.392
_WARM_UP = 0.15
_LEAST_DEVIATION = 1e-3


class Loss(StrEnum):
    """What training lowers."""

    margin = "margin"
    cross_entropy = "cross_entropy"


class Variant(StrEnum):
    """Which network."""

    routing = "routing"
    routing_coefficients = "routing-coefficients"
    compact = "compact"


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: always for the same number of epochs, whatever a validation would say.

    Attributes:
        epochs: over the training clips.
        batch: clips a step.
        rate: the highest rate of Adam; it rises along a line and falls along a cosine.
        loss: margin loss with .392 mean squared error as the paper has it, or cross-entropy.
        smoothing: of the labels, for the cross-entropy.
        augment: whether clips are varied.
        mixup: parameter of the Beta distribution that mixes two clips (Zhang et al. 2018, arXiv:1710.09412);
            0 mixes none.
        decay: decoupled weight decay.
        betas: Adam's.
        bfloat16: whether convolutions compute in it, which halves the time of the large network.
        seed: of the start, the order and the augmentation.
    """

    epochs: int
    batch: int = 32
    rate: float = 1e-3
    loss: Loss = Loss.margin
    smoothing: float = 0.0
    augment: bool = True
    mixup: float = 0.0
    decay: float = 0.0
    betas: tuple[float, float] = _BETAS
    bfloat16: bool = True
    seed: int = 0


ROUTING = Recipe(epochs=300, rate=3e-3)
"""The paper's loss, batch, moments and epochs; its rate of 1e-3 does not change, ours is a cycle."""
COMPACT = Recipe(
    50,
    rate=4e-3,
    loss=Loss.cross_entropy,
    smoothing=0.1,
    mixup=0.2,
    decay=0.02,
    betas=(0.9, 0.98),
    bfloat16=False,
)


@dataclass(frozen=True)
class Scaling:
    """Mean and deviation of every coefficient over training clips: float32 [39] each."""

    mean: Floats
    deviation: Floats

    @classmethod
    def of(cls, features: Floats) -> Scaling:
        """What float32 [clips, 196, 39] shows."""
        deviation = np.maximum(features.std((0, 1)), _LEAST_DEVIATION)
        return cls(features.mean((0, 1)), deviation)

    def __call__(self, features: Floats) -> Floats:
        """Standardised, the same shape."""
        return (features - self.mean) / self.deviation


@dataclass(frozen=True)
class Trained:
    """A network after its last epoch, and how the test went after each.

    Attributes:
        network: in evaluation mode.
        scaling: of its input.
        logits: float32 [tested clips, classes] after the last epoch.
        curve: accuracy on the test after every epoch; only the paper's protocol may look at its maximum.
    """

    network: nn.Module
    scaling: Scaling
    logits: Floats
    curve: tuple[float, ...]


def build(variant: Variant, classes: int) -> nn.Module:
    """A fresh network."""
    reversal = Reversal.coefficients if variant is Variant.routing_coefficients else Reversal.time
    network = CompactNet(classes) if variant is Variant.compact else RoutingConvNet(classes, reversal)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def train(
    variant: Variant, features: Floats, labels: Integers, classes: int, training: Integers, test: Integers,
    recipe: Recipe, progress: Progress = lambda: None,
) -> Trained:  # fmt: skip
    """Train on some clips and watch others.

    Args:
        variant: of the network.
        features: float32 [clips, variants, 196, 39]; the first variant is the clip itself.
        labels: int64 [clips].
        classes: how many there are.
        training: numbers of the clips to train on.
        test: numbers of the clips to test on; may be empty.
        recipe: the schedule.
        progress: called after every epoch.
    """
    torch.manual_seed(recipe.seed)
    chooser = np.random.default_rng(recipe.seed)
    scaling = Scaling.of(features[training, 0])
    shown, watched = scaling(features[training]), scaling(features[test, 0])
    network = build(variant, classes)
    batch = min(recipe.batch, len(training))
    steps = len(training) // batch
    optimiser = torch.optim.AdamW(network.parameters(), recipe.rate, recipe.betas, weight_decay=recipe.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.rate, steps * recipe.epochs, pct_start=_WARM_UP, cycle_momentum=False
    )
    curve = []
    for _ in range(recipe.epochs):
        network.train()
        order = chooser.permutation(len(training))
        for step in range(steps):
            numbers = order[step * batch : (step + 1) * batch]
            clips, wanted = _batch(shown, labels[training], numbers, classes, recipe, chooser)
            with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bfloat16):
                logits = network(clips)
            optimiser.zero_grad(set_to_none=True)
            _loss(logits.float(), wanted, recipe).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
        logits_now = predict(network, watched)
        curve.append(float((logits_now.argmax(1) == labels[test]).mean()) if len(test) else 0.0)
        progress()
    return Trained(network.eval(), scaling, logits_now, tuple(curve))


def predict(network: nn.Module, features: Floats, batch: int = 64) -> Floats:
    """Logits of standardised clips: float32 [clips, 196, 39] → [clips, classes]."""
    network.eval()
    with torch.inference_mode():
        given = [
            network(torch.from_numpy(features[start : start + batch])).numpy()
            for start in range(0, len(features), batch)
        ]
    return np.concatenate(given) if given else np.zeros((0, 0), np.float32)


def _batch(
    shown: Floats, labels: Integers, numbers: Integers, classes: int, recipe: Recipe, chooser: np.random.Generator
) -> tuple[Tensor, Tensor]:  # fmt: skip
    clips = torch.from_numpy(drawn(shown, numbers, chooser) if recipe.augment else shown[numbers, 0])
    wanted = functional.one_hot(torch.from_numpy(labels[numbers]), classes).float()
    if not recipe.mixup:
        return clips, wanted
    share = float(chooser.beta(recipe.mixup, recipe.mixup))
    return share * clips + (1 - share) * clips.flip(0), share * wanted + (1 - share) * wanted.flip(0)


def _loss(logits: Tensor, wanted: Tensor, recipe: Recipe) -> Tensor:
    if recipe.loss is Loss.cross_entropy:
        return functional.cross_entropy(logits, wanted, label_smoothing=recipe.smoothing)
    return margin_loss(logits, wanted)


def margin_loss(logits: Tensor, wanted: Tensor) -> Tensor:
    """The paper's loss: margins of .9 and .1 on the probabilities (Sabour et al. 2017), and .392 mean squared error.

    Args:
        logits: float32 [clips, classes].
        wanted: shares of the classes, the same shape.
    """
    shares = torch.softmax(logits, 1)
    present = wanted * functional.relu(0.9 - shares).square()
    absent = 0.5 * (1 - wanted) * functional.relu(shares - 0.1).square()
    return (present + absent).sum(1).mean() + _MSE_SHARE * functional.mse_loss(shares, wanted)
