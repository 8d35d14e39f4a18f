from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from compression import study
from compression.errors import TrainingDataError
from compression.language.factorised import load_model
from compression.language.recovery import lora
from compression.language.storage import Storage, make_linear, mark_loaded, stored
from compression.study import VARIANTS, Budget, random_checkpoint
from compression.study_report import compared, markdown
from compression.study_run import Batches, Job, run_variant

TINY = Budget(steps=2, batch_tokens=384, lora_rank=2)
NOISY = "ignore::DeprecationWarning"


@pytest.fixture(scope="module")
def checkpoint(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("random")
    tokenizer.save(str(folder / "words.json"))
    return random_checkpoint(folder / "nano", folder / "words.json", "nano")


@pytest.fixture(scope="module")
def batches(checkpoint: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return study._batches(checkpoint, data, tmp_path_factory.mktemp("batches"), TINY)


def job(checkpoint: Path, batches: Path, variant: str, **changes: Any) -> Job:
    first = Job(variant, str(checkpoint), str(batches), 2, None, 2, 1e-3, True)
    return replace(first, **changes)


def test_a_random_checkpoint_is_made_once(checkpoint: Path) -> None:
    before = (checkpoint / "model.safetensors").stat().st_mtime_ns
    assert random_checkpoint(checkpoint, checkpoint / "tokenizer.json", "nano") == checkpoint
    assert (checkpoint / "model.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("storage", "error", "bytes_each"),
    [("fp32", 0, 4), ("fp16", 1e-3, 2), ("fp8", 0.04, 1), ("int8", 0.02, 1), ("nf4", 0.12, 0.5)],
)
@pytest.mark.filterwarnings(NOISY)
def test_a_stored_layer_multiplies_and_passes_the_gradient(
    storage: str, error: float, bytes_each: float
) -> None:
    torch.manual_seed(0)
    weight, bias = torch.randn(96, 64) * 0.05, torch.randn(96)
    layer = make_linear(Storage(storage))(weight.clone(), bias.clone())
    assert layer.weight.numel() * layer.weight.element_size() == 96 * 64 * bytes_each
    x = torch.randn(3, 5, 64, requires_grad=True)
    y = layer(x)
    y.sum().backward()
    y = y.detach()
    wanted = x.detach() @ weight.T + bias
    assert float((y - wanted).norm() / (wanted - bias).norm()) <= error + 1e-5
    exact = weight.sum(0).expand(3, 5, 64)
    assert float((x.grad - exact).norm() / exact.norm()) <= 3 * error + 1e-5


def test_fp8_uses_its_whole_range() -> None:
    weight = torch.randn(8, 8) * 1e-4
    narrow, scale = stored(weight, torch.float8_e4m3fn)
    assert narrow.float().abs().max() == 448
    assert scale == pytest.approx(float(weight.abs().max()) / 448)
    zero, scale = stored(torch.zeros(2, 2), torch.float8_e4m3fn)
    assert scale == 1 and not zero.float().any()


@pytest.mark.parametrize("storage", [s for s in Storage if s is not Storage.fp32])
@pytest.mark.filterwarnings(NOISY)
def test_adapters_sit_on_every_storage(checkpoint: Path, storage: Storage) -> None:
    model = load_model(checkpoint, make_linear(storage))
    mark_loaded(model, storage)
    linears = [n for n, m in model.gpt_neox.layers.named_modules() if isinstance(m, torch.nn.Linear)]
    assert len(linears) == 8
    adapted = lora(model, 2, linears)
    learning = [p for p in adapted.parameters() if p.requires_grad]
    assert len(learning) == 16 and all(p.dtype == torch.float32 for p in learning)
    with torch.no_grad():  # a look at the loss must not spoil the layers for learning
        adapted.eval()(torch.arange(8)[None])
    adapted.train()(torch.arange(8)[None]).logits.sum().backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in learning)


def test_batches_survive_their_file(batches: Path) -> None:
    read = Batches.read(batches)
    assert len(read.train) == 2 and read.held_out
    ids, weights = read.train[0]
    assert ids.dtype == np.int64 and weights.dtype == np.float32 and ids.shape == weights.shape
    assert 0 <= ids.min() and ids.max() < 600 and weights.max() >= 1


def test_full_tuning_sets_the_time(checkpoint: Path, batches: Path) -> None:
    full = run_variant(job(checkpoint, batches, "full", learning_rate=1e-2))
    assert full.loss_at_steps == full.loss_at_time < full.loss_before
    assert full.tuned == full.parameters and full.steps_in_time == 2
    assert full.curve[0][:2] == (0, 0.0) and full.curve[-1][0] == 2
    assert full.peak_bytes >= full.training_bytes >= 0


def test_a_variant_is_measured_at_equal_steps_and_at_equal_time(checkpoint: Path, batches: Path) -> None:
    slow = run_variant(job(checkpoint, batches, "lora", seconds=0.0))
    assert slow.steps_in_time == 1 and slow.curve[-1][0] == 2
    fast = run_variant(job(checkpoint, batches, "lora", seconds=1e9))
    assert fast.steps_in_time == 8
    assert fast.loss_at_time == fast.curve[-1][2]
    assert fast.tuned < 0.2 * fast.parameters


def fake(job: Job) -> dict[str, Any]:
    if job.variant == "lora-int8":
        return {"error": "INT8이 없어요."}
    memory = 1000 if job.variant == "full" else 150
    curve = [(0, 0.0, 3.0), (2, 4.0, 2.0)]
    return {
        "parameters": 10, "tuned": 5, "weight_bytes": 40, "peak_bytes": 2000, "training_bytes": memory, "seconds": 4.0,
        "steps_in_time": 2, "loss_before": 3.0, "loss_at_steps": 2.0, "loss_at_time": 2.06, "curve": curve,
    }  # fmt: skip


def test_the_study_resumes_and_reports(
    checkpoint: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Job] = []

    def run(job: Job) -> dict[str, Any]:
        asked.append(job)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return fake(job)

    monkeypatch.setattr(study, "_in_own_process", run)
    with pytest.raises(KeyboardInterrupt):
        study.study(checkpoint, data, tmp_path, TINY)
    results = study.study(checkpoint, data, tmp_path, TINY)
    assert [job.variant for job in asked] == ["full", "lora", "lora-fp16", *list(VARIANTS)[2:]]
    assert [job.seconds for job in asked[:2]] == [None, 4.0]
    assert list(results) == list(VARIANTS)
    saved = json.loads((tmp_path / "study.json").read_text(encoding="utf-8"))
    assert saved["compared"]["lora-nf4"]["memory_saved"] == pytest.approx(0.85)
    page = (tmp_path / "study.md").read_text(encoding="utf-8")
    assert "85.0%" in page and "INT8이 없어요." in page
    assert (tmp_path / "study.png").read_bytes().startswith(b"\x89PNG")
    study.study(checkpoint, data, tmp_path, TINY)
    assert [job.variant for job in asked[7:]] == ["lora-int8"]


def test_other_settings_are_measured_anew(
    checkpoint: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(study, "_in_own_process", lambda job: asked.append(job.variant) or fake(job))
    study.study(checkpoint, data, tmp_path, TINY)
    study.study(checkpoint, data, tmp_path, replace(TINY, lora_rate=1e-2))
    assert asked == [*VARIANTS, *list(VARIANTS)[1:]]


def test_a_process_of_its_own_measures_its_own_memory(checkpoint: Path, batches: Path) -> None:
    result = study._in_own_process(job(checkpoint, batches, "lora-fp8"))
    assert "error" not in result, result
    assert result["loss_at_steps"] > 0
    assert 0 < result["training_bytes"] < result["peak_bytes"]


def test_the_allocators_settings_last_as_long_as_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_ARENA_MAX", "4")
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    with study._frugal_allocator():
        assert os.environ["MALLOC_ARENA_MAX"] == "1" and os.environ["MALLOC_TRIM_THRESHOLD_"] == "65536"
    assert os.environ["MALLOC_ARENA_MAX"] == "4" and "MALLOC_TRIM_THRESHOLD_" not in os.environ


def test_a_variant_that_fails_is_a_finding(
    batches: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "ProcessPoolExecutor", lambda workers, mp_context: ThreadPoolExecutor(workers))
    missing = study._in_own_process(job(tmp_path, batches, "lora"))
    assert "config.json" in missing["error"]


def test_missing_data_is_a_clear_error(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingDataError, match="nowhere"):
        study.study(checkpoint, tmp_path / "nowhere", tmp_path / "out", TINY)
    assert not (tmp_path / "out").exists()


def test_nothing_is_compared_with_a_failure() -> None:
    assert compared({"error": "없음"}, {}) == {}
    rows = {"full": {"error": "없음"}, "lora": fake(Job("lora", "", "", 2, None, 2, 1e-3, True))}
    assert "–" in markdown({"full": "전체", "lora": "LoRA"}, rows, {"steps": 2})
