"""From normal records to a profile: what `damso iot learn` does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from compression.iot.errors import TrafficError
from compression.iot.export import stored, to_onnx
from compression.iot.features import (
    ColumnChoice,
    Doubles,
    Floats,
    Records,
    Scaler,
    Schema,
    constant_features,
)
from compression.iot.infer import Detector
from compression.iot.model import Autoencoder
from compression.iot.profiles import Profile, checked_name
from compression.iot.threshold import Vote, fit_threshold
from compression.iot.train import Progress, Recipe, prune_units, train, tune_for_int8

FEWEST_RECORDS = 300
_BLOCKS = 20
_PARTS = {"training": 13, "validation": 2, "threshold": 3, "check": 2}
_LEAST_SPREAD = 0.01  # interquartile ranges; what a perfectly rebuilt record is still allowed to be off


@dataclass(frozen=True)
class Parts:
    """Normal records by what they are for; float32 [records, features] each.

    Attributes:
        training: trains the network and the scaler.
        validation: stops the training and gives the normal spread of its errors.
        threshold: fits the threshold.
        check: measures the share of false alarms afterwards.
    """

    training: Floats
    validation: Floats
    threshold: Floats
    check: Floats


def split(values: Floats) -> Parts:
    """Cut normal records into stretches of time and deal them out.

    Neighbouring records are alike, so that single records dealt out at random would let the network see its own test;
    stretches from the whole time let every part see every hour.

    Args:
        values: float32 [records, features], in the order of time.

    Raises:
        TrafficError: fewer than `FEWEST_RECORDS` records.
    """
    if len(values) < FEWEST_RECORDS:
        raise TrafficError(
            f"기록이 너무 적어요({len(values):,}개).",
            f"기기가 평소처럼 움직인 기록을 {FEWEST_RECORDS:,}개 넘게 모아 주세요.",
        )
    roles = np.repeat(np.arange(len(_PARTS)), list(_PARTS.values()))
    np.random.default_rng(0).shuffle(roles)
    # Every stretch of twenty blocks has all roles; long recordings have several such stretches.
    rounds = max(1, len(values) // 20_000)
    block = np.arange(len(values)) * _BLOCKS * rounds // len(values)
    role = roles[block % _BLOCKS]
    return Parts(*(values[role == number] for number in range(len(_PARTS))))


def profile_of(
    name: str, network: Autoencoder, bits: int, scaler: Scaler, parts: Parts, schema: Schema, capture: bool = False
) -> Profile:  # fmt: skip
    """Export a network and fit what follows it: the normal spread of its errors, then the threshold.

    Both are fitted on the exported network, because pruning and int8 move them.

    Args:
        name: of the device.
        network: trained on ``scaler``'s output.
        bits: 8 or 32.
        scaler: of the features.
        parts: normal records, not standardised.
        schema: of the records.
        capture: whether they come from captures.
    """
    vote = Vote(20, 10) if capture else Vote()
    ones = np.ones(len(schema.features))
    profile = Profile(name, capture, schema, scaler, ones, 0.0, to_onnx(network, bits), vote=vote)
    normal = Detector(profile).errors(parts.validation).mean(axis=0, dtype=np.float64)
    # A feature that is badly rebuilt even when all is well must not drown the rest; one that is rebuilt perfectly
    # must not become a hair trigger, so no feature counts for more than in the plain mean.
    spread: Doubles = np.sqrt(np.maximum(normal, max(float(normal.mean()), _LEAST_SPREAD**2)))
    profile = replace(profile, spread=spread)
    return replace(profile, threshold=fit_threshold(Detector(profile).scores(parts.threshold)))


def learn(
    name: str, records: Sequence[Records], schema: Schema, choice: ColumnChoice | None = None,
    recipe: Recipe | None = None, progress: Progress = lambda: None,
) -> Profile:  # fmt: skip
    """Learn what is normal for a device.

    Args:
        name: of the device.
        records: normal traffic, one item a file, in the order of time; all of ``schema``.
        schema: of the records.
        choice: how the tables were read; None for captures.
        recipe: how to train.
        progress: called after every pass over the records.

    Returns:
        The int8 profile. Its ``figures`` hold the number of ``records``, the ``false_positive_rate`` on normal records
        that played no part, the stored network's ``bytes`` and the float one's ``float_bytes``, and ``constant``
        features.

    Raises:
        TrafficError: too few records, or every feature constant.
    """
    constant = constant_features(records)
    recipe = recipe or Recipe()
    parts = split(np.concatenate([item.values for item in records]))
    scaler = Scaler.fit(parts.training)
    training, validation = scaler(parts.training), scaler(parts.validation)
    network = train(training, validation, recipe, progress)
    units = prune_units(network, training, validation, recipe, progress)
    compact = tune_for_int8(units, network, training, validation, recipe, progress)
    profile = profile_of(checked_name(name), compact, 8, scaler, parts, schema, capture=choice is None)
    above = Detector(profile).scores(parts.check) > profile.threshold
    figures = {
        "learnt": datetime.now(UTC).isoformat(timespec="seconds"),
        "records": sum(len(item.values) for item in records),
        "false_positive_rate": round(float(above.mean()), 5),
        "bytes": len(stored(profile.model)),
        "float_bytes": len(stored(to_onnx(network, 32))),
        "constant": constant,
    }
    rename = {} if choice is None else dict(choice.rename)
    return replace(profile, rename=rename, figures=figures)
