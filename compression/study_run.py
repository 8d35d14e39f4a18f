"""One variant of the study, in a process of its own: tunes, measures memory, time and held-out loss."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

if TYPE_CHECKING:
    import torch

Batch = tuple[NDArray[np.int64], NDArray[np.float32]]

_MOST_STEPS = 4  # times the budget's, for variants that are faster than full tuning
_CURVE_POINTS = 10


@dataclass(frozen=True)
class Job:
    """What a process is to do.

    Attributes:
        variant: ``full`` or ``lora`` with a storage, as in ``lora-nf4``.
        checkpoint: folder to start from.
        batches: file of `Batches`.
        steps: optimiser steps at which the loss is measured.
        seconds: training time at which it is measured too; None for full tuning, which sets that time.
        lora_rank: rank of the adapters.
        learning_rate: of AdamW, constant after a warm-up over 10 % of the steps.
        recompute: whether blocks' activations are computed again for the gradient.
    """

    variant: str
    checkpoint: str
    batches: str
    steps: int
    seconds: float | None
    lora_rank: int
    learning_rate: float
    recompute: bool


@dataclass(frozen=True)
class Result:
    """What a process found.

    Attributes:
        parameters: of the model, adapters included.
        tuned: of them, how many learn.
        weight_bytes: of all parameters as they are stored, without the scales of INT8 and NF4.
        peak_bytes: most memory held, on the GPU where there is one.
        training_bytes: of that, what is above the interpreter with its libraries.
        seconds: training time of the budget's steps.
        steps_in_time: steps done in the time that full tuning takes for the budget's.
        loss_before: held-out loss in nats a token before tuning.
        loss_at_steps: the same after the budget's steps.
        loss_at_time: the same after full tuning's time.
        curve: (step, seconds, held-out loss) on the way.
    """

    parameters: int
    tuned: int
    weight_bytes: int
    peak_bytes: int
    training_bytes: int
    seconds: float
    steps_in_time: int
    loss_before: float
    loss_at_steps: float
    loss_at_time: float
    curve: list[tuple[int, float, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Batches:
    """Training and held-out batches: ids int64 [rows, length] and weights float32 [rows, length] each."""

    train: list[Batch]
    held_out: list[Batch]

    @staticmethod
    def pack(train: Sequence[Batch], held_out: Sequence[Batch]) -> dict[str, NDArray[np.float32]]:
        """As tensors by name; ids fit into float32 exactly."""
        return {
            f"{kind}.{number:06d}.{part}": array.astype(np.float32)
            for kind, batches in (("train", train), ("held_out", held_out))
            for number, batch in enumerate(batches)
            for part, array in (("ids", batch[0]), ("weights", batch[1]))
        }

    @classmethod
    def read(cls, file: Path) -> Batches:
        """The batches of a file that holds what `pack` gave."""
        tensors = load_file(file)

        def of(kind: str) -> list[Batch]:
            names = sorted(
                name.removesuffix(".ids")
                for name in tensors
                if name.startswith(kind) and name.endswith("ids")
            )
            return [(tensors[f"{n}.ids"].astype(np.int64), tensors[f"{n}.weights"]) for n in names]

        return cls(of("train"), of("held_out"))


def run_variant(job: Job) -> Result:
    """Tune one variant."""
    import torch

    from compression.language.factorised import load_model
    from compression.language.recovery import lora
    from compression.language.storage import Storage, make_linear, mark_loaded

    torch.manual_seed(0)
    storage = Storage(job.variant.partition("-")[2] or "fp32")
    make = make_linear(storage)
    if storage in (Storage.int8, Storage.nf4):
        import bitsandbytes  # noqa: F401 - its own memory is not the variant's

        # It says for every product that it casts.
        logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    batches = Batches.read(Path(job.batches))
    memory = _Memory()
    model = load_model(Path(job.checkpoint), make).to(memory.device)
    trained: torch.nn.Module = model
    if job.variant != "full":
        mark_loaded(model, storage)
        linears = [n for n, m in model.gpt_neox.layers.named_modules() if isinstance(m, torch.nn.Linear)]
        trained = lora(model, job.lora_rank, linears)
    if job.recompute:
        _recompute(model)
    tuning = _Tuning(model, trained, batches, job)
    return tuning.run(memory)


def _recompute(model: Any) -> None:
    """Keeps only the blocks' inputs for the gradient, by transformers' newer or older name for it."""
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})


class _Tuning:
    """A training loop whose clock stands still while the held-out loss is measured."""

    def __init__(self, model: Any, trained: torch.nn.Module, batches: Batches, job: Job) -> None:
        import torch

        self._model, self._trained, self._batches, self._job = model, trained, batches, job
        self._parameters = [p for p in trained.parameters() if p.requires_grad]
        self._optimizer = torch.optim.AdamW(self._parameters, lr=job.learning_rate, weight_decay=0.0)
        self._device = next(model.parameters()).device
        self._seconds = 0.0

    def run(self, memory: _Memory) -> Result:
        job, every = self._job, max(1, self._job.steps // _CURVE_POINTS)
        before = self._held_out()
        curve = [(0, 0.0, before)]
        at_steps, at_time, seconds, steps_in_time = before, before, 0.0, 0
        timed = job.seconds is None
        for step in range(1, _MOST_STEPS * job.steps + 1):
            self._step(step)
            due = not timed and job.seconds is not None and self._seconds >= job.seconds
            if due or step == job.steps or step % every == 0:
                curve.append((step, self._seconds, self._held_out()))
            if step == job.steps:
                at_steps, seconds = curve[-1][2], self._seconds
            if due:
                at_time, steps_in_time, timed = curve[-1][2], step, True
            if timed and step >= job.steps:
                break
        if job.seconds is None:
            at_time, steps_in_time = at_steps, job.steps
        elif not timed:
            # Far faster than full tuning: its last loss stands for what it had reached by then.
            at_time, steps_in_time = curve[-1][2], curve[-1][0]
        peak = memory.peak()
        return Result(
            parameters=sum(p.numel() for p in self._trained.parameters()),
            tuned=sum(p.numel() for p in self._parameters),
            weight_bytes=sum(p.numel() * p.element_size() for p in self._trained.parameters()),
            peak_bytes=peak, training_bytes=peak - memory.baseline,
            seconds=seconds, steps_in_time=steps_in_time,
            loss_before=before, loss_at_steps=at_steps, loss_at_time=at_time, curve=curve,
        )  # fmt: skip

    def _step(self, step: int) -> None:
        import torch

        began = time.monotonic()
        warm = min(1.0, step / max(1, round(0.1 * self._job.steps)))
        self._optimizer.param_groups[0]["lr"] = self._job.learning_rate * warm
        self._trained.train()
        train = self._batches.train
        self._loss(train[(step - 1) % len(train)]).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._parameters, 1.0)
        self._optimizer.step()
        self._optimizer.zero_grad()
        self._seconds += time.monotonic() - began

    def _loss(self, batch: Batch) -> torch.Tensor:
        import torch

        from compression.language.pretraining import weighted_loss

        ids, weights = (torch.from_numpy(array).to(self._device) for array in batch)
        return weighted_loss(self._model, self._model.gpt_neox, ids, weights)

    def _held_out(self) -> float:
        """Mean loss over the held-out batches, each weighing as much as its answers' tokens."""
        import torch

        self._trained.eval()
        with torch.no_grad():
            pairs = [(float(self._loss(batch)), float(batch[1].sum())) for batch in self._batches.held_out]
        return sum(loss * weight for loss, weight in pairs) / sum(weight for _, weight in pairs)


class _Memory:
    """The most memory held from now on: on the GPU where there is one, else resident in this process.

    Attributes:
        device: where the model goes.
        baseline: what is held now.
    """

    def __init__(self) -> None:
        import torch

        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.peak = self._on_gpu if self.device == "cuda" else self._resident
        self.baseline = 0 if self.device == "cuda" else self._restart()

    def _on_gpu(self) -> int:
        import torch

        return int(torch.cuda.max_memory_allocated())

    def _restart(self) -> int:
        """Sets the kernel's high-water mark to what is held now, where that is allowed; gives it."""
        try:
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        except OSError:
            pass
        return self._resident()

    @staticmethod
    def _resident() -> int:
        """VmHWM on Linux; elsewhere what getrusage knows."""
        status = Path("/proc/self/status")
        if status.is_file():
            lines = status.read_text(encoding="ascii", errors="replace").splitlines()
            found = next((line for line in lines if line.startswith("VmHWM:")), "")
            if found:
                return int(found.split()[1]) * 1024
        return _peak_by_usage()


def _peak_by_usage() -> int:
    import sys

    if sys.platform == "win32":
        return 0
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
