"""Trains networks side by side: every one sees the same patches in the same order, and a teacher looks only once.

So rows of a comparison differ in what they learn from and in nothing else, and six students cost little more than the
largest of them.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from compression.vision.super_resolution import losses
from compression.vision.super_resolution.data import Pair, Patches
from compression.vision.super_resolution.metrics import luma, psnr, shaved
from compression.vision.super_resolution.model import Look, Network
from compression.vision.super_resolution.recipe import Recipe
from compression.vision.super_resolution.resize import Pixels, to_pixels

Objective = Literal["truth", "teacher", "contrast", "exits"]

CHECKPOINT, LOG = "checkpoint.safetensors", "log.jsonl"
_WARM = 0.05
_LARGEST_GRADIENT = 1.0


@dataclass
class Learner:
    """A network and what it learns from.

    Attributes:
        network: to train.
        objective: ``truth`` alone; the ``teacher``'s pictures too; these and its features by ``contrast``; or every
            one of its own ``exits``.
        bridges: 1×1 convolutions from the network's taps to the teacher's width; they are dropped after training.
    """

    network: Network
    objective: Objective = "truth"
    bridges: nn.ModuleList = field(default_factory=nn.ModuleList)

    def loss(self, low: Tensor, high: Tensor, teacher: Look | None, contrast: float) -> Tensor:
        """The objective on a batch, a scalar.

        Args:
            low: float [batch, 3, height, width] in [0, 1].
            high: float [batch, 3, height · scale, width · scale].
            teacher: what the teacher makes of it; None where nobody learns from one.
            contrast: weight of the contrastive part.
        """
        look = self.network.look(low)
        if self.objective == "exits":
            return losses.exits(look.images, high)
        image = look.images[-1]
        loss = losses.by_patch(image, high).mean()
        if self.objective == "truth" or teacher is None:
            return loss
        wanted = teacher.images[-1]
        if self.objective == "teacher":
            return loss + losses.by_patch(image, wanted).mean()
        better = losses.teacher_is_better(image, wanted, high)
        taps = [bridge(tap).float() for bridge, tap in zip(self.bridges, look.taps, strict=True)]
        apart = losses.contrast(taps, [tap.float() for tap in teacher.taps])
        return loss + (better * (losses.by_patch(image, wanted) + contrast * apart)).mean()


def learner(network: Network, objective: Objective, teacher: Network | None = None) -> Learner:
    """A learner with the bridges that its objective needs."""
    made = Learner(network, objective)
    if objective == "contrast" and teacher is not None:
        widths = network.architecture.channels, teacher.architecture.channels
        made.bridges = nn.ModuleList([nn.Conv2d(*widths, 1) for _ in network.architecture.taps])
    return made


def rate_factor(step: int, steps: int) -> float:
    """Linear up over a twentieth of the steps, then down along a cosine to zero."""
    warm = max(1, int(steps * _WARM))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def train(
    learners: Mapping[str, Learner], patches: Patches | None, recipe: Recipe, folder: Path,
    validation: Sequence[Pair], teacher: Network | None = None, contrast: float = 0.0,
    note: Callable[[], None] = lambda: None,
) -> None:  # fmt: skip
    """Train, or go on training, all learners in place.

    Args:
        learners: by name.
        patches: of the training pictures; None is enough for a training that is finished.
        recipe: how long and how fast.
        folder: gets the checkpoint and the log; one that is there is gone on from.
        validation: pictures for the log.
        teacher: stays as it is.
        contrast: weight of the contrastive loss.
        note: called after every step; it may raise to stop, after which the same call goes on from the last check.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    modules = _modules(learners)
    for module in (modules, *([teacher] if teacher else [])):
        module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(modules.parameters(), lr=recipe.rate, betas=(0.9, 0.99))
    folder.mkdir(parents=True, exist_ok=True)
    start = _restore(folder, modules, optimizer)
    if start >= recipe.steps or patches is None:
        return
    bar = tqdm(range(start, recipe.steps), initial=start, total=recipe.steps, desc=folder.name, mininterval=5)
    began = time.monotonic()
    for step in bar:
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate * rate_factor(step, recipe.steps)
        losses_now = _step(learners, patches, recipe, step, device, teacher, contrast)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if (step + 1) % recipe.check == 0 or step + 1 == recipe.steps:
            figures = {name: check(one.network, validation) for name, one in learners.items()}
            _save(folder, modules, optimizer, step + 1)
            line = {
                "step": step + 1,
                "seconds": round(time.monotonic() - began, 1),
                "loss": losses_now,
                "psnr": figures,
            }
            with (folder / LOG).open("a", encoding="utf-8") as log:
                log.write(json.dumps(line) + "\n")
            bar.set_postfix_str(" ".join(f"{name} {values[-1]:.2f}" for name, values in figures.items()))
        note()


