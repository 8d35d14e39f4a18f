"""RoutingConvNet (Lim et al., 2023) and a smaller network for the same cepstra, in PyTorch.

The paper names no weights of its own for the "bidirectional" input; its text reverses time, its code the axis of the
coefficients. `Reversal` offers both.
"""

from __future__ import annotations

from enum import StrEnum

import torch
from torch import Tensor, nn
from torch.nn import functional

from compression.audio.features import COEFFICIENTS, FRAMES

CAPSULES, ROUTED, WIDTH = 40, 6, 64
ROUTINGS = 3
_CHANNELS = (2, 32, 64, 64)
_TINY = 1e-7


class Reversal(StrEnum):
    """Which axis the second half of the input runs backwards along."""

    time = "time"
    coefficients = "coefficients"


class RoutingConvNet(nn.Module):
    """Convolutions, primary capsules with self-attention, and capsules routed with shared weights.

    Three 3×3 convolutions with batch normalisation over time positions, ELU and average pooling; 40 capsules of 64 by a
    fourth convolution; scaled dot self-attention with one learnt scale and no projections, layer normalisation,
    multiplied with the capsules; 6 capsules of 64 by dynamic routing (Sabour et al. 2017, arXiv:1710.09829); their
    mean, dropout, and a linear layer.
    """

    def __init__(self, classes: int, reversal: Reversal = Reversal.time, dropout: float = 0.3) -> None:
        super().__init__()
        self.reversal = reversal
        pairs = zip(_CHANNELS[:-1], _CHANNELS[1:], strict=True)
        self.convolutions = nn.ModuleList(nn.Conv2d(before, after, 3) for before, after in pairs)
        self.norms = nn.ModuleList(nn.BatchNorm1d(positions) for positions in _time_positions())
        self.primary = nn.Conv2d(_CHANNELS[-1], 128, 3)
        self.scale = nn.Parameter(torch.ones(()))
        self.attended = nn.LayerNorm(WIDTH)
        self.votes = nn.Parameter(torch.empty(WIDTH, ROUTED * WIDTH))
        nn.init.xavier_uniform_(self.votes)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(WIDTH, classes)

    def forward(self, cepstra: Tensor) -> Tensor:
        """float32 [clips, 196, 39] → logits [clips, classes]."""
        backwards = cepstra.flip(1 if self.reversal is Reversal.time else 2)
        x = torch.stack([cepstra, backwards], 1).contiguous(memory_format=torch.channels_last)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = functional.avg_pool2d(functional.elu(_over_time(norm, convolution(x))), 2)
        capsules = self.primary(x).permute(0, 2, 3, 1).reshape(len(x), CAPSULES, WIDTH)
        with torch.autocast("cpu", enabled=False):
            return self._route(squash(capsules.float()))

    def _route(self, capsules: Tensor) -> Tensor:
        shares = torch.softmax(self.scale * (capsules @ capsules.transpose(1, 2)), -1)
        capsules = capsules * self.attended(shares @ capsules)
        votes = (capsules @ self.votes).view(-1, CAPSULES, ROUTED, WIDTH)
        agreement = torch.zeros(votes.shape[:3])
        for routing in range(ROUTINGS):
            routed = squash((torch.softmax(agreement, 2)[..., None] * votes).sum(1))
            if routing < ROUTINGS - 1:
                agreement = agreement + (votes * routed[:, None]).sum(-1)
        logits: Tensor = self.classifier(self.dropout(routed.mean(1)))
        return logits


class CompactNet(nn.Module):
    """Separable convolutions along time with growing dilation, and attentive statistics.

    Cepstral coefficients have no order in which neighbours mean anything, so they are channels, and every convolution
    runs along time. Both directions of time lie under each kernel. The statistics are a weighted mean and standard
    deviation of every channel (Okabe et al. 2018, arXiv:1803.10963), so that the place of a word does not matter.

    Convolutions are two-dimensional over [time, 1], which processors compute several times faster than one-dimensional
    ones.
    """

    def __init__(
        self,
        classes: int,
        width: int = 96,
        dilations: tuple[int, ...] = (1, 2, 4, 1, 2),
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        self.stem = along_time(COEFFICIENTS, width, 7, stride=3)
        self.stem_norm = nn.BatchNorm2d(width)
        self.blocks = nn.ModuleList(SeparableBlock(width, dilation) for dilation in dilations)
        self.scores = nn.Sequential(
            nn.Conv2d(width, width // 4, 1), nn.Tanh(), nn.Conv2d(width // 4, width, 1)
        )
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(2 * width, classes)

    def forward(self, cepstra: Tensor) -> Tensor:
        """float32 [clips, frames, 39] → logits [clips, classes]."""
        x = functional.relu(self.stem_norm(self.stem(cepstra[:, :, None].permute(0, 3, 1, 2))))
        for block in self.blocks:
            x = block(x)
        shares = torch.softmax(self.scores(x), 2)
        mean = (shares * x).sum((2, 3))
        variance = (shares * x * x).sum((2, 3)) - mean * mean
        statistics = torch.cat([mean, variance.clamp_min(1e-4).sqrt()], 1)
        logits: Tensor = self.classifier(self.dropout(statistics))
        return logits


class SeparableBlock(nn.Module):
    """A depthwise convolution along time, a pointwise one, and the way around them."""

    def __init__(self, width: int, dilation: int, kernel: int = 7) -> None:
        super().__init__()
        self.depthwise = along_time(width, width, kernel, dilation=dilation, groups=width)
        self.depthwise_norm = nn.BatchNorm2d(width)
        self.pointwise = along_time(width, width, 1)
        self.pointwise_norm = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        """float32 [clips, width, frames, 1] → the same shape."""
        inner = functional.relu(self.depthwise_norm(self.depthwise(x)))
        return functional.relu(x + self.pointwise_norm(self.pointwise(inner)))


def along_time(
    before: int, after: int, kernel: int, stride: int = 1, dilation: int = 1, groups: int = 1
) -> nn.Conv2d:
    """A convolution of [clips, channels, frames, 1] that keeps the frames, but for the stride; it has no bias."""
    padding = dilation * (kernel // 2)
    return nn.Conv2d(before, after, (kernel, 1), (stride, 1), (padding, 0), (dilation, 1), groups, bias=False)


def _over_time(norm: nn.Module, x: Tensor) -> Tensor:
    """Normalise each time position of [clips, channels, time, coefficients]; in channels-last memory nothing moves."""
    by_time = x.permute(0, 2, 3, 1)
    normed: Tensor = norm(by_time.flatten(2))
    return normed.view(by_time.shape).permute(0, 3, 1, 2)


def squash(capsules: Tensor) -> Tensor:
    """Short vectors to nearly zero, long ones to nearly length one, along the last axis."""
    square = capsules.square().sum(-1, keepdim=True)
    return capsules * square / (1 + square) / torch.sqrt(square + _TINY)


def parameters(network: nn.Module) -> int:
    """Numbers that make up a network, counted as Keras does: running means and variances are among them."""
    running = sum(buffer.numel() for name, buffer in network.named_buffers() if "running" in name)
    return sum(weight.numel() for weight in network.parameters()) + running


def _time_positions() -> list[int]:
    """Positions along time after each convolution, each of which halves afterwards."""
    positions, left = [], FRAMES
    for _ in _CHANNELS[1:]:
        positions.append(left - 2)
        left = (left - 2) // 2
    return positions
