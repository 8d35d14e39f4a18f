from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from assistant import comparison
from assistant.comparison import RECIPES, Held, Plan, compare
from assistant.comparison_report import original
from assistant.engine.engine import Engine
from compression.errors import ModelError
from compression.language.collections import dialogue_collections
from compression.language.export import export
from compression.language.factorised import load_model
from compression.language.grounded import Turn
from compression.language.grounded_scores import greedy_answers
from compression.language.prompt import Evidence
from compression.language.tokenizer import train_tokenizer

SMALL = Plan(keeps=(0.5,), recipes=("svd", "whitened+lora"), steps=2, turns=2, compile_model=False)
SENTENCES = (Evidence("안내", "아홉 시에 연다."), Evidence("안내", "월요일에 쉰다."))
TURNS = [
    Turn("언제 여나요?", SENTENCES, 0, "아홉 시에 엽니다."),
    Turn("언제 쉬나요?", SENTENCES, 1, "월요일에 쉽니다."),
]


def own_texts() -> list[str]:
    return [
        text
        for world in itertools.islice(dialogue_collections("train"), 1)
        for text in world.documents.values()
    ]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    train_tokenizer(own_texts(), 500, folder)
    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=500, hidden_size=128, num_attention_heads=2, num_hidden_layers=2, intermediate_size=512,
        max_position_embeddings=512, eos_token_id=0, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 0.5},
    )  # fmt: skip
    GPTNeoXForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture
def without_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Held-out and calibration text of our own, and a tuning that only copies; gives what was tuned."""
    tuned: list[str] = []

    def tune(made: Path, _: Path, folder: Path, *__: Any) -> None:
        tuned.append(f"{made.name} → {folder.name}")
        folder.mkdir(parents=True)
        for name in ("config.json", "model.safetensors", "tokenizer.json"):
            (folder / name).write_bytes((made / name).read_bytes())

    def calibration(*_: Any) -> Path:
        (tmp_path / "calibration.txt").write_text("\n".join(own_texts()), encoding="utf-8")
        return tmp_path / "calibration.txt"

    monkeypatch.setattr(comparison, "tune_checkpoint", tune)
    monkeypatch.setattr(comparison, "_calibration", calibration)
    monkeypatch.setattr(
        comparison, "_held_out", lambda *_: Held([text[:300] for text in own_texts()[:2]], TURNS)
    )
    monkeypatch.setattr(comparison, "_SPEED_TOKENS", 8)
    return tuned


def test_every_model_is_compared_and_a_second_run_measures_nothing(
    source: Path, tmp_path: Path, without_data: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = compare(source, tmp_path, tmp_path / "out", SMALL)
    assert [(row["keep"], row["recipe"], row["bits"]) for row in rows] == [
        (keep, recipe, bits)
        for keep, recipe in ((1, "original"), (1, "original+lora"), (0.5, "svd"), (0.5, "whitened+lora"))
        for bits in (8, 4)
    ]
    assert without_data == [f"{source.name} → 1-original+lora-2", "0.5-whitened → 0.5-whitened+lora-2"]
    for row in rows:
        assert row["perplexity"] > 1 and row["decode_tokens_per_s"] > 0
        assert all(0 <= row[name] <= 1 for name in ("grounded_f1", "rouge_l", "sacrebleu", "faithfulness"))
    assert rows[4]["bytes"] < rows[0]["bytes"] and rows[1]["bytes"] < rows[0]["bytes"]
    page = (tmp_path / "out" / "comparison.md").read_text(encoding="utf-8")
    assert "언제 쉬나요?" in page and "whitened+lora" in page
    assert (tmp_path / "out" / "comparison.png").read_bytes().startswith(b"\x89PNG")
    monkeypatch.setattr(comparison, "measure", lambda *_: pytest.fail("measured again"))
    assert compare(source, tmp_path, tmp_path / "out", SMALL) == rows
    (other := tmp_path / "other").mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (other / name).write_bytes((source / name).read_bytes())
    config = json.loads((other / "config.json").read_text(encoding="utf-8"))
    (other / "config.json").write_text(json.dumps({**config, "rotary_emb_base": 20_000}), encoding="utf-8")
    with pytest.raises(ModelError, match="다른 모델의 결과"):
        compare(other, tmp_path, tmp_path / "out", SMALL)
    saved = json.loads((tmp_path / "out" / "comparison.json").read_text(encoding="utf-8"))
    assert len(saved["rows"][0]["answers"]) == 2


def test_the_engine_answers_as_the_model_does(source: Path, tmp_path: Path) -> None:
    engine = Engine.load(export(source, tmp_path / "onnx", 32))
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    for turn, wanted in zip(TURNS, greedy_answers(load_model(source), tokenizer, TURNS), strict=True):
        answer = comparison._answer(engine, turn)
        assert wanted.startswith(answer[:10])


def test_perplexity_is_the_models(source: Path, tmp_path: Path) -> None:
    engine = Engine.load(export(source, tmp_path / "onnx", 32))
    ids = torch.tensor([engine.tokenize(own_texts()[0])[:100]])
    with torch.no_grad():
        loss = load_model(source)(input_ids=ids, labels=ids).loss
    text = Tokenizer.from_file(str(source / "tokenizer.json")).decode(ids[0].tolist())
    assert engine.tokenize(text) == ids[0].tolist()
    assert comparison.perplexity(engine, [text]) == pytest.approx(float(loss.exp()), rel=1e-3)


def test_a_plan_names_every_model() -> None:
    models = list(Plan().models())
    assert models[:3] == [(1.0, "original"), (1.0, "original+full"), (1.0, "original+lora")]
    assert len(models) == 3 + 4 * len(RECIPES)
    assert list(Plan(keeps=(0.5,), recipes=("svd",)).models()) == [(1.0, "original"), (0.5, "svd")]


def test_a_tuned_model_stands_beside_the_original_tuned_alike() -> None:
    rows = [
        {"keep": 1.0, "recipe": recipe, "bits": bits}
        for recipe in ("original", "original+full", "svd", "svd+full", "svd+lora")
        for bits in (8, 4)
    ]
    assert original(rows[7], rows, tuned=True) == rows[3]
    assert original(rows[8], rows, tuned=True) == rows[2]
    assert original(rows[8], rows, tuned=False) == rows[0]
    assert original(rows[5], rows, tuned=True) == rows[1]
