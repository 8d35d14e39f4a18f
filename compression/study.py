"""LoRA × quantisation: what adapters on a frozen, narrow model save in memory, and what they cost in loss.

After Bae et al. (2024), who tune with LoRA in FP16, FP8 and INT8 and save 82 % of the memory. Each variant is tuned
in a process of its own, on the same batches in the same order, so that its peak memory is its own; the memory that
counts is what it needs above an interpreter with its libraries loaded. Variants are compared at equal steps, and
when each has had the time that full tuning takes for those steps.
"""

from __future__ import annotations

import itertools
import json
import os
import random
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer
from tqdm import tqdm

from compression.errors import ModelError, TrainingDataError
from compression.language import examples as ex
from compression.language.corpus import articles, split_sentences
from compression.language.grounded import natural_turns
from compression.language.prompt import Evidence
from compression.language.source import open_tokenizer
from compression.language.tensors import full_disk_explained, write_tensors
from compression.language.weights import Checkpoint
from compression.study_report import write_report
from compression.study_run import Batches, Job, Result, run_variant

VARIANTS = {
    "full": "전체 학습",
    "lora": "LoRA",
    "lora-fp16": "LoRA + FP16",
    "lora-fp8": "LoRA + FP8(E4M3)",
    "lora-int8": "LoRA + INT8",
    "lora-nf4": "LoRA + NF4",
}
"""What is compared, with Korean labels; all are measured against the first."""

_HELD_OUT_ROWS = 64
_ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MALLOC_TRIM_THRESHOLD_": "65536",
    "MALLOC_ARENA_MAX": "1",
}


@dataclass(frozen=True)
class Budget:
    """How long every variant is tuned, and how.

    Attributes:
        steps: optimiser steps at which losses are compared.
        batch_tokens: tokens a step, padding included.
        full_rate: learning rate of full tuning.
        lora_rate: learning rate of adapters; they bear and need a higher one (Hu et al., 2022).
        lora_rank: rank of the adapters.
        recompute: whether activations within a block are computed again for the gradient instead of kept, in every
            variant (Chen et al., 2016).
        seed: of the batches' order.
    """

    steps: int = 300
    batch_tokens: int = 1024
    full_rate: float = 1e-4
    lora_rate: float = 1e-3
    lora_rank: int = 16
    recompute: bool = True
    seed: int = 1


def study(checkpoint: Path, data: Path, out: Path, budget: Budget) -> dict[str, dict[str, Any]]:
    """Tune every variant that has no result yet, then write the table and the plot.

    Args:
        checkpoint: what all variants start from.
        data: folder of training data.
        out: folder for results (one file a variant), report and plot.
        budget: see `Budget`.

    Returns:
        For each variant of `VARIANTS` its figures (see `study_run.Result`), or ``{"error": …}``.

    Raises:
        TrainingDataError: the data folder is not there.
        ModelError: the checkpoint cannot be read, or the disk is full; finished variants stay.
    """
    if not data.is_dir():
        raise TrainingDataError(f"학습 자료 폴더가 없어요: {data}", "--data로 자료 폴더를 알려 주세요.")
    Checkpoint(checkpoint)
    with full_disk_explained():
        out.mkdir(parents=True, exist_ok=True)
        batches = _batches(checkpoint, data, out, budget)
        results: dict[str, dict[str, Any]] = {}
        for variant in tqdm(VARIANTS, unit="방식", desc="연구"):
            results[variant] = _result(variant, checkpoint, batches, out, budget, results)
        write_report(out, VARIANTS, results, {"checkpoint": checkpoint.name, **asdict(budget)})
    return results


def random_checkpoint(folder: Path, tokenizer: Path, preset: str) -> Path:
    """A checkpoint of one of `pretraining.PRESETS` with random weights, made once.

    Memory depends on the size alone; losses of a random model say little about tuning a trained one.

    Args:
        folder: where it stands, made when it is missing.
        tokenizer: tokenizer.json to use.
        preset: its name.
    """
    import torch
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    from compression.language.pretraining import PRESETS

    if (folder / "tokenizer.json").is_file():
        return folder
    torch.manual_seed(0)
    size = PRESETS[preset]
    config = GPTNeoXConfig(
        vocab_size=max(size.vocab, Tokenizer.from_file(str(tokenizer)).get_vocab_size()),
        hidden_size=size.hidden, num_hidden_layers=size.layers, num_attention_heads=size.heads,
        intermediate_size=4 * size.hidden, max_position_embeddings=1024, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 0.5},
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    GPTNeoXForCausalLM(config).half().save_pretrained(folder)
    (folder / "tokenizer.json").write_bytes(tokenizer.read_bytes())
    return folder


