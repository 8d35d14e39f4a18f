"""Trains the reader: first on paraphrases, then on the questions that the gate is fitted on.

Paraphrases teach what is said in other words: sentences of the same meaning (ParaKQC, StyleKQC), entailed ones
(KLUE-NLI), arguments of requests (sae4k) and our thesaurus. The questions teach which sentence answers, and that
none does.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from assistant.reading import Packed
from compression.reading.model import ReaderModel, Readers
from compression.reading.vectors import MORPHEMES

Floats = NDArray[np.float32]
_ARRAYS = ("morphemes", "tags", "forms", "segments", "positions", "weights")
_FORGOTTEN = 0.1
_EASY = 2
_WARM_UP, _LAST_RATE = 100, 0.02
_AVERAGE = 0.998
_WORTH_COMPILING = 500
"""Steps; compiling takes as long as a hundred of them."""


@dataclass(frozen=True)
class List:
    """Candidates of one question, best of the first stage first.

    Attributes:
        packed: their morphemes, in small integer types.
        features: float32 [rows, features]; None for paraphrases, which have none.
        prior: float32 [rows], scores of the first stage.
        right: bool [rows].
    """

    packed: Packed
    features: Floats | None
    prior: Floats
    right: NDArray[np.bool_]

    @classmethod
    def of(
        cls, packed: Packed, right: Sequence[bool] | NDArray[np.bool_],
        features: Floats | None = None, prior: Floats | None = None,
    ) -> List:  # fmt: skip
        """Takes what `assistant.reading.pack` made; without features and prior it is of paraphrases."""
        small = Packed(
            packed.morphemes.astype(np.int32), packed.tags.astype(np.int8), packed.forms.astype(np.int16),
            packed.segments.astype(np.int8), packed.positions.astype(np.int8), packed.weights,
        )  # fmt: skip
        scores = np.zeros(len(right), np.float32) if prior is None else prior
        return cls(small, features, scores, np.asarray(right, np.bool_))


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a stage learns."""

    epochs: float
    rate: float = 1.5e-3
    batch: int = 24
    candidates: int = 8
    decay: float = 0.05


