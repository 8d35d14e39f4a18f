"""Public sets of labelled utterances with their training and held-out sides, read from the data folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from compression.language.corpus import is_held_out, read_jsonl

_HELD_OUT_PERCENT = 20
_OUTSIDE = 4000


@dataclass(frozen=True)
class LabelledSet:
    """A public set: training and held-out texts with their labels, and texts of no label.

    Attributes:
        outside: out-of-domain texts; the first half trains ``none``, the second half is held out.
    """

    name: str
    train: list[tuple[str, str]]
    test: list[tuple[str, str]]
    outside: tuple[str, ...] = ()

    def sample(self, most: int) -> LabelledSet:
        """At most so many lines of either side, always the same."""
        train, test, outside = (_chosen(side, most) for side in (self.train, self.test, self.outside))
        return replace(self, train=train, test=test, outside=tuple(outside))


def labelled_sets(data: Path) -> list[LabelledSet]:
    """StyleKQC topics and acts, kochat, 3i4k and KLUE-TC; held out by their own split, or by hash of the text.

    StyleKQC's ten paraphrases stand together in its own split. Texts of the held-out side never train.

    Raises:
        TrainingDataError: a file is missing or malformed.
    """
    style = list(read_jsonl(data / "intent" / "stylekqc.jsonl.xz"))
    parts = {
        side: [row for row in style if (row["split"] == "dev") == (side == "test")]
        for side in ("train", "test")
    }
    sets = []
    for key in ("topic", "act"):
        train, test = ([(row["text"], str(row[key])) for row in parts[side]] for side in ("train", "test"))
        sets.append(LabelledSet(f"stylekqc_{key}s", train, test))
    strange = sorted({row["text"] for row in read_jsonl(data / "intent" / "kochat_ood.jsonl.xz")})
    for name in ("kochat", "3i4k", "klue_tc"):
        rows = read_jsonl(data / "intent" / f"{name}.jsonl.xz")
        lines = dict.fromkeys((row["text"].strip(), str(row["label"])) for row in rows)
        train = [line for line in lines if not is_held_out(line[0], _HELD_OUT_PERCENT)]
        test = [line for line in lines if is_held_out(line[0], _HELD_OUT_PERCENT)]
        outside = tuple(_chosen(strange, _OUTSIDE)) if name == "kochat" else ()
        sets.append(LabelledSet(name, train, test, outside))
    return sets


def _chosen(items: Sequence[Any], most: int) -> list[Any]:
    return [items[place] for place in np.random.default_rng(0).permutation(len(items))[:most]]
