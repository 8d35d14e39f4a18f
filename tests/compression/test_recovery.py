from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from compression.errors import ModelCorruptError, ModelError, ModelMissingError, TrainingDataError
from compression.language import recovery, tensors
from compression.language.compress import Method, compress
from compression.language.factorised import FactorisedLinear, load_model, save_model
from compression.language.grounded import Turn
from compression.language.grounded_scores import grounded_scores, held_out_turns, labelled_prompt, mean_scores
from compression.language.prompt import Evidence
from compression.language.recovery import (
    Recovery,
    Tuning,
    learning_rate_share,
    recover,
    tune,
    tune_checkpoint,
)
from compression.language.source import open_tokenizer
from compression.language.weights import Checkpoint

MEASURES = {
    "exact": lambda answer, gold: float(answer == gold),
    "length": lambda answer, _: float(len(answer)),
}
QUICK = Recovery(Tuning.lora, steps=3, batch_tokens=512, lora_rank=4, turns=2)


@pytest.fixture(scope="module")
def dense(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dense")
    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=600, hidden_size=32, num_attention_heads=2, num_hidden_layers=2, intermediate_size=64,
        max_position_embeddings=512, eos_token_id=0, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 0.5},
    )  # fmt: skip
    GPTNeoXForCausalLM(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="module")
def small(dense: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    compress(dense, folder, 0.5, Method.svd)
    return folder


def test_a_dense_checkpoint_is_the_transformers_model(dense: Path) -> None:
    ids = torch.arange(40)[None]
    theirs = GPTNeoXForCausalLM.from_pretrained(dense).eval()
    with torch.no_grad():
        torch.testing.assert_close(load_model(dense)(ids).logits, theirs(ids).logits)


def test_factors_multiply_to_the_layer(dense: Path, small: Path) -> None:
    model, ids = load_model(small), torch.arange(40)[None]
    factors = [m for m in model.modules() if isinstance(m, FactorisedLinear)]
    assert factors
    theirs = GPTNeoXForCausalLM.from_pretrained(dense).eval()
    with torch.no_grad():
        for name, module in model.gpt_neox.layers.named_modules():
            if isinstance(module, FactorisedLinear):
                linear = theirs.gpt_neox.layers.get_submodule(name)
                linear.weight.copy_(module.up.weight @ module.down.weight)
        torch.testing.assert_close(model(ids).logits, theirs(ids).logits, atol=1e-5, rtol=1e-4)


def test_a_saved_model_is_the_same_checkpoint(small: Path, tmp_path: Path) -> None:
    save_model(load_model(small), small, tmp_path)
    before, after = Checkpoint(small), Checkpoint(tmp_path)
    assert before.shapes == after.shapes
    assert all((before[name] == after[name]).all() for name in before.shapes)
    assert (tmp_path / "config.json").read_bytes() == (small / "config.json").read_bytes()


def test_factors_that_do_not_fit_are_refused(small: Path, tmp_path: Path) -> None:
    model = load_model(small)
    factor = next(m for m in model.modules() if isinstance(m, FactorisedLinear))
    factor.down.weight = torch.nn.Parameter(factor.down.weight[:-1])
    save_model(model, small, tmp_path)
    with pytest.raises(ModelCorruptError, match="맞지 않아요"):
        load_model(tmp_path)


@pytest.mark.parametrize("tuning", Tuning)
def test_recovery_lowers_the_loss_and_keeps_the_layout(
    data: Path, small: Path, tmp_path: Path, tuning: Tuning
) -> None:
    budget = Recovery(tuning, steps=30, learning_rate=2e-2, batch_tokens=512, lora_rank=4, turns=2)
    figures = recover(small, data, tmp_path / "out", budget, MEASURES)
    assert figures["after"]["encyclopedic_perplexity"] < figures["before"]["encyclopedic_perplexity"]
    assert {"exact", "length", "colloquial_bits_per_character"} <= set(figures["after"])
    assert Checkpoint(tmp_path / "out").shapes == Checkpoint(small).shapes
    report = json.loads((tmp_path / "out" / "recovery.json").read_text(encoding="utf-8"))
    assert report["tuning"] == tuning and report["before"] == figures["before"]
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"config.json", "model.safetensors", "recovery.json", "tokenizer.json"}


def test_adapters_are_merged_exactly(small: Path) -> None:
    model, ids = load_model(small), torch.arange(30)[None]
    tuned = recovery.trainable(model, QUICK)
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.1)
        before = model(ids).logits
        torch.testing.assert_close(recovery.merged(tuned)(ids).logits, before, atol=1e-4, rtol=1e-4)


