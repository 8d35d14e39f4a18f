"""Trains, measures, chooses on the validation pictures, and writes the embedded networks and their table."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from compression.errors import TrainingDataError
from compression.vision.super_resolution.data import TEST_SETS, exact_pair, read_validation, test_files
from compression.vision.super_resolution.evaluate import (
    BICUBIC,
    Candidate,
    Scores,
    candidates,
    mean_psnr,
    measure,
)
from compression.vision.super_resolution.infer import CONFIG, Speed, Upscaler, file_name
from compression.vision.super_resolution.metrics import luma, psnr, shaved
from compression.vision.super_resolution.recipe import Preset
from compression.vision.super_resolution.resize import Pixels
from compression.vision.super_resolution.study import EXITS, TEACHER, TWIN, networks

TABLE = "BENCHMARK.md"
MOST_PARAMETERS = 250_000
_TITLE = "# Benchmark\n\nWritten by `damso train super-resolution`: PSNR in dB / SSIM, on luma.\n"
_CHOSEN_ON = 16  # validation pictures

Rows = dict[str, Scores]


def publish(
    data: Path, run: Path, out: Path, preset: Preset, minutes: float | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> dict[int, Rows]:  # fmt: skip
    """Everything, from pictures to embedded networks.

    Args:
        data: folder of pictures, see `data`.
        run: folder for checkpoints, logs and scores.
        out: gets the networks, ``config.json`` and ``BENCHMARK.md``; only if they beat bicubic on every test set.
        preset: sizes and lengths.
        minutes: of training; what is missing is learnt the next time.
        say: is told, in Korean, what was measured and written.

    Returns:
        For each scale its rows.

    Raises:
        TrainingDataError: pictures are missing or cannot be read, or a test set is not there at all.
        OutOfTime: the minutes are over.
    """
    trained = networks(data, run, preset, minutes)
    every = test_files(data)
    files = {name: found for name, found in every.items() if name in (preset.sets or TEST_SETS)}
    if not files:
        raise TrainingDataError("시험 사진이 없어요.", f"test/{TEST_SETS[0]} 같은 폴더에 사진을 넣어 주세요.")
    validation = read_validation(data, _CHOSEN_ON)
    rows: dict[int, Rows] = {}
    embedded: dict[int, Rows] = {}
    chosen: dict[tuple[Speed, int], Candidate] = {}
    sizes: dict[str, int] = {}
    for scale, made in trained.items():
        exported, cache = candidates(made), run / f"x{scale}" / "scores.json"
        sizes |= {f"{one.name} {scale}": one.parameters for one in exported}
        rows[scale] = measure(exported, files, scale, cache)
        picked = {
            Speed.quality: best_small(exported, validation),
            Speed.fast: fast_one(exported, validation),
        }
        chosen |= {(speed, scale): one for speed, one in picked.items()}
        embedded[scale] = measure(list(picked.values()), every, scale, cache)
        say(_lines(scale, rows[scale]))
    tables = table("Every row", rows, sizes) + table("What is embedded", embedded, sizes)
    (run / TABLE).write_text(_TITLE + tables, encoding="utf-8")
    worse = {one.name for one in chosen.values() if not beats_bicubic(embedded[one.scale], one.name)}
    if worse:
        say(f"bicubic보다 못한 시험이 있어서 모델을 쓰지 않았어요: {', '.join(sorted(worse))}")
        return rows
    write(chosen, out)
    (out / TABLE).write_text(_TITLE + tables, encoding="utf-8")
    say(f"{out}에 모델을 썼어요.")
    return rows


def best_small(exported: Sequence[Candidate], validation: Sequence[Pixels]) -> Candidate:
    """The network with the highest PSNR on the validation pictures, of those small enough to be embedded."""
    small = [one for one in exported if one.name != TEACHER and one.parameters <= MOST_PARAMETERS]
    return _best(small, validation)


def fast_one(exported: Sequence[Candidate], validation: Sequence[Pixels]) -> Candidate:
    """The early exit half way, or its twin that was trained alone, whichever is better on the validation pictures."""
    early = [one for one in exported if one.name.startswith(f"{EXITS}@")][:-1]
    middle = early[len(early) // 2]
    twin = middle.name.replace(f"{EXITS}@", f"{TWIN} ")
    return _best([middle, *(one for one in exported if one.name == twin)], validation)


def beats_bicubic(rows: Rows, name: str) -> bool:
    """Whether a row's PSNR and SSIM are above bicubic's on every test set."""
    return all(
        found[place] > bicubic[place]
        for found, bicubic in zip(rows[name].values(), rows[BICUBIC].values(), strict=True)
        for place in (0, 1)
    )


def write(chosen: Mapping[tuple[Speed, int], Candidate], out: Path) -> None:
    """Write the networks and, last, the file that describes them."""
    out.mkdir(parents=True, exist_ok=True)
    described: dict[str, dict[str, Any]] = {}
    for (speed, scale), one in chosen.items():
        (out / file_name(speed, scale)).write_bytes(one.model)
        about = {"network": one.name, "parameters": one.parameters, "radius": one.radius}
        described.setdefault(speed.value, {})[str(scale)] = about
    (out / CONFIG).write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")


def table(title: str, rows: Mapping[int, Rows], sizes: Mapping[str, int]) -> str:
    """Rows as Markdown, a table a scale."""
    lines: list[str] = []
    for scale, found in rows.items():
        sets = list(found[BICUBIC])
        lines += [
            "",
            f"## {title}, ×{scale}",
            "",
            f"| row | parameters | {' | '.join(sets)} | mean PSNR |",
            "|---" * (len(sets) + 3) + "|",
        ]
        for name, scores in found.items():
            size = sizes.get(f"{name} {scale}")
            cells = [f"{a:.2f} / {b:.4f}" for a, b in scores.values()]
            lines.append(
                f"| {name} | {f'{size:,}' if size else '–'} | {' | '.join(cells)} | {mean_psnr(scores):.3f} |"
            )
    return "\n".join(lines) + "\n"


def _best(found: Sequence[Candidate], validation: Sequence[Pixels]) -> Candidate:
    pairs = [exact_pair(picture, found[0].scale) for picture in validation]

    def on_validation(one: Candidate) -> float:
        upscaler = Upscaler(one.model, one.scale, one.radius)
        truths = ((shaved(luma(pair.high), one.scale), pair.low) for pair in pairs)
        return sum(psnr(shaved(luma(upscaler(low)), one.scale), truth) for truth, low in truths)

    return max(found, key=on_validation)


def _lines(scale: int, rows: Rows) -> str:
    return "\n".join(f"×{scale} {name}: {mean_psnr(scores):.3f} dB" for name, scores in rows.items())