class Trainer:
    """A reader while it learns.

    Args:
        vectors: float32 [MORPHEMES, dimension].
        features: how many numbers describe a candidate.
        seed: of everything random.
    """

    def __init__(self, vectors: Floats, features: int, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self._random = random.Random(seed)
        self._table = torch.from_numpy(np.concatenate([vectors, np.zeros((1, vectors.shape[1]), np.float32)]))
        self.model = ReaderModel(vectors.shape[1], features)

    def normalise(self, lists: Sequence[List]) -> None:
        """Sets the mean and deviation of the features."""
        rows = np.concatenate([item.features for item in lists if item.features is not None])
        self.model.mean.copy_(torch.from_numpy(rows.mean(axis=0)))
        self.model.deviation.copy_(torch.from_numpy(rows.std(axis=0) + 1e-3))

    def learn(self, lists: Sequence[List], schedule: Schedule, label: str) -> None:
        """One stage: AdamW, a warm-up and a linear decay, bfloat16; at its end the weights' running mean."""
        if not lists:
            return
        optimizer = torch.optim.AdamW(self._groups(schedule), lr=schedule.rate, betas=(0.9, 0.98))
        steps = max(1, int(len(lists) * schedule.epochs / schedule.batch))
        rate = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: min(1, (step + 1) / _WARM_UP) * max(_LAST_RATE, 1 - step / steps)
        )
        model = torch.compile(self.model, dynamic=True) if steps > _WORTH_COMPILING else self.model
        average, loss = _Average(self.model), 0.0
        self.model.train()
        bar = tqdm(zip(range(steps), self._batches(lists, schedule), strict=False), total=steps, desc=label)
        for step, batch in bar:
            inputs, right, sizes = self._collated(batch, schedule.candidates)
            with torch.autocast("cpu", torch.bfloat16):
                scores = model(*inputs)
            step_loss = _loss(scores.float(), right, sizes)
            optimizer.zero_grad()
            step_loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            optimizer.step()
            rate.step()
            average.update(self.model)
            loss = step_loss.item() if not step else 0.99 * loss + 0.01 * step_loss.item()
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
        self.model.load_state_dict(average.weights)

    @torch.no_grad()
    def scores(self, lists: Sequence[List]) -> list[Floats]:
        """Scores of every list's candidates."""
        self.model.eval()
        return [self.model(*self._collated([item], None)[0][:-1]).numpy() for item in lists]

    def _groups(self, schedule: Schedule) -> list[dict[str, Any]]:
        """Matrices decay; norms, biases and the start of the metric do not, and the metric learns slowly."""
        named = [(n, p) for n, p in self.model.named_parameters() if n != "metric.weight"]
        return [
            {"params": [p for _, p in named if p.ndim > 1], "weight_decay": schedule.decay},
            {"params": [p for _, p in named if p.ndim < 2], "weight_decay": 0.0},
            {"params": [self.model.metric.weight], "weight_decay": 0.0, "lr": 0.3 * schedule.rate},
        ]

    def _batches(self, lists: Sequence[List], schedule: Schedule) -> Iterator[list[List]]:
        """Batches of lists of like length, in random order, for ever."""
        pool = 20 * schedule.batch
        while True:
            order = self._random.sample(range(len(lists)), len(lists))
            pools = [order[i : i + pool] for i in range(0, len(order), pool)]
            batches = [
                some[i : i + schedule.batch]
                for some in (sorted(p, key=lambda i: lists[i].packed.tags.shape[1]) for p in pools)
                for i in range(0, len(some), schedule.batch)
            ]
            self._random.shuffle(batches)
            yield from ([lists[i] for i in batch] for batch in batches)

    def _collated(
        self, batch: Sequence[List], candidates: int | None
    ) -> tuple[tuple[Tensor, ...], Tensor, list[int]]:
        rows = [self._chosen(item, candidates) for item in batch]
        length = max(item.packed.tags.shape[1] for item in batch)
        sizes = [len(chosen) for chosen in rows]
        total = sum(sizes)
        arrays = {
            name: np.zeros((total, length), np.float32 if name == "weights" else np.int64) for name in _ARRAYS
        }
        arrays["morphemes"][:] = MORPHEMES
        arrays["forms"][:] = -1 - np.arange(length)
        features = np.tile(self.model.mean.numpy(), (total, 1))
        places = np.full((len(batch), max(sizes)), -1, np.int64)
        begin = 0
        for question, (item, chosen) in enumerate(zip(batch, rows, strict=True)):
            end, width = begin + len(chosen), item.packed.tags.shape[1]
            for name, array in arrays.items():
                array[begin:end, :width] = getattr(item.packed, name)[chosen]
            if item.features is not None:
                features[begin:end] = item.features[chosen]
            places[question, : len(chosen)] = np.arange(begin, end)
            begin = end
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        morphemes = tensors.pop("morphemes")
        if self.model.training:  # some words are forgotten, so that no answer hangs on one
            morphemes = torch.where(torch.rand(morphemes.shape) < _FORGOTTEN, MORPHEMES, morphemes)
        prior = torch.from_numpy(np.concatenate([i.prior[c] for i, c in zip(batch, rows, strict=True)]))
        right = torch.from_numpy(np.concatenate([i.right[c] for i, c in zip(batch, rows, strict=True)]))
        inputs = (
            self._table[morphemes],
            *tensors.values(),
            torch.from_numpy(features),
            prior,
            torch.from_numpy(places),
        )
        return inputs, right, sizes

    def _chosen(self, item: List, candidates: int | None) -> list[int]:
        """Rows of a list: while learning right ones, the hardest others and a few easy ones."""
        everything = list(range(len(item.right)))
        if candidates is None or len(everything) <= candidates:
            return everything
        right = [i for i in everything if item.right[i]][:2]
        wrong = [i for i in everything if not item.right[i]]
        hard, easy = wrong[: candidates - len(right) - _EASY], wrong[candidates - len(right) - _EASY :]
        return right + hard + self._random.sample(easy, min(_EASY, len(easy)))


class _Average:
    """The running mean of a model's weights (Polyak averaging)."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.weights = {name: value.detach().clone() for name, value in model.state_dict().items()}
        self._steps = 0

    def update(self, model: torch.nn.Module) -> None:
        self._steps += 1
        share = 1 - min(_AVERAGE, (1 + self._steps) / (10 + self._steps))
        for name, value in model.state_dict().items():
            self.weights[name].lerp_(value, share)


def _loss(scores: Tensor, right: Tensor, sizes: list[int]) -> Tensor:
    """Mean of −log p of the right candidates, or of none where there is none; none's score is 0."""
    losses = []
    for some, good in zip(torch.split(scores, sizes), torch.split(right, sizes), strict=True):
        everything = torch.logsumexp(torch.cat([some, some.new_zeros(1)]), 0)
        losses.append(everything - torch.logsumexp(some[good], 0) if good.any() else everything)
    return torch.stack(losses).mean()


def export_readers(models: Sequence[ReaderModel], path: Path) -> None:
    """Writes readers as one ONNX graph that averages their scores, for one question at a time."""
    import warnings

    rows, length, dimension, features = 3, 16, models[0].metric.in_features, len(models[0].mean)
    whole = torch.ones(rows, length, dtype=torch.int64)
    inputs = (
        torch.rand(rows, length, dimension), whole, whole, whole, whole, torch.rand(rows, length),
        torch.rand(rows, features), torch.rand(rows),
    )  # fmt: skip
    names = ["vectors", "tags", "forms", "segments", "positions", "weights", "features", "prior"]
    axes = {name: {0: "rows", 1: "length"} for name in names[:6]} | {
        name: {0: "rows"} for name in (*names[6:], "scores")
    }
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # torch would rather be asked for its new exporter, which needs onnxscript
        torch.onnx.export(
            Readers(models).eval(),
            inputs,
            str(path),
            input_names=names,
            output_names=["scores"],
            dynamic_axes=axes,
            dynamo=False,
        )
