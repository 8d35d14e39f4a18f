"""``damso train audio``: the networks under three protocols, fold by fold, and the figures of all folds.

A finished fold is kept in the run's folder, so an interrupted run goes on with the next one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from compression.audio.augmentation import variants
from compression.audio.collections import Collection, find, random_folds, speaker_folds
from compression.audio.decoding import blocks
from compression.audio.export import to_onnx
from compression.audio.features import Floats
from compression.audio.model import parameters
from compression.audio.train import COMPACT, ROUTING, Integers, Progress, Recipe, Trained, Variant, train
from compression.runtime import session

_FOLD_SEED = 0
_LAYOUT = 1  # of the files in the run's folder; raised when the features change


class Protocol(StrEnum):
    """How clips are divided. A random fold's test clips have speakers that were heard in training."""

    random = "random"
    speaker = "speaker"


FOLDS = {Protocol.random: 10, Protocol.speaker: 6}


@dataclass(frozen=True)
class Prepared:
    """A collection with its features.

    Attributes:
        collection: labels and clips.
        features: float32 [clips, variants, 196, 39].
        labels: int64 [clips].
    """

    collection: Collection
    features: Floats
    labels: Integers


@dataclass(frozen=True)
class Fold:
    """The outcome of one fold.

    Attributes:
        test: numbers of the tested clips.
        logits: of the float network after its last epoch, [tested clips, classes].
        logits_int8: of the exported network; empty for RoutingConvNet, which is not exported.
        curve: accuracy on the test after every epoch.
        parameters: of the network.
    """

    test: list[int]
    logits: list[list[float]]
    logits_int8: list[list[float]]
    curve: list[float]
    parameters: int


def recipe_of(variant: Variant) -> Recipe:
    """The schedule of a network."""
    return COMPACT if variant is Variant.compact else ROUTING


def prepare(data: Path, run: Path, name: str, progress: Progress = lambda: None) -> Prepared:
    """A collection's features, computed once and kept in the run's folder.

    Args:
        data: holds the clips, at any depth.
        run: where features are kept.
        name: ``RAVDESS`` or ``EMO-DB``.
        progress: called after every clip.

    Raises:
        TrainingDataError: no clip of the collection is there.
        AudioError: a clip cannot be read.
    """
    collection = find(data, name)
    labels = np.array([clip.label for clip in collection.clips], np.int64)
    kept = run / f"{name}-{_LAYOUT}-{len(labels)}.npy"
    if kept.is_file():
        return Prepared(collection, np.load(kept), labels)
    given = []
    for number, clip in enumerate(collection.clips):
        given.append(variants(np.concatenate([np.zeros(0, np.float32), *blocks(clip.path)]), number))
        progress()
    features = np.stack(given)
    run.mkdir(parents=True, exist_ok=True)
    partial = kept.with_suffix(".partial")
    with partial.open("wb") as file:
        np.save(file, features)
    partial.replace(kept)
    return Prepared(collection, features, labels)


def folds_of(prepared: Prepared, protocol: Protocol, folds: int) -> list[list[int]]:
    """The numbers of the tested clips, fold by fold."""
    clips = prepared.collection.clips
    if protocol is Protocol.speaker:
        return list(speaker_folds(clips, folds))
    return list(random_folds(len(clips), folds, _FOLD_SEED))


def run_fold(
    prepared: Prepared, variant: Variant, test: Sequence[int], recipe: Recipe, progress: Progress = lambda: None
) -> Fold:  # fmt: skip
    """Train on all clips but the test's, and test once the schedule has ended."""
    tested = np.array(test)
    training = np.setdiff1d(np.arange(len(prepared.labels)), tested)
    classes = len(prepared.collection.labels)
    done = train(variant, prepared.features, prepared.labels, classes, training, tested, recipe, progress)
    rounded = (
        _int8_logits(done, prepared.features[tested, 0]) if variant is Variant.compact else np.zeros((0, 0))
    )
    return Fold(
        list(test), done.logits.tolist(), rounded.tolist(), list(done.curve), parameters(done.network)
    )  # fmt: skip