def test_what_learns(small: Path) -> None:
    full = recovery.trainable(load_model(small), Recovery(Tuning.full))
    learning = {name for name, p in full.named_parameters() if p.requires_grad}
    assert any(name.endswith("down.weight") for name in learning)
    assert not any("embed" in name or "norm" in name for name in learning)
    adapted = recovery.trainable(load_model(small), QUICK)
    assert all("lora_" in name for name, p in adapted.named_parameters() if p.requires_grad)


@pytest.mark.parametrize("tuning", Tuning)
def test_a_killed_run_goes_on_from_its_state(
    data: Path, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tuning: Tuning
) -> None:
    budget = Recovery(tuning, steps=4, batch_tokens=512, lora_rank=4, save_seconds=0)
    steps: list[int] = []

    def share(step: int, _: int) -> float:
        steps.append(step)
        if len(steps) == 3:
            raise KeyboardInterrupt
        return 1.0

    monkeypatch.setattr(recovery, "learning_rate_share", share)
    with pytest.raises(KeyboardInterrupt):
        tune_checkpoint(small, data, tmp_path / "out", budget)
    tune_checkpoint(small, data, tmp_path / "out", budget)
    assert steps == [0, 1, 2, 2, 3]
    assert not (tmp_path / "out" / "recovery.safetensors").exists()


def test_the_state_holds_weights_and_optimiser(data: Path, small: Path, tmp_path: Path) -> None:
    tokenizer, state = open_tokenizer(small), tmp_path / "state.safetensors"
    torch.manual_seed(0)
    finished = tune(load_model(small), tokenizer, data, state, QUICK)
    torch.manual_seed(9)
    restored = tune(load_model(small), tokenizer, data, state, QUICK)
    pairs = zip(finished.parameters(), restored.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_the_state_of_another_budget_is_not_used(data: Path, small: Path, tmp_path: Path) -> None:
    tokenizer, state = open_tokenizer(small), tmp_path / "state.safetensors"
    tune(load_model(small), tokenizer, data, state, QUICK)
    other = Recovery(Tuning.lora, steps=1, batch_tokens=512, lora_rank=2)
    parameters = dict(recovery.trainable(load_model(small), other).named_parameters())
    learning = {name: p for name, p in parameters.items() if p.requires_grad}
    assert recovery._restore(state, other, learning, torch.optim.AdamW(learning.values())) == 0


def test_a_full_disk_is_named(
    data: Path, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(tensors.os, "fsync", full)
    with pytest.raises(ModelError, match="디스크"):
        tune_checkpoint(small, data, tmp_path / "out", QUICK)
    assert list((tmp_path / "out").iterdir()) == []


def test_bad_input_is_refused_before_any_work(data: Path, small: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingDataError, match="nowhere"):
        recover(small, tmp_path / "nowhere", tmp_path / "out", QUICK, MEASURES)
    with pytest.raises(ModelError, match="원래 모델"):
        recover(small, data, small, QUICK, MEASURES)
    with pytest.raises(ModelMissingError, match="tokenizer"):
        recover(tmp_path, data, tmp_path / "out", QUICK, MEASURES)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("step", "share"), [(0, 1 / 30), (29, 1), (30, 1), (515, 0.5), (1000, 0), (100, 0.987)]
)
def test_the_learning_rate_warms_up_and_falls_as_a_cosine(step: int, share: float) -> None:
    assert learning_rate_share(step, 1000) == pytest.approx(share, abs=1e-3)


def test_held_out_turns_have_answers_and_one_order(data: Path) -> None:
    turns = held_out_turns(data, 3)
    assert turns == held_out_turns(data, 3)
    assert 0 < len(turns) <= 3
    assert all(turn.answer_index is not None for turn in turns)


def test_the_prompt_ends_in_the_label_of_the_answering_sentence() -> None:
    turn = Turn(
        "언제 여나요?",
        (Evidence("안내", "월요일에 쉰다."), Evidence("안내", "아홉 시에 연다.")),
        1,
        "아홉 시에 엽니다.",
    )
    assert labelled_prompt(turn).endswith("<|bot|><|2|>")


def test_answers_come_in_the_turns_order(small: Path, tokenizer: Tokenizer) -> None:
    model = load_model(small)
    turns = [Turn("가" * n, (Evidence("", "나무가 크다."),), 0, "나무가 큽니다.") for n in (9, 1, 5)]
    alone = [grounded_scores(model, tokenizer, [turn], MEASURES)["length"] for turn in turns]
    assert grounded_scores(model, tokenizer, turns, MEASURES)["length"] == pytest.approx(sum(alone) / 3)


def test_no_answers_have_no_score() -> None:
    assert mean_scores([], [], MEASURES) == {"exact": 0, "length": 0}
