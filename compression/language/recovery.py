"""Recovers a compressed model on grounded examples: all factors are tuned, or LoRA adapters on them.

LoRA (Hu et al., 2022) by peft sits on each factor (and on the layers that stayed dense) and is merged into them in
the end, so that the result has the same layout and speed as before. The loss and the examples are the trainer's.
"""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from safetensors import safe_open
from tokenizers import Tokenizer
from torch import nn
from tqdm import tqdm
from transformers import GPTNeoXForCausalLM

from compression.errors import ModelError, TrainingDataError
from compression.language import examples as ex
from compression.language.factorised import load_model, save_model
from compression.language.grounded import Turn
from compression.language.grounded_scores import Measures, grounded_scores, held_out_turns
from compression.language.pretraining import evaluate, weighted_loss
from compression.language.source import open_tokenizer
from compression.language.tensors import full_disk_explained, write_tensors

_STATE, _BEFORE, _REPORT = "recovery.safetensors", "before.json", "recovery.json"


class Tuning(StrEnum):
    """What is tuned."""

    full = "full"
    lora = "lora"


@dataclass(frozen=True)
class Recovery:
    """A budget of recovery tuning.

    Attributes:
        tuning: all linear layers, or adapters on them. Embedding, norms and head stay as they are.
        steps: optimiser steps.
        learning_rate: its peak; the schedule warms up over 3 % of the steps, at most 100, and falls to zero as a
            half cosine.
        batch_tokens: tokens a step, padding included.
        lora_rank: rank r of the adapters; their outputs are scaled by 2.
        seed: of the order of the examples.
        save_seconds: how often a checkpoint is written.
        turns: held-out turns that are answered before and after.
    """

    tuning: Tuning = Tuning.lora
    steps: int = 1000
    learning_rate: float = 5e-4
    batch_tokens: int = 6_144
    lora_rank: int = 32
    seed: int = 1
    save_seconds: float = 300
    turns: int = 200


def recover(
    checkpoint: Path,
    data: Path,
    out: Path,
    recovery: Recovery,
    measures: Measures,
    compile_model: bool = False,
) -> dict[str, dict[str, float]]:
    """Tune a checkpoint; a killed run goes on from its last saved step when it is called again.

    Args:
        checkpoint: dense or factorised.
        data: folder of training data.
        out: folder for the tuned checkpoint, ``recovery.json`` and the work in progress.
        recovery: what to tune, and for how long.
        measures: of answers against gold ones, name → function.
        compile_model: compile the decoder with torch.compile.

    Returns:
        Held-out figures ``before`` and ``after``: perplexities, and the measures' means.

    Raises:
        ModelError: the checkpoint cannot be used, or the disk is full.
        TrainingDataError: the data folder is not there.
    """
    if not data.is_dir():
        raise TrainingDataError(f"학습 자료 폴더가 없어요: {data}", "--data로 자료 폴더를 알려 주세요.")
    if out.resolve() == checkpoint.resolve():
        raise ModelError("원래 모델이 있는 폴더에는 쓸 수 없어요.", "--out으로 다른 폴더를 알려 주세요.")
    tokenizer = open_tokenizer(checkpoint)
    with full_disk_explained():
        out.mkdir(parents=True, exist_ok=True)
    turns = held_out_turns(data, recovery.turns)

    def figures_of(folder: Path) -> dict[str, float]:
        return held_out_figures(load_model(folder).to(_device()), tokenizer, data, turns, measures)

    before = _once(out / _BEFORE, lambda: figures_of(checkpoint))
    tune_checkpoint(checkpoint, data, out, recovery, compile_model)
    figures = {"before": before, "after": figures_of(out)}
    report = {"checkpoint": checkpoint.name, **asdict(recovery), **figures}
    with full_disk_explained():
        (out / _REPORT).write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    (out / _BEFORE).unlink()
    return figures


def tune_checkpoint(
    checkpoint: Path, data: Path, out: Path, recovery: Recovery, compile_model: bool = False
) -> None:
    """Tune a checkpoint into ``out``, whose state file a killed run goes on from; measures nothing.

    Raises:
        ModelError: the checkpoint cannot be used, or the disk is full.
    """
    torch.manual_seed(recovery.seed)
    model = load_model(checkpoint).to(_device())
    with full_disk_explained():
        out.mkdir(parents=True, exist_ok=True)
    tokenizer = open_tokenizer(checkpoint)
    save_model(tune(model, tokenizer, data, out / _STATE, recovery, compile_model), checkpoint, out)
    (out / _STATE).unlink(missing_ok=True)


def held_out_figures(
    model: GPTNeoXForCausalLM, tokenizer: Tokenizer, data: Path, turns: Sequence[Turn], measures: Measures
) -> dict[str, float]:
    """Perplexity and bits per character of held-out text, and the measures of grounded answers."""
    model.eval()
    text = evaluate(model, tokenizer, data)
    return {**text, **grounded_scores(model, tokenizer, turns, measures)}