def cross_validate(
    prepared: Prepared, variant: Variant, protocol: Protocol, run: Path, folds: int, recipe: Recipe,
    most: int | None = None, progress: Progress = lambda: None,
) -> list[Fold]:  # fmt: skip
    """Run the folds that are not there yet, and give all that are.

    Args:
        prepared: the collection.
        variant: the network.
        protocol: how clips are divided.
        run: where finished folds are kept.
        folds: to divide into.
        recipe: the schedule; folds of another schedule are run anew.
        most: how many folds to run at most; None runs all.
        progress: called after every epoch.
    """
    given = []
    for number, test in enumerate(folds_of(prepared, protocol, folds)[:most]):
        path = run / f"{prepared.collection.name}-{variant}-{protocol}-{number + 1}of{folds}.json"
        fold = _kept(path, recipe)
        if fold is None:
            fold = run_fold(prepared, variant, test, replace(recipe, seed=number), progress)
            _keep(path, recipe, fold)
        given.append(fold)
    return given


def figures(
    prepared: Prepared, variant: Variant, protocol: Protocol, folds: Sequence[Fold], of: int
) -> dict[str, Any]:
    """What the folds show together.

    Args:
        prepared: the collection.
        variant: the network.
        protocol: how clips were divided.
        folds: that were run.
        of: folds that there are.

    Returns:
        ``war``, share of all tested clips that are right after the last epoch (weighted accuracy), and ``uar``, the
        mean over emotions; ``war_best_epoch``, the paper's way: each fold's best epoch on its own test, an optimistic
        figure; ``benefit_cost``, that WAR in percent over parameters, times 10⁵; ``war_int8`` where exported.
    """
    tested = np.concatenate([fold.test for fold in folds])
    wanted = prepared.labels[tested]
    right = np.concatenate([np.array(fold.logits) for fold in folds]).argmax(1) == wanted
    sizes = [len(fold.test) for fold in folds]
    by_fold = [fold.curve[-1] for fold in folds]
    best = float(np.average([max(fold.curve) for fold in folds], weights=sizes))
    size = folds[0].parameters
    found: dict[str, Any] = {
        "collection": prepared.collection.name, "network": variant.value, "protocol": protocol.value,
        "folds": f"{len(folds)}/{of}", "clips": len(tested), "epochs": len(folds[0].curve), "parameters": size,
        "war": round(float(right.mean()), 4), "fold_deviation": round(float(np.std(by_fold)), 4),
        "uar": round(float(np.mean([right[wanted == label].mean() for label in np.unique(wanted)])), 4),
        "war_best_epoch": round(best, 4), "benefit_cost": round(best * 100 / size * 1e5, 2),
        "benefit_cost_last_epoch": round(float(right.mean()) * 100 / size * 1e5, 2),
    }  # fmt: skip
    if folds[0].logits_int8:
        rounded = np.concatenate([np.array(fold.logits_int8) for fold in folds]).argmax(1) == wanted
        found["war_int8"] = round(float(rounded.mean()), 4)
    return found


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The figures as Markdown."""
    columns = {
        "collection": "collection", "network": "network", "parameters": "parameters", "protocol": "folds",
        "folds": "folds run", "epochs": "epochs", "war": "WAR, last epoch", "uar": "UAR, last epoch",
        "war_int8": "WAR, int8", "war_best_epoch": "WAR, best epoch on the test fold (the paper's way)",
        "benefit_cost": "benefit–cost, the paper's way", "benefit_cost_last_epoch": "benefit–cost, last epoch",
    }  # fmt: skip
    shares = ("war", "uar", "war_int8", "war_best_epoch")
    lines = ["| " + " | ".join(columns.values()) + " |", "|---" * len(columns) + "|"]
    for row in rows:
        cells = [
            "–" if name not in row else f"{row[name]:.2%}" if name in shares else f"{row[name]}"
            for name in columns
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _int8_logits(done: Trained, features: Floats) -> Floats:
    """What the exported network says to float32 [clips, 196, 39] that are not standardised."""
    runner = session(to_onnx(done.network, done.scaling, bits=8), 1)
    logits: Floats = runner.run(None, {"mfcc": features})[0]
    return logits


def _keep(path: Path, recipe: Recipe, fold: Fold) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps({"recipe": asdict(recipe), "fold": asdict(fold)}), encoding="utf-8")
    partial.replace(path)


def _kept(path: Path, recipe: Recipe) -> Fold | None:
    if not path.is_file():
        return None
    values = json.loads(path.read_text(encoding="utf-8"))
    same = values["recipe"] == json.loads(json.dumps(asdict(recipe)))
    return Fold(**values["fold"]) if same else None
