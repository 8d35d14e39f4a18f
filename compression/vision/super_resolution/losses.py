"""What a student learns from a teacher, and what exits learn from the deepest one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_NEGATIVES = 4
_TINY = 1e-6


def by_patch(found: Tensor, wanted: Tensor) -> Tensor:
    """Mean absolute error of every patch: float [batch, …] twice → [batch]."""
    return (found - wanted).abs().flatten(1).mean(dim=1)


def contrast(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """Nearer to the teacher's features of the same patch than to those of others: Σ d(S, T) / d(S, negatives).

    Moon et al. 2022 (arXiv:2211.15951) and Wang et al. 2021 (CSD, arXiv:2105.11683) with the teacher's own features
    in place of a pretrained network's; the negatives are the teacher's features of other patches of the batch.

    Args:
        student: features [batch, channels, height, width] a tap, already as wide as the teacher's.
        teacher: the same of the teacher.

    Returns:
        Mean over the taps, [batch]; 0 where the student's features are the teacher's.
    """
    return torch.stack([_ratio(s, t.detach()) for s, t in zip(student, teacher, strict=True)]).mean(dim=0)


def teacher_is_better(student: Tensor, teacher: Tensor, truth: Tensor) -> Tensor:
    """1 for every patch on which the teacher is nearer to the truth, else 0: [batch].

    What a student does better already it need not learn (adaptive distillation of arXiv:2211.15951).
    """
    return (by_patch(teacher, truth) < by_patch(student.detach(), truth)).float()


def exits(images: Sequence[Tensor], truth: Tensor) -> Tensor:
    """Every exit learns the truth, and the earlier ones also what the deepest makes of it; a scalar.

    Lee & Park 2022: self-distillation needs no teacher apart; the deepest exit's picture is a constant for the others.
    """
    deepest = images[-1].detach()
    losses = [by_patch(image, truth).mean() for image in images]
    losses += [by_patch(image, deepest).mean() for image in images[:-1]]
    return torch.stack(losses).sum()


def _ratio(student: Tensor, teacher: Tensor) -> Tensor:
    others = min(_NEGATIVES, len(teacher) - 1)
    far = [by_patch(student, teacher.roll(shift, dims=0)) for shift in range(1, others + 1)]
    return by_patch(student, teacher) / (torch.stack(far).mean(dim=0) + _TINY)
