"""Trains the teacher: ``damso train teacher --data DIR --run DIR --preset base``.

A transformer over the static encoder's rows (`agents.transformer`), tuned on three kinds of steps: pairs that belong
together against the batch's others (Henderson et al. 2017), labels of public utterances by a linear head, and the
similarity of KorSTS's training pairs as a cosine. The run's folder holds everything needed to go on.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from agents import corpus
from agents.corpus import Pairs
from agents.encoder import Encoder
from agents.labelled import LabelledSet, labelled_sets
from agents.train_encoder import supervised
from agents.transformer import SentenceModel, Shape, padded, save_sentence_transformer, starting_rows
from compression.errors import TrainingDataError

CHECKPOINT, TEACHER, SENTENCES = "checkpoint.safetensors", "teacher.safetensors", "sentence-transformer"
_SAMPLE = 20_000
_SAVE_EVERY = 100
_NO_LABEL_SHARE = 0.2


@dataclass(frozen=True)
class TeacherRecipe:
    """How a teacher is trained.

    Attributes:
        shape: of the model.
        steps: optimiser steps.
        batch: pairs, lines or KorSTS pairs a step.
        longest: subwords of a text that are read in training.
        learning_rate: Adam's peak rate for the blocks; rows get a tenth. It warms up and falls to zero along lines.
        temperature: divides the cosines before the softmax.
        labels: share of steps on labels.
        similar: share of steps on KorSTS.
        seed: of everything random; a step's draw depends on it and the step alone.
    """

    shape: Shape = field(default_factory=Shape)
    steps: int = 1500
    batch: int = 96
    longest: int = 48
    learning_rate: float = 3e-4
    temperature: float = 0.05
    labels: float = 0.3
    similar: float = 0.25
    seed: int = 0


PRESETS = {
    "tiny": TeacherRecipe(Shape(width=8, heads=2, layers=1, inner=16, dimension=8), steps=6, batch=8),
    "mini": TeacherRecipe(Shape(layers=2, inner=512), steps=400, batch=64, longest=32),
    "base": TeacherRecipe(),
    "large": TeacherRecipe(Shape(layers=6, inner=1024, heads=8), steps=20_000, batch=256, longest=96),
}


def train(
    data: Path, run: Path, encoder: Encoder, recipe: TeacherRecipe, minutes: float | None = None
) -> dict[str, float]:
    """Train a teacher, or go on with it.

    Args:
        data: the data folder.
        run: gets ``checkpoint.safetensors`` and, at the end, the folder ``sentence-transformer``.
        encoder: the static encoder to start from.
        recipe: sizes and rates.
        minutes: stop after so long; None goes to the end.

    Returns:
        ``step``, ``steps``, the last ``loss``, and ``korsts_dev_spearman``.

    Raises:
        TrainingDataError: a file of ``data`` is missing or malformed, or ``run`` has another model's checkpoint.
    """
    chooser = random.Random(recipe.seed)
    torch.manual_seed(recipe.seed)
    tasks = _Tasks(data, encoder, recipe, chooser)
    model = SentenceModel(starting_rows(encoder, recipe.shape.width, tasks.sample(_SAMPLE)), recipe.shape)
    module = nn.ModuleDict({"model": model, "heads": tasks.heads(recipe.shape.dimension)})
    loss = fit(
        module,
        run,
        recipe.steps,
        recipe.learning_rate,
        lambda step: tasks.loss(model, module["heads"], step),
        minutes,
    )
    save_teacher(model, run)
    save_sentence_transformer(model, encoder.tokenizer, run / SENTENCES)

    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        return model.encode(encoder.tokenize(texts))

    return {**loss, "korsts_dev_spearman": corpus.similarity_correlation(encode, data)}


def fit(
    module: nn.Module,
    run: Path,
    steps: int,
    learning_rate: float,
    loss_of: Callable[[int], Tensor],
    minutes: float | None = None,
) -> dict[str, float]:
    """Adam to the end or until time is up; a checkpoint in ``run`` is gone on with.

    Args:
        module: what is trained; embeddings named ``rows`` learn a tenth as fast.
        run: gets ``checkpoint.safetensors``.
        steps: in all.
        learning_rate: the peak.
        loss_of: step → loss; the same step gives the same draw.
        minutes: stop after so long.
    """
    run.mkdir(parents=True, exist_ok=True)
    rows = [p for name, p in module.named_parameters() if name.endswith("rows.weight")]
    others = [p for name, p in module.named_parameters() if not name.endswith("rows.weight")]
    optimiser = torch.optim.Adam([{"params": others}, {"params": rows}], betas=(0.9, 0.98))
    step, loss = _resume(module, optimiser, run / CHECKPOINT), float("nan")
    end = None if minutes is None else time.monotonic() + 60 * minutes
    progress = tqdm(total=steps, initial=step, desc="training", mininterval=5)
    while step < steps and (end is None or time.monotonic() < end):
        rate = learning_rate * min((step + 1) / max(1, steps // 20), 1 - step / steps)
        for group, share in zip(optimiser.param_groups, (1.0, 0.1), strict=True):
            group["lr"] = rate * share
        value = loss_of(step)
        optimiser.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(others, 1.0)
        optimiser.step()
        step, loss = step + 1, value.item()
        progress.update()
        progress.set_postfix(loss=f"{loss:.3f}", refresh=False)
        if step % _SAVE_EVERY == 0:
            _checkpoint(module, optimiser, step, run / CHECKPOINT)
    progress.close()
    _checkpoint(module, optimiser, step, run / CHECKPOINT)
    return {"step": step, "steps": steps, "loss": round(loss, 4)}


def save_teacher(model: SentenceModel, run: Path) -> None:
    """Write the model alone, for distillation."""
    weights = {name: weight.contiguous() for name, weight in model.state_dict().items()}
    save_file(weights, run / TEACHER, metadata={"shape": json.dumps(asdict(model.shape))})


def load_teacher(run: Path) -> SentenceModel:
    """The model of `save_teacher`."""
    with safe_open(run / TEACHER, "pt") as file:
        shape = Shape(**json.loads(file.metadata()["shape"]))
    weights = load_file(run / TEACHER)
    model = SentenceModel(weights["rows.weight"], shape)
    model.load_state_dict(weights)
    return model.eval()


class _Tasks:
    """What a step may be, all texts already in subwords."""

    def __init__(self, data: Path, encoder: Encoder, recipe: TeacherRecipe, chooser: random.Random) -> None:
        self._recipe, self._encoder = recipe, encoder
        sources = [source for source in supervised(data, chooser) if len(source) > 1]
        self._texts = [text for source in sources for text in source.anchors]
        self._sources = [_Paired(encoder, source) for source in tqdm(sources, "tokenizing", mininterval=5)]
        shares = np.array([source.share for source in sources])
        self._shares = shares / shares.sum()
        self._labelled = [_Labelled(encoder, chosen) for chosen in labelled_sets(data) if chosen.train]
        scores = corpus.similarity_scores(data, "train")
        self._first, self._second = (encoder.tokenize([str(row[side]) for row in scores]) for side in (0, 1))
        self._scores = np.array([row[2] for row in scores], np.float32) / 5

    def sample(self, most: int) -> list[str]:
        """Texts of every source."""
        return random.Random(0).sample(self._texts, min(most, len(self._texts)))

    def heads(self, dimension: int) -> nn.ModuleList:
        """A linear head for each labelled set."""
        return nn.ModuleList(nn.Linear(dimension, each.classes) for each in self._labelled)

    def loss(self, model: SentenceModel, heads: Any, step: int) -> Tensor:
        """The loss of a step, drawn from the seed and its number."""
        recipe = self._recipe
        chooser = np.random.default_rng((recipe.seed, step))
        kind = chooser.random()
        if kind < recipe.similar:
            return self._similar(model, chooser)
        if kind < recipe.similar + recipe.labels:
            place = int(chooser.integers(len(self._labelled)))
            tokens, labels = self._labelled[place].draw(chooser, recipe.batch)
            logits = heads[place](model(*self._padded(tokens)) * 10)
            return F.cross_entropy(logits, labels, label_smoothing=0.05)
        source = self._sources[chooser.choice(len(self._sources), p=self._shares)]
        sides = [model(*self._padded(side)) for side in source.draw(chooser, recipe.batch)]
        return contrastive(sides[0], sides[1:], recipe.temperature)

    def _similar(self, model: SentenceModel, chooser: np.random.Generator) -> Tensor:
        chosen = chooser.integers(0, len(self._scores), self._recipe.batch)
        first, second = (
            model(*self._padded([side[n] for n in chosen])) for side in (self._first, self._second)
        )
        return 5 * F.mse_loss((first * second).sum(1), torch.from_numpy(self._scores[chosen]))

    def _padded(self, tokens: Sequence[NDArray[np.int64]]) -> tuple[Tensor, Tensor]:
        return padded([ids[: self._recipe.longest] for ids in tokens])


def contrastive(anchors: Tensor, others: Sequence[Tensor], temperature: float) -> Tensor:
    """Cross-entropy of every anchor against all positives and hard negatives, and of positives against anchors."""
    targets = torch.arange(len(anchors))
    forwards = anchors @ torch.cat(list(others)).T / temperature
    backwards = forwards[:, : len(anchors)].T
    return (F.cross_entropy(forwards, targets) + F.cross_entropy(backwards, targets)) / 2


class _Paired:
    """Pairs in subwords; a batch has no positive twice."""

    def __init__(self, encoder: Encoder, source: Pairs) -> None:
        self._sides = [encoder.tokenize(source.anchors), encoder.tokenize(source.positives)]
        if any(source.negatives):
            self._sides.append(encoder.tokenize(source.negatives))
        keys = {text: number for number, text in enumerate(dict.fromkeys(source.positives))}
        self._keys = np.array([keys[text] for text in source.positives])

    def draw(self, chooser: np.random.Generator, size: int) -> list[list[NDArray[np.int64]]]:
        chosen = chooser.integers(0, len(self._keys), size)
        chosen = chosen[np.unique(self._keys[chosen], return_index=True)[1]]
        return [[side[n] for n in chosen] for side in self._sides]


class _Labelled:
    def __init__(self, encoder: Encoder, chosen: LabelledSet) -> None:
        names = sorted({label for _, label in chosen.train})
        # Half of the lines of no label train, as one class more; the other half is for evaluation.
        outside = chosen.outside[: len(chosen.outside) // 2]
        self._tokens = encoder.tokenize([text for text, _ in chosen.train] + list(outside))
        self._labels = np.array(
            [names.index(label) for _, label in chosen.train] + [len(names)] * len(outside)
        )
        self._inside = len(chosen.train)
        self.classes = len(names) + bool(outside)

    def draw(self, chooser: np.random.Generator, size: int) -> tuple[list[NDArray[np.int64]], Tensor]:
        chosen = chooser.integers(0, self._inside, size)
        if self._inside < len(self._labels):
            strange = chooser.random(size) < _NO_LABEL_SHARE
            chosen[strange] = chooser.integers(self._inside, len(self._labels), int(strange.sum()))
        return [self._tokens[n] for n in chosen], torch.from_numpy(self._labels[chosen])


def _checkpoint(module: nn.Module, optimiser: torch.optim.Optimizer, step: int, path: Path) -> None:
    """Weights, and Adam's two moments of those that have them, in one file that is renamed when it is whole."""
    tensors = {f"weight {name}": value.contiguous() for name, value in module.state_dict().items()}
    for name, weight in module.named_parameters():
        for moment, value in optimiser.state.get(weight, {}).items():
            tensors[f"{moment} {name}"] = value
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, metadata={"step": str(step)})
    partial.replace(path)


def _resume(module: nn.Module, optimiser: torch.optim.Optimizer, path: Path) -> int:
    if not path.is_file():
        return 0
    try:
        with safe_open(path, "pt") as file:
            step = int(file.metadata()["step"])
        tensors = load_file(path)
        weights = {name: tensors[f"weight {name}"] for name in module.state_dict()}
        module.load_state_dict(weights)
        for name, weight in module.named_parameters():
            if f"exp_avg {name}" in tensors:
                optimiser.state[weight] = {
                    moment: tensors[f"{moment} {name}"] for moment in ("step", "exp_avg", "exp_avg_sq")
                }
    except (RuntimeError, KeyError, TypeError, ValueError, SafetensorError) as error:
        raise TrainingDataError(
            f"{path.parent.name} 폴더의 학습을 이어서 할 수 없습니다. 다른 크기로 시작했거나 파일이 손상되었습니다.",
            "--run에 다른 폴더를 알려 주세요.",
        ) from error
    return step
