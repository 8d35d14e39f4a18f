"""``damso train super-resolution``: teacher, students by what they learn from, exits and their twins, ×4 then ×2.

Every training has a folder below the run, with a checkpoint; what is finished is not done again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from compression.vision.super_resolution.architecture import Architecture
from compression.vision.super_resolution.data import Pair, Patches, pair, read_training, read_validation
from compression.vision.super_resolution.model import Network, build, start_from
from compression.vision.super_resolution.recipe import Preset, Recipe
from compression.vision.super_resolution.resize import Pixels
from compression.vision.super_resolution.train import Learner, Objective, finished, learner, train

SCALES = (4, 2)
OBJECTIVES: dict[str, Objective] = {"none": "truth", "L1": "teacher", "contrastive": "contrast"}
"""What a student's row is called, and its objective."""
TEACHER, NARROW, MODERN, EXITS, TWIN = "teacher", "narrow", "modern", "exits", "twin"
_LOGGED, _LOGGED_SIDE = 12, 240  # validation pictures for the log, and the side of their middles in pixels

Networks = dict[str, Network]


class OutOfTime(Exception):
    """The minutes of a run are over; what was learnt is in its checkpoints."""


class Clock:
    """Stops a run after some minutes."""

    def __init__(self, minutes: float | None) -> None:
        self._end = None if minutes is None else time.monotonic() + 60 * minutes

    def __call__(self) -> None:
        """Look at the time.

        Raises:
            OutOfTime: it is over.
        """
        if self._end is not None and time.monotonic() > self._end:
            raise OutOfTime


class Scale:
    """The networks of one scale: made, trained in their folders, or read from there."""

    def __init__(self, scale: int, preset: Preset, run: Path, before: Network | None = None) -> None:
        """Make the fresh networks.

        Args:
            scale: factor of enlargement.
            preset: sizes and lengths.
            run: folder of the run.
            before: a teacher of another scale for the teacher to start from.
        """
        self.scale, self._preset, self._folder = scale, preset, run / f"x{scale}"
        self.stages: dict[str, tuple[Recipe, dict[str, Learner]]] = {}
        self._teacher = teacher = self._fresh(preset.teacher)
        if before is not None:
            start_from(teacher, {name: value.cpu() for name, value in before.state_dict().items()})
        self.stages[TEACHER] = (preset.teaching, {TEACHER: learner(teacher, "truth")})
        self.stages[NARROW] = (preset.learning, self._students(NARROW, preset.narrow))
        self.stages[MODERN] = (preset.learning, self._students(MODERN, preset.modern))
        self.stages[EXITS] = (preset.leaving, self._exits_and_twins(preset.exits))

    @property
    def networks(self) -> Networks:
        """All networks by name."""
        return {name: one.network for _, learners in self.stages.values() for name, one in learners.items()}

    def train(self, pictures: Sequence[Pixels], validation: Sequence[Pixels], clock: Clock) -> None:
        """Train every stage that is not finished; the finished ones are read.

        Raises:
            OutOfTime: before all were finished.
        """
        pairs = [pair(picture, self.scale) for picture in validation]
        made: dict[int, Patches] = {}
        for stage, (recipe, learners) in self.stages.items():
            folder = self._folder / stage
            if not finished(folder, recipe) and recipe.side not in made:
                made[recipe.side] = Patches(pictures, self.scale, recipe.side, recipe.seed)
            patches = made.get(recipe.side)
            self._train_stage(stage, recipe, learners, patches, pairs, clock)

    def _train_stage(
        self, stage: str, recipe: Recipe, learners: Mapping[str, Learner], patches: Patches | None,
        pairs: Sequence[Pair], clock: Clock,
    ) -> None:  # fmt: skip
        teacher = self._teacher if stage in (NARROW, MODERN) else None
        weight = self._preset.contrast
        train(learners, patches, recipe, self._folder / stage, pairs, teacher, weight, clock)

    def _students(self, kind: str, shape: Architecture) -> dict[str, Learner]:
        """The same network for every row."""
        return {
            f"{kind} {row}": learner(self._fresh(shape), objective, self._teacher)
            for row, objective in OBJECTIVES.items()
        }

    def _exits_and_twins(self, shape: Architecture) -> dict[str, Learner]:
        """The network with exits, and for each of its depths a network of that depth that learns alone."""
        found = {EXITS: learner(self._fresh(shape), "exits")}
        for depth in shape.depths:
            staged = shape.staged and depth == shape.blocks
            twin = replace(shape, blocks=depth, exits=(), staged=staged)
            found[f"{TWIN} {depth}"] = learner(self._fresh(twin), "truth")
        return found

    def _fresh(self, shape: Architecture) -> Network:
        return build(replace(shape, scale=self.scale), self._preset.teaching.seed)


def networks(data: Path, run: Path, preset: Preset, minutes: float | None = None) -> dict[int, Networks]:
    """Train everything, or go on with it.

    Args:
        data: folder of pictures, see `data`.
        run: folder for checkpoints and logs.
        preset: sizes and lengths.
        minutes: stop after this long, to go on later.

    Returns:
        For each scale its networks by name.

    Raises:
        TrainingDataError: pictures are missing or cannot be read.
        OutOfTime: the minutes are over.
    """
    clock = Clock(minutes)
    pictures = read_training(data, preset.pictures)
    validation = read_validation(data, _LOGGED, _LOGGED_SIDE)
    found: dict[int, Networks] = {}
    for scale in SCALES:
        before = found[SCALES[0]][TEACHER] if found else None
        one = Scale(scale, preset if before is None else preset.second_scale(), run, before)
        one.train(pictures, validation, clock)
        found[scale] = one.networks
    return found
