from __future__ import annotations

import itertools
import json
import math
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import GPTNeoXForCausalLM

from compression.errors import TrainingDataError
from compression.language import pretraining
from compression.language.pretraining import (
    PRESETS,
    Preset,
    evaluate,
    learning_rate_factor,
    new_model,
    spectral_embeddings,
    train,
    weighted_loss,
)

NANO = PRESETS["nano"]


@pytest.fixture
def model(tokenizer: Tokenizer) -> GPTNeoXForCausalLM:
    torch.manual_seed(0)
    vectors = np.random.default_rng(0).normal(size=(NANO.vocab, NANO.hidden)).astype(np.float32)
    return new_model(NANO, tokenizer, vectors)


def rows_of(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def step_of(run: Path) -> int:
    return int(json.loads((run / "checkpoint" / "progress.json").read_text())["step"])


def test_trains_stops_resumes_and_finishes(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(data, run, NANO, minutes=0, compile_model=False)
    assert step_of(run) == 1
    with (run / "log.jsonl").open("a") as log:
        log.write('{"step": 1, "loss": 5.1}\n{"step": 2, "lo')
    figures = train(data, run, NANO, compile_model=False)
    assert step_of(run) == NANO.steps
    assert [row["step"] for row in rows_of(run)] == list(range(NANO.steps))
    assert all(0 < row["loss"] < 20 and row["length"] <= 384 for row in rows_of(run))
    saved = json.loads((run / "figures.json").read_text())
    assert Preset(**saved.pop("preset")) == NANO
    assert saved == figures
    for name in ("encyclopedic", "colloquial"):
        assert 1 < figures[f"{name}_perplexity"] < 1e6
        assert figures[f"{name}_bits_per_character"] > 0
    assert (run / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in run.glob("checkpoint*")) == ["checkpoint"]


def test_resuming_keeps_the_weights_and_the_optimiser(data: Path, tmp_path: Path) -> None:
    train(data, tmp_path, NANO, minutes=0, compile_model=False)
    before = GPTNeoXForCausalLM.from_pretrained(tmp_path / "checkpoint").state_dict()
    train(data, tmp_path, replace(NANO, steps=1), compile_model=False)
    after = GPTNeoXForCausalLM.from_pretrained(tmp_path / "checkpoint").state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert step_of(tmp_path) == 1


@pytest.fixture
def run(tmp_path: Path, tokenizer: Tokenizer) -> Path:
    """A run's folder as training has it before the first checkpoint."""
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def test_the_optimisers_learn_a_batch_and_their_state_survives(model: GPTNeoXForCausalLM, run: Path) -> None:
    optimizers = pretraining._optimizers(model, NANO)
    ids = torch.randint(18, NANO.vocab, (4, 32))
    losses = []
    for _ in range(25):
        loss = weighted_loss(model, model.gpt_neox, ids, torch.ones(4, 32))
        loss.backward()
        losses.append(loss.item())
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    assert losses[-1] < losses[0] - 1
    pretraining._save(run, model, optimizers, 25)
    restored = pretraining._optimizers(model, NANO)
    assert pretraining._restore(run, restored) == 25
    for old, new in zip(optimizers, restored, strict=True):
        expected, found = old.state_dict()["state"], new.state_dict()["state"]
        assert expected and expected.keys() == found.keys()
        for key, entry in expected.items():
            assert all(torch.equal(value, found[key][name]) for name, value in entry.items())


@pytest.mark.parametrize(("renames", "step"), [(0, 1), (1, 1), (2, 2)])
def test_a_kill_while_the_checkpoint_is_swapped_loses_none(
    model: GPTNeoXForCausalLM, run: Path, monkeypatch: pytest.MonkeyPatch, renames: int, step: int
) -> None:
    optimizers = pretraining._optimizers(model, NANO)
    pretraining._save(run, model, optimizers, 1)
    left = itertools.count(renames, -1)
    rename, remove = Path.rename, pretraining._remove

    def killed_rename(path: Path, target: Path) -> Path:
        if next(left) <= 0:
            raise KeyboardInterrupt
        return rename(path, target)

    def killed_remove(folder: Path) -> None:
        if folder.exists():
            raise KeyboardInterrupt
        remove(folder)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed_rename)
        patch.setattr(pretraining, "_remove", killed_remove)
        with pytest.raises(KeyboardInterrupt):
            pretraining._save(run, model, optimizers, 2)
    assert pretraining._recover(run)
    assert pretraining._restore(run, optimizers) == step
    pretraining._save(run, model, optimizers, 3)
    assert [path.name for path in run.glob("checkpoint*")] == ["checkpoint"]


def test_a_kill_in_the_first_save_starts_over(model: GPTNeoXForCausalLM, run: Path) -> None:
    model.save_pretrained(run / "checkpoint.new")
    assert not pretraining._recover(run)
    pretraining._save(run, model, pretraining._optimizers(model, NANO), 1)
    assert step_of(run) == 1


@pytest.mark.parametrize(
    ("step", "factor"),
    [(0, 0.1), (4, 0.5), (9, 1), (40, 1), (70, 1), (85, 0.5), (99, 1 / 30), (100, 0), (120, 0)],
)
def test_learning_rate_warms_up_stays_and_decays(step: int, factor: float) -> None:
    preset = replace(NANO, steps=100, warmup=10, decay=0.3)
    assert learning_rate_factor(step, preset) == pytest.approx(factor)


def test_interchangeable_words_lie_together() -> None:
    rng = random.Random(0)
    fruit, metal = (1, 2), (3, 4)
    sentences = [[5, rng.choice(fruit), 6, 7, 8, 9] for _ in range(300)]
    sentences += [[10, rng.choice(metal), 11, 12, 13, 14] for _ in range(300)]
    rng.shuffle(sentences)
    vectors = spectral_embeddings(iter(sentences), vocab=20, dimension=4, window=2)
    assert vectors.shape == (20, 4) and vectors.dtype == np.float32
    assert not vectors[15:].any()
    assert np.sqrt((vectors[1:15] ** 2).mean(axis=1)) == pytest.approx(1, abs=1e-3)
    likeness = vectors @ vectors.T / 4
    assert likeness[1, 2] > 0.9 and likeness[3, 4] > 0.9
    assert max(likeness[1, 3], likeness[1, 4], likeness[2, 3], likeness[2, 4]) < 0.5


def test_loss_is_the_weighted_mean_of_the_counted_positions(model: GPTNeoXForCausalLM) -> None:
    ids = torch.randint(18, NANO.vocab, (2, 12))
    weights = torch.zeros(2, 12)
    weights[0, 5], weights[1, 11] = 10, 1
    chances = model(input_ids=ids).logits.log_softmax(-1)
    expected = -(10 * chances[0, 4, ids[0, 5]] + chances[1, 10, ids[1, 11]]) / 11
    loss = weighted_loss(model, model.gpt_neox, ids, weights)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-4)