def tune(
    model: GPTNeoXForCausalLM,
    tokenizer: Tokenizer,
    data: Path,
    state: Path,
    recovery: Recovery,
    compile_model: bool = False,
) -> GPTNeoXForCausalLM:
    """Run the steps, from the state file where there is one.

    Args:
        model: of `load_model`; changed in place.
        tokenizer: its own.
        data: folder of training data.
        state: file of the work in progress.
        recovery: the budget.
        compile_model: compile the decoder with torch.compile.

    Returns:
        The model with its adapters merged.
    """
    tuned = trainable(model, recovery)
    parameters = {name: value for name, value in tuned.named_parameters() if value.requires_grad}
    optimizer = torch.optim.AdamW(parameters.values(), lr=recovery.learning_rate, weight_decay=0.0)
    start = _restore(state, recovery, parameters, optimizer)
    streams = ex.sources(data, tokenizer, recovery.seed + start)
    batches = ex.batches(streams, ex.PHASES[-1], recovery.batch_tokens, recovery.seed + start)
    device, saved = next(model.parameters()).device, time.monotonic()
    body = torch.compile(model.gpt_neox, dynamic=False) if compile_model else model.gpt_neox
    tuned.train()
    bar = tqdm(range(start, recovery.steps), initial=start, total=recovery.steps, unit="step", desc="회복")
    for step in bar:
        ids, weights = (torch.from_numpy(array).to(device) for array in next(batches))
        optimizer.param_groups[0]["lr"] = recovery.learning_rate * learning_rate_share(step, recovery.steps)
        with torch.autocast(device.type, torch.bfloat16):
            loss = weighted_loss(model, body, ids, weights)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
        if time.monotonic() - saved > recovery.save_seconds or step + 1 == recovery.steps:
            _save(state, recovery, step + 1, parameters, optimizer)
            saved = time.monotonic()
    return merged(tuned)


def learning_rate_share(step: int, steps: int) -> float:
    """Share of the peak learning rate: linear up, then a half cosine to zero (Loshchilov & Hutter, 2017)."""
    warmup = min(100, max(1, round(0.03 * steps)))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def trainable(model: GPTNeoXForCausalLM, recovery: Recovery) -> nn.Module:
    """The model with only its linear layers, or new adapters on them, left to train; the same weights inside."""
    linears = [
        name for name, module in model.gpt_neox.layers.named_modules() if isinstance(module, nn.Linear)
    ]
    if recovery.tuning is Tuning.lora:
        return lora(model, recovery.lora_rank, linears)
    model.requires_grad_(False)
    for name in linears:
        model.gpt_neox.layers.get_submodule(name).requires_grad_(True)
    bare: nn.Module = model
    return bare


def lora(model: GPTNeoXForCausalLM, rank: int, linears: Sequence[str]) -> nn.Module:
    """Adapters of a rank on linear layers of the blocks, named from ``gpt_neox.layers`` on."""
    targets = [f"gpt_neox.layers.{name}" for name in linears]
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets, lora_dropout=0.0)
    with warnings.catch_warnings():
        # peft asks the model under a name that transformers gives up in version 6.
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        adapters: nn.Module = get_peft_model(model, config)
    return adapters


def merged(model: nn.Module) -> GPTNeoXForCausalLM:
    """The bare model, with adapters added into the weights they sit on."""
    merge = getattr(model, "merge_and_unload", None)
    bare: GPTNeoXForCausalLM = model if merge is None else merge()
    return bare.eval()


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _once(file: Path, measure: Callable[[], dict[str, float]]) -> dict[str, float]:
    """Figures from the file, measured and kept there the first time."""
    if not file.is_file():
        figures = measure()
        with full_disk_explained():
            file.write_text(json.dumps(figures), encoding="utf-8")
    found: dict[str, float] = json.loads(file.read_text(encoding="utf-8"))
    return found


def _save(
    file: Path,
    recovery: Recovery,
    step: int,
    parameters: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
) -> None:
    """What is tuned, the optimiser's state and the step, in one file that replaces the old one at once."""
    tensors = {f"value/{name}": value.detach() for name, value in parameters.items()}
    for name, value in parameters.items():
        tensors |= {f"{key}/{name}": entry for key, entry in optimizer.state[value].items()}
    shapes = {name: tuple(value.shape) for name, value in tensors.items()}
    arrays = ((name, value.cpu().numpy()) for name, value in tensors.items())
    write_tensors(file, shapes, arrays, np.float32, {"step": str(step), "job": _job(recovery, parameters)})


def _restore(
    file: Path,
    recovery: Recovery,
    parameters: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
) -> int:
    """The step to go on from; 0 without a file of this job."""
    if not file.is_file():
        return 0
    with safe_open(str(file), "pt") as tensors:
        about = tensors.metadata()
        if about.get("job") != _job(recovery, parameters):
            return 0
        names = {name.partition("/")[::2] for name in tensors.keys()}  # noqa: SIM118 - not a dictionary
        with torch.no_grad():
            for kind, name in sorted(names):
                value = tensors.get_tensor(f"{kind}/{name}")
                if kind == "value":
                    parameters[name].copy_(value)
                else:
                    # AdamW counts its steps on the CPU, wherever the parameters are.
                    place = value if kind == "step" else value.to(parameters[name].device)
                    optimizer.state[parameters[name]][kind] = place
    return int(about["step"])


def _job(recovery: Recovery, parameters: Mapping[str, nn.Parameter]) -> str:
    """What a state file belongs to; how often it is saved and what is measured does not matter."""
    job = {key: value for key, value in asdict(recovery).items() if key not in ("save_seconds", "turns")}
    shapes = [(name, *value.shape) for name, value in parameters.items()]
    return json.dumps({**job, "tuned": sha256(repr(shapes).encode()).hexdigest()}, sort_keys=True)
