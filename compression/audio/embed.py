"""Makes the embedded model: trained on every speaker, calibrated on speakers who were held out of training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compression.audio.evaluate import Fold, Prepared
from compression.audio.export import to_onnx
from compression.audio.infer import (
    CONFIG_FILE,
    MODEL_FILE,
    Doubles,
    calibrated,
    calibration_error,
    fit_temperature,
)
from compression.audio.train import Progress, Recipe, Variant, train

_WANTED_PRECISION = 0.75
"""Share of named emotions that have to be right on held-out speakers; below, the tool says that it is not sure."""


def embed(
    prepared: Prepared, folds: Sequence[Fold], recipe: Recipe, out: Path, progress: Progress = lambda: None
) -> dict[str, Any]:  # fmt: skip
    """Train on all clips and write ``model.onnx`` (int8) and ``config.json``.

    Args:
        prepared: the collection.
        folds: of the compact network with speakers apart; their logits fit temperature and threshold.
        recipe: the schedule, the same as the folds'.
        out: folder of the model.
        progress: called after every epoch.

    Returns:
        Temperature, threshold and what they mean on held-out speakers.
    """
    everything = np.arange(len(prepared.labels))
    none = np.zeros(0, np.int64)
    classes = len(prepared.collection.labels)
    done = train(
        Variant.compact, prepared.features, prepared.labels, classes, everything, none, recipe, progress
    )
    model = to_onnx(done.network, done.scaling, bits=8)
    figures = {**calibrate(prepared, folds), "bytes": len(model)}
    config = {"labels": list(prepared.collection.labels), **figures}
    out.mkdir(parents=True, exist_ok=True)
    _write(out / MODEL_FILE, model)
    _write(out / CONFIG_FILE, (json.dumps(config, indent=2) + "\n").encode())
    return figures


def calibrate(prepared: Prepared, folds: Sequence[Fold]) -> dict[str, Any]:
    """Temperature and threshold from what the int8 networks say to speakers whom they have not heard.

    Args:
        prepared: the collection.
        folds: of the compact network with speakers apart.
    """
    logits = np.concatenate([np.array(fold.logits_int8, np.float32) for fold in folds])
    labels = prepared.labels[np.concatenate([fold.test for fold in folds])]
    temperature = fit_temperature(logits, labels)
    probabilities = calibrated(logits, temperature)
    threshold = fit_threshold(probabilities, labels)
    named = probabilities.max(1) >= threshold
    right = probabilities.argmax(1) == labels
    return {
        "temperature": round(temperature, 4),
        "threshold": round(threshold, 4),
        "held_out_accuracy": round(float(right.mean()), 4),
        "held_out_named": round(float(named.mean()), 4),
        "held_out_accuracy_named": round(float(right[named].mean()), 4) if named.any() else None,
        "calibration_error_before": round(calibration_error(calibrated(logits, 1.0), labels), 4),
        "calibration_error": round(calibration_error(probabilities, labels), 4),
    }


def fit_threshold(probabilities: Doubles, labels: NDArray[np.int64]) -> float:
    """The lowest probability from which on at least three of four named emotions are right.

    Args:
        probabilities: calibrated, float64 [clips, labels].
        labels: int64 [clips].

    Returns:
        At least one half: what is less likely than not is never named.
    """
    best, right = probabilities.max(1), probabilities.argmax(1) == labels
    for threshold in np.arange(0.5, 0.95, 0.01):
        named = best >= threshold
        if named.any() and right[named].mean() >= _WANTED_PRECISION:
            return float(threshold)
    return 0.95


def _write(path: Path, content: bytes) -> None:
    partial = path.with_suffix(".partial")
    partial.write_bytes(content)
    partial.replace(path)