def finished(folder: Path, recipe: Recipe) -> bool:
    """Whether a training of this recipe in the folder has come to its end."""
    return _progress(folder) >= recipe.steps


def check(network: Network, pairs: Sequence[Pair]) -> list[float]:
    """Mean PSNR on luma in dB without the border, for every depth with a picture."""
    border = network.architecture.scale
    sums = [0.0] * len(network.architecture.depths)
    for pair in pairs:
        truth = shaved(luma(pair.high), border)
        for place, image in enumerate(enlarge(network, pair.low)):
            sums[place] += psnr(shaved(luma(image), border), truth)
    return [round(total / len(pairs), 3) for total in sums]


def enlarge(network: Network, low: Pixels) -> list[Pixels]:
    """The picture at every depth, uint8 [height · scale, width · scale, channels]; grey stays grey."""
    device = next(network.parameters()).device
    grey = low.shape[2] == 1
    tensor = torch.from_numpy(low.transpose(2, 0, 1).copy())[None].to(device, torch.float32) / 255
    tensor = tensor.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        images = network.look(tensor).images
    found = [to_pixels(image[0].permute(1, 2, 0).float().cpu().numpy() * 255) for image in images]
    return (
        [to_pixels(image.mean(axis=2, keepdims=True, dtype="float64")) for image in found] if grey else found
    )


def _step(
    learners: Mapping[str, Learner], patches: Patches, recipe: Recipe, step: int, device: torch.device,
    teacher: Network | None, contrast: float,
) -> dict[str, float]:  # fmt: skip
    arrays = patches.batch(step, recipe.batch)
    low, high = (torch.from_numpy(array).to(device, memory_format=torch.channels_last) for array in arrays)
    found = {}
    with torch.autocast(device.type, torch.bfloat16, enabled=_has_bfloat16(device)):
        look = None
        if teacher is not None:
            with torch.no_grad():
                look = teacher.look(low)
        for name, one in learners.items():
            loss = one.loss(low, high, look, contrast)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(one.network.parameters(), _LARGEST_GRADIENT)
            found[name] = round(float(loss.detach()), 5)
    return found


def _has_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is faster than single precision here."""
    return device.type == "cuda" or bool(torch.cpu.get_capabilities().get("avx512_bf16"))


def _modules(learners: Mapping[str, Learner]) -> nn.ModuleDict:
    return nn.ModuleDict(
        {
            name: nn.ModuleDict({"network": one.network, "bridges": one.bridges})
            for name, one in learners.items()
        }
    )


def _save(folder: Path, modules: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    """Weights and the optimiser's state in one file, swapped in whole."""
    tensors = {f"model.{name}": value for name, value in modules.state_dict().items()}
    for number, entry in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{key}": value for key, value in entry.items()}
    partial = folder / f"{CHECKPOINT}.partial"
    # The layout for convolutions does not survive the file.
    save_file({name: value.contiguous() for name, value in tensors.items()}, partial, {"step": str(step)})
    partial.replace(folder / CHECKPOINT)


def _restore(folder: Path, modules: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    step = _progress(folder)
    if not step:
        return 0
    tensors = load_file(folder / CHECKPOINT)
    modules.load_state_dict(
        {name.removeprefix("model."): value for name, value in tensors.items() if name.startswith("model.")}
    )
    state: dict[int, dict[str, Any]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, number, key = name.split(".", 2)
            state.setdefault(int(number), {})[key] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    return step


def _progress(folder: Path) -> int:
    from safetensors import safe_open

    if not (folder / CHECKPOINT).is_file():
        return 0
    with safe_open(folder / CHECKPOINT, "pt") as file:
        return int(file.metadata()["step"])