def _result(
    variant: str,
    checkpoint: Path,
    batches: Path,
    out: Path,
    budget: Budget,
    results: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """A variant's figures from its file, measured now when it has none of this job."""
    file = out / f"{variant}.json"
    full = results.get("full", {})
    job = Job(
        variant, str(checkpoint), str(batches), budget.steps, full.get("seconds"), budget.lora_rank,
        budget.full_rate if variant == "full" else budget.lora_rate, budget.recompute,
    )  # fmt: skip
    wanted = json.loads(json.dumps(asdict(job)))
    if file.is_file():
        known = json.loads(file.read_text(encoding="utf-8"))
        if known.get("job") == wanted:
            return dict(known["result"])
    result = _in_own_process(job)
    if "error" not in result:
        partial = file.with_suffix(".partial")
        partial.write_text(json.dumps({"job": wanted, "result": result}), encoding="utf-8")
        partial.replace(file)
    return result


def _in_own_process(job: Job) -> dict[str, Any]:
    """Runs a variant in a fresh interpreter, so that its peak memory holds nothing of another's."""
    with _frugal_allocator(), ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            result: Result = pool.submit(run_variant, job).result()
        except BrokenProcessPool:
            return {"error": "프로세스가 중단되었어요. 메모리가 모자랐을 수 있어요."}
        except (ModuleNotFoundError, RuntimeError, NotImplementedError, ModelError) as error:
            # A storage that this machine's libraries lack is a finding of the study, not its end.
            return {"error": f"{type(error).__name__}: {str(error)[:200]}"}
    return asdict(result)


@contextmanager
def _frugal_allocator() -> Iterator[None]:
    """Has new processes give freed memory back at once: glibc otherwise keeps several times what is used.

    glibc reads these variables once, when a process starts.
    """
    before = {name: os.environ.get(name) for name in _ALLOCATOR}
    os.environ.update(_ALLOCATOR)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _batches(checkpoint: Path, data: Path, out: Path, budget: Budget) -> Path:
    """The file with all variants' batches: reading the data would count as their memory."""
    tokenizer = open_tokenizer(checkpoint)
    # Another model's tokens are not this one's.
    words = sha256((checkpoint / "tokenizer.json").read_bytes()).hexdigest()[:8]
    file = out / f"batches-{budget.steps}-{budget.batch_tokens}-{budget.seed}-{words}.safetensors"
    if file.is_file():
        return file
    # Fast variants do more than ``steps`` in full tuning's time; then the batches come round again.
    train = itertools.islice(_stream(data, tokenizer, budget.batch_tokens, budget.seed, False), budget.steps)
    held_out = _rows(_stream(data, tokenizer, budget.batch_tokens, 0, True))
    tensors = Batches.pack(list(train), held_out)
    shapes = {name: value.shape for name, value in tensors.items()}
    write_tensors(file, shapes, tensors.items(), np.float32)
    return file


def _rows(batches: Iterator[Any]) -> list[Any]:
    taken, rows = [], 0
    for batch in batches:
        taken.append(batch)
        rows += len(batch[0])
        if rows >= _HELD_OUT_ROWS:
            break
    return taken


def _stream(data: Path, tokenizer: Tokenizer, tokens: int, seed: int, held_out: bool) -> Iterator[Any]:
    """Endless batches of grounded turns that people asked, of the training or the held-out side."""
    sample = itertools.islice(articles(data, 0, held_out=True), 60)
    strangers = [
        Evidence(a.title, s) for a in sample for s in split_sentences(a.text[:600])[:2] if len(s) < 150
    ]

    def examples() -> Iterator[ex.Example]:
        for epoch in itertools.count():
            rng = random.Random(seed + epoch)
            turns = list(natural_turns(data, strangers, rng, held_out))
            rng.shuffle(turns)
            yield from (found for turn in turns if (found := ex.turn_example(turn, tokenizer)) is not None)

    return ex.batches({"natural": examples()}, ex.PHASES[-1], tokens, seed)
