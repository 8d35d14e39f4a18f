"""How large, how fast and how far from home the embedded model is."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from compression.artefacts import model_folder
from compression.audio.collections import EMODB_LABELS, find
from compression.audio.decoding import blocks
from compression.audio.features import RATE
from compression.audio.infer import MODEL_FILE, NAME, Recogniser

_SECONDS, _REPEATS = 3, 50


def speed(recogniser: Recogniser | None = None) -> dict[str, Any]:
    """Bytes of the model, and milliseconds from samples to probabilities for three seconds of sound on one core.

    Args:
        recogniser: to measure; the embedded one by default.

    Raises:
        ModelError: the embedded model is missing or damaged.
    """
    recogniser = recogniser or Recogniser.load()
    noise = np.random.default_rng(0).normal(0, 0.1, _SECONDS * RATE).astype(np.float32)
    taken = []
    for _ in range(_REPEATS + 1):
        began = time.perf_counter()
        recogniser.hear([noise])
        taken.append((time.perf_counter() - began) * 1000)
    median, slow = np.percentile(taken[1:], [50, 95])
    return {
        "bytes": (model_folder(NAME) / MODEL_FILE).stat().st_size,
        "seconds_of_sound": _SECONDS,
        "median_ms": round(float(median), 2),
        "p95_ms": round(float(slow), 2),
    }


def abroad(data: Path) -> dict[str, Any]:
    """The accuracy on acted German (EMO-DB), which did not train the model: clips whose emotion both collections name.

    Only the emotions that both have compete.

    Args:
        data: holds EMO-DB's clips, at any depth.

    Raises:
        TrainingDataError: there are none.
        AudioError: a clip cannot be read.
    """
    recogniser = Recogniser.load()
    shared = [label for label in EMODB_LABELS if label in recogniser.labels]
    places = [recogniser.labels.index(label) for label in shared]
    right: list[bool] = []
    named: list[bool] = []
    for clip in find(data, "EMO-DB").clips:
        label = EMODB_LABELS[clip.label]
        heard = recogniser.hear(blocks(clip.path)).probabilities
        if label in shared and heard:
            right.append(shared[int(np.argmax([heard[place] for place in places]))] == label)
            named.append(max(heard) >= recogniser.threshold)
    return {
        "emodb_clips": len(right),
        "emodb_labels": len(shared),
        "emodb_accuracy": round(float(np.mean(right)), 4),
        "emodb_named": round(float(np.mean(named)), 4),
        "emodb_accuracy_named": round(float(np.mean(np.array(right)[named])), 4) if any(named) else None,
    }
