"""PSNR and SSIM of exported networks on the public test sets, with bicubic enlargement as the check row.

What is measured is the ONNX file as it is served: half-precision weights, tiles, 8-bit pixels.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tqdm import tqdm

from compression.vision.super_resolution.data import exact_pair, read_picture
from compression.vision.super_resolution.export import to_onnx
from compression.vision.super_resolution.infer import Upscaler
from compression.vision.super_resolution.metrics import luma, psnr, shaved, ssim
from compression.vision.super_resolution.model import Network, parameters
from compression.vision.super_resolution.resize import Pixels, bicubic_pixels

BICUBIC = "bicubic"
Enlarge = Callable[[Pixels], Pixels]
Scores = dict[str, tuple[float, float]]
"""Test set → mean PSNR in dB and mean SSIM."""


@dataclass(frozen=True)
class Candidate:
    """A network at one of its depths, exported.

    Attributes:
        name: of its row.
        scale: factor of enlargement.
        parameters: of the part that the export holds.
        radius: how far a pixel of the result looks.
        model: the ONNX file.
    """

    name: str
    scale: int
    parameters: int
    radius: int
    model: bytes


def candidates(networks: Mapping[str, Network]) -> list[Candidate]:
    """Every network at each of its depths: those of a network with exits are ``name@depth``."""
    found = []
    for name, network in networks.items():
        shape = network.architecture
        for depth in shape.depths:
            label = f"{name}@{depth}" if shape.exits else name
            used = [network.head, *network.blocks[:depth], network.tails[str(depth)]]
            found.append(
                Candidate(
                    label, shape.scale, sum(map(parameters, used)), shape.radius, to_onnx(network, depth)
                )
            )
    return found


def measure(
    measured: Sequence[Candidate], files: Mapping[str, Sequence[Path]], scale: int, cache: Path
) -> dict[str, Scores]:
    """Score candidates and bicubic on test sets.

    Args:
        measured: of one scale.
        files: test set → its pictures.
        scale: factor of enlargement.
        cache: JSON file that keeps scores by the digest of the model, so that an interrupted run goes on.

    Returns:
        Row → its scores, bicubic's first.
    """
    known = json.loads(cache.read_text(encoding="utf-8")) if cache.is_file() else {}
    rows: dict[str, tuple[str, Enlarge]] = {BICUBIC: (BICUBIC, partial(bicubic_pixels, scale=scale))}
    for one in measured:
        digest = hashlib.sha256(one.model).hexdigest()[:16]
        rows[one.name] = (digest, Upscaler(one.model, scale, one.radius))
    for name, pictures in files.items():
        missing = {key: enlarge for key, enlarge in rows.values() if f"{key} {name}" not in known}
        if missing:
            scores = _scores(missing, pictures, scale, name)
            known |= {f"{key} {name}": score for key, score in scores.items()}
            cache.parent.mkdir(parents=True, exist_ok=True)
            cache.write_text(json.dumps(known, indent=1), encoding="utf-8")
    return {row: {name: tuple(known[f"{key} {name}"]) for name in files} for row, (key, _) in rows.items()}


def mean_psnr(scores: Scores) -> float:
    """Mean over the test sets, in dB."""
    return sum(found for found, _ in scores.values()) / len(scores)


def _scores(
    rows: Mapping[str, Enlarge], pictures: Sequence[Path], scale: int, name: str
) -> dict[str, tuple[float, float]]:
    sums = {key: [0.0, 0.0] for key in rows}
    for file in tqdm(pictures, desc=f"{name} ×{scale}", unit="장", leave=False):
        pair = exact_pair(read_picture(file), scale)
        truth = shaved(luma(pair.high), scale)
        for key, enlarge in rows.items():
            found = shaved(luma(enlarge(pair.low)), scale)
            sums[key][0] += psnr(found, truth)
            sums[key][1] += ssim(found, truth)
    return {key: (round(a / len(pictures), 4), round(b / len(pictures), 5)) for key, (a, b) in sums.items()}
