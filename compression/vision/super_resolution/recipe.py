"""How long, on what and how large: the presets of ``damso train super-resolution``."""

from __future__ import annotations

from dataclasses import dataclass, replace

from compression.vision.super_resolution.architecture import Architecture


@dataclass(frozen=True)
class Recipe:
    """One training.

    Attributes:
        steps: optimiser steps.
        batch: patches a step.
        side: of a patch of the low resolution, in pixels.
        rate: peak learning rate of Adam; it rises over a twentieth of the steps and falls along a cosine.
        check: steps between looks at the validation pictures.
        seed: of weights and patches.
    """

    steps: int
    batch: int = 16
    side: int = 32
    rate: float = 1e-3
    check: int = 100
    seed: int = 0


@dataclass(frozen=True)
class Preset:
    """All trainings of one run.

    Attributes:
        teacher: the large network; its ``scale`` is set by the run.
        narrow: the student that is narrower than the teacher.
        modern: the student of another build, at most 250,000 parameters.
        exits: the network with exits; its twins are it, cut at every exit.
        teaching: of the teacher.
        learning: of the students.
        leaving: of the exits and their twins.
        contrast: weight of the contrastive loss.
        pictures: training pictures at most; None takes all.
        sets: test sets on which every row is measured; None takes all that are at hand. What is embedded is measured
            on all in any case.
    """

    teacher: Architecture
    narrow: Architecture
    modern: Architecture
    exits: Architecture
    teaching: Recipe
    learning: Recipe
    leaving: Recipe
    contrast: float = 0.01
    pictures: int | None = None
    sets: tuple[str, ...] | None = ("Set5", "Set14", "B100")

    def second_scale(self) -> Preset:
        """For the scale after the first, on which teacher and students take half the steps.

        The teacher starts from the first one's weights, and its students have less to invent.
        """
        return self._scaled(0.5, 0.5, 1)

    def longer(self, factor: float) -> Preset:
        """The same with so many times the steps."""
        return self._scaled(factor, factor, factor)

    def _scaled(self, teaching: float, learning: float, leaving: float) -> Preset:
        return replace(
            self,
            teaching=_longer(self.teaching, teaching),
            learning=_longer(self.learning, learning),
            leaving=_longer(self.leaving, leaving),
        )


def _longer(recipe: Recipe, factor: float) -> Recipe:
    return replace(recipe, steps=max(1, round(recipe.steps * factor)))


def _edsr(channels: int, blocks: int, exits: tuple[int, ...] = (), staged: bool = False) -> Architecture:
    return Architecture("edsr", 4, channels, blocks, exits, staged)


PRESETS = {
    "tiny": Preset(
        _edsr(8, 3), _edsr(4, 3), Architecture("span", 4, 4, 3), _edsr(4, 3, (1, 2)),
        Recipe(6, 4, 12, check=3), Recipe(6, 4, 12, check=3), Recipe(6, 4, 12, check=3), sets=None,
    ),
    "cpu": Preset(
        _edsr(64, 8), _edsr(16, 8), Architecture("span", 4, 32, 4), _edsr(16, 8, (2, 4, 6)),
        Recipe(600, check=200), Recipe(400, check=100), Recipe(400, check=100),
    ),
    "gpu": Preset(
        _edsr(64, 16, staged=True), _edsr(16, 16), Architecture("span", 4, 32, 6),
        _edsr(64, 16, (4, 8, 12), staged=True),
        Recipe(200_000, 32, 48, 4e-4, 2000), Recipe(100_000, 32, 48, 1e-3, 2000), Recipe(100_000, 32, 48, 4e-4, 2000),
        sets=None,
    ),
}  # fmt: skip