def test_positions_without_weight_do_not_count(model: GPTNeoXForCausalLM) -> None:
    ids = torch.randint(18, NANO.vocab, (1, 12))
    weights = torch.zeros(1, 12)
    weights[0, :6] = 1
    changed = ids.clone()
    changed[0, 6:] = 20
    losses = [weighted_loss(model, model.gpt_neox, row, weights).item() for row in (ids, changed)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_a_fresh_model_has_polyglots_layout(model: GPTNeoXForCausalLM) -> None:
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert model.config.use_parallel_residual
    assert model.config.rope_parameters["partial_rotary_factor"] == 0.5
    assert model.config.eos_token_id == 0


def test_perplexity_of_a_model_that_knows_nothing_is_the_vocabulary(
    model: GPTNeoXForCausalLM, tokenizer: Tokenizer, data: Path
) -> None:
    with torch.no_grad():
        model.get_input_embeddings().weight.zero_()
    figures = evaluate(model, tokenizer, data, most=1)
    assert figures["encyclopedic_perplexity"] == pytest.approx(NANO.vocab, rel=1e-3)
    nats = math.log(2) * figures["colloquial_bits_per_character"]
    assert 0 < nats < 3 * math.log(NANO.vocab)


def test_missing_folder_and_missing_file_are_clear_errors(tmp_path: Path) -> None:
    with pytest.raises(TrainingDataError, match="nowhere"):
        train(tmp_path / "nowhere", tmp_path / "run", NANO)
    assert not (tmp_path / "run").exists()
    with pytest.raises(TrainingDataError, match="kowiki-0"):
        train(tmp_path, tmp_path / "run", NANO)
