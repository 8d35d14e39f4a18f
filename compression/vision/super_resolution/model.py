"""EDSR with exits, and a small SPAN-type network: PyTorch modules, pixels in [0, 1].

Both add the input, repeated, to what they give: a fresh network is nearest-neighbour enlargement, which saves a short
training its first thousand steps and costs no parameter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from compression.vision.super_resolution.architecture import Architecture

_MEAN = 0.45


@dataclass(frozen=True)
class Look:
    """All that a network makes of a batch.

    Attributes:
        images: float [batch, 3, height · scale, width · scale] a depth, the deepest last.
        taps: three features, float [batch, channels, height, width], from shallow to deep.
    """

    images: tuple[Tensor, ...]
    taps: tuple[Tensor, ...]


class Network(nn.Module):
    """Head, blocks, and a tail after some of the blocks."""

    def __init__(self, architecture: Architecture, block: type[nn.Module]) -> None:
        super().__init__()
        channels, self.architecture = architecture.channels, architecture
        self.head = _convolution(3, channels)
        self.blocks = nn.ModuleList([block(channels) for _ in range(architecture.blocks)])
        self.tails = nn.ModuleDict({str(depth): Tail(architecture, depth) for depth in architecture.depths})

    def forward(self, low: Tensor) -> Tensor:
        """Enlarge with all blocks: float [batch, 3, h, w] → [batch, 3, h · scale, w · scale]."""
        return self.look(low).images[-1]

    def look(self, low: Tensor, only_taps: bool = False) -> Look:
        """Enlarge at every depth, and keep the features on the way.

        Args:
            low: float [batch, 3, height, width] in [0, 1].
            only_taps: leave the pictures out.
        """
        anchor = low.repeat_interleave(self.architecture.scale**2, dim=1)
        head = x = self.head(low - _MEAN)
        images, features = [], []
        for depth, block in enumerate(self.blocks, 1):
            x = block(x)
            features.append(x)
            if str(depth) in self.tails and not only_taps:
                images.append(self.tails[str(depth)](head, features[0], x, anchor))
        return Look(tuple(images), tuple(features[depth - 1] for depth in self.architecture.taps))


class Tail(nn.Module):
    """Features → picture: a convolution, the long skip, and PixelShuffle in one step or in steps of two (EDSR)."""

    def __init__(self, architecture: Architecture, depth: int) -> None:
        super().__init__()
        channels, scale = architecture.channels, architecture.scale
        self.staged, self.joined = (
            architecture.staged and depth == architecture.blocks,
            architecture.kind == "span",
        )
        self.fuse = _convolution(channels, channels)
        if self.joined:
            self.join = nn.Conv2d(3 * channels, channels, 1)
        steps = _steps(scale) if self.staged else []
        self.grow = nn.ModuleList([_convolution(channels, channels * step * step) for step in steps])
        self.shuffles = [nn.PixelShuffle(step) for step in steps]
        self.last = _convolution(channels, 3 if self.staged else 3 * scale * scale)
        self.shuffle = nn.PixelShuffle(scale)
        # What is added to the enlarged input starts at nothing.
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, head: Tensor, first: Tensor, x: Tensor, anchor: Tensor) -> Tensor:
        """The picture.

        Args:
            head: features of the head, [batch, channels, height, width].
            first: features after the first block.
            x: features after the last one.
            anchor: the input with every channel repeated scale² times.
        """
        x = self.fuse(x)
        x = self.join(torch.cat([head, first, x], dim=1)) if self.joined else x + head
        for convolution, shuffle in zip(self.grow, self.shuffles, strict=True):
            x = shuffle(convolution(x))
        x = self.last(x)
        image: Tensor = x + self.shuffle(anchor) if self.staged else self.shuffle(x + anchor)
        return image


class ResidualBlock(nn.Module):
    """EDSR's: convolution, ReLU, convolution, no normalisation (Lim et al. 2017, arXiv:1707.02921)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = _convolution(channels, channels), _convolution(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, channels, height, width] → the same shape."""
        change: Tensor = self.second(torch.relu(self.first(x)))
        return x + change


class AttentionBlock(nn.Module):
    """SPAN's: three convolutions whose result weighs itself, parameter-free (Wan et al. 2024, arXiv:2311.12770).

    SPAN's weight, sigmoid − ½, starts at nothing, so that a fresh network lets hardly a feature through; twice the
    sigmoid starts at one, which a short training needs.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = _convolution(channels, channels), _convolution(channels, channels)
        self.third = _convolution(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, channels, height, width] → the same shape."""
        inside = nn.functional.silu(self.second(nn.functional.silu(self.first(x))))
        out: Tensor = self.third(inside)
        return (out + x) * (2 * torch.sigmoid(out))


def build(architecture: Architecture, seed: int) -> Network:
    """A fresh network; the same seed gives the same weights."""
    torch.manual_seed(seed)
    block: dict[str, type[nn.Module]] = {"edsr": ResidualBlock, "span": AttentionBlock}
    return Network(architecture, block[architecture.kind])


def parameters(network: nn.Module) -> int:
    """How many weights and biases it has."""
    return sum(parameter.numel() for parameter in network.parameters())


def start_from(network: Network, weights: dict[str, Any]) -> None:
    """Take over every weight of another network that has the same name and shape here."""
    own = network.state_dict()
    fitting = {
        name: value for name, value in weights.items() if name in own and own[name].shape == value.shape
    }
    network.load_state_dict(own | fitting)


def _convolution(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def _steps(scale: int) -> Sequence[int]:
    return [2] * (scale.bit_length() - 1) if scale & (scale - 1) == 0 else [scale]
