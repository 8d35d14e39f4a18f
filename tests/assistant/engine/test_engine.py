from __future__ import annotations

import json
import shutil
import threading
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import GPTNeoXForCausalLM

from assistant.engine.engine import Engine, Generation
from assistant.engine.sampler import GenerationOptions
from assistant.engine.session import common_prefix
from assistant.errors import EmptyMessageError, MessageTooLongError
from compression.errors import ModelCorruptError, ModelMissingError, UnsupportedModelError
from compression.language.export import export

PROMPT = "<|user|>도서관은 언제 쉬나요?<|bot|>"
OTHER = "<|user|>도서관은 어디에 있나요? 여권도 거기서 만들 수 있어요?<|bot|>"
SHORT = GenerationOptions(max_tokens=24)


def no_end(engine: Engine) -> object:
    """A constraint that keeps the random model from ending."""

    def ban(_: list[int], logits: np.ndarray) -> None:
        logits[list(engine.config.eos_token_ids)] = -np.inf

    return ban


def tokens(generation: Generation) -> list[int | None]:
    return [piece.token for piece in generation]


def text(generation: Generation) -> str:
    return "".join(piece.text for piece in generation)


def test_greedy_tokens_equal_transformers(checkpoint: Path, tmp_path: Path) -> None:
    engine = Engine.load(export(checkpoint, tmp_path, bits=32), threads=1)
    reference = GPTNeoXForCausalLM.from_pretrained(checkpoint).eval()
    # Longer than two chunks of prefill.
    ids = (engine.tokenize(PROMPT) * 14)[:300]
    expected = reference.generate(
        torch.tensor([ids]),
        max_new_tokens=40,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
        suppress_tokens=[0, *range(340, 352)],
    )
    generation = engine.stream(ids, GenerationOptions(max_tokens=40), constrain=no_end(engine))
    assert tokens(generation) == expected[0, len(ids) :].tolist()
    assert generation.usage.prompt_tokens == 300
    assert generation.usage.generated_tokens == 40
    assert generation.usage.finish_reason == "length"
    assert generation.usage.first_token_ms > 0
    assert generation.usage.tokens_per_second > 0


def test_score_is_the_mean_log_probability(checkpoint: Path, tmp_path: Path) -> None:
    engine = Engine.load(export(checkpoint, tmp_path, bits=32), threads=1)
    reference = GPTNeoXForCausalLM.from_pretrained(checkpoint).eval()
    prompt, continuation = engine.tokenize(PROMPT), engine.tokenize("월요일에 쉬어요.")
    with torch.no_grad():
        logits = reference(torch.tensor([prompt + continuation])).logits[0, len(prompt) - 1 : -1]
    expected = torch.log_softmax(logits, -1)[range(len(continuation)), continuation].mean().item()
    assert engine.score(prompt, continuation) == pytest.approx(expected, abs=1e-3)
    assert engine.score(prompt, continuation) == pytest.approx(expected, abs=1e-3), "from a warm slot"
    one = torch.log_softmax(logits, -1)[0, continuation[0]].item()
    assert engine.score(prompt, continuation[:1]) == pytest.approx(one, abs=1e-3)


def test_alternating_prompts_with_a_warm_slot_give_the_same_text_as_cold(model: Path, engine: Engine) -> None:
    prompts = [PROMPT, OTHER, PROMPT + "네", PROMPT]
    cold = []
    for prompt in prompts:
        fresh = Engine.load(model, threads=1)
        cold.append(tokens(fresh.stream(prompt, SHORT, constrain=no_end(fresh))))
    warm = [engine.stream(prompt, SHORT, constrain=no_end(engine)) for prompt in prompts * 2]
    assert [tokens(generation) for generation in warm] == cold * 2
    assert warm[0].usage.cached_tokens == 0
    assert warm[1].usage.cached_tokens == common_prefix(engine.tokenize(PROMPT), engine.tokenize(OTHER)) > 0
    assert warm[2].usage.cached_tokens < warm[3].usage.cached_tokens == len(engine.tokenize(PROMPT)) - 1


def test_a_seed_repeats_an_answer(engine: Engine) -> None:
    options = GenerationOptions(max_tokens=24, temperature=1.5, top_p=0.95, seed=5)
    assert tokens(engine.stream(PROMPT, options)) == tokens(engine.stream(PROMPT, options))
    others = [GenerationOptions(max_tokens=24, temperature=1.5, seed=seed) for seed in range(3)]
    assert len({tuple(tokens(engine.stream(PROMPT, other))) for other in others}) > 1


def dictate(engine: Engine, script: str) -> object:
    """A constraint that makes the model say the script and end."""
    ids = [*engine.tokenize(script), *engine.config.eos_token_ids]

    def force(generated: list[int], logits: np.ndarray) -> None:
        logits[:] = -np.inf
        logits[ids[len(generated)]] = 0

    return force


def test_an_end_token_ends_the_answer_and_special_tokens_have_no_text(engine: Engine) -> None:
    script = "<|bot|>월요일에 쉬어요."
    generation = engine.stream(PROMPT, constrain=dictate(engine, script))
    pieces = list(generation)
    assert "".join(piece.text for piece in pieces) == "월요일에 쉬어요."
    assert [piece.token for piece in pieces] == engine.tokenize(script)
    assert pieces[0].token == engine.special_tokens["<|bot|>"]
    assert generation.usage.finish_reason == "stop"
    assert generation.usage.generated_tokens == len(pieces) + 1


def test_every_piece_is_whole_characters(engine: Engine) -> None:
    script, shown = "뷁쉬어요 🙂 ok", ""
    for piece in engine.stream(PROMPT, constrain=dictate(engine, script)):
        shown += piece.text
        assert script.startswith(shown)
    assert shown == script


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        ("쉬어요", "월요일에 "),
        ("요일", "월"),
        ("없는 말", "월요일에 쉬어요. 끝"),
        ("끝이다", "월요일에 쉬어요. 끝"),
    ],
)
def test_stop_strings_across_tokens(engine: Engine, stop: str, expected: str) -> None:
    options = GenerationOptions(stop=(stop,))
    assert text(engine.stream(PROMPT, options, constrain=dictate(engine, "월요일에 쉬어요. 끝"))) == expected


def test_cancelling_ends_the_answer_and_frees_the_engine(engine: Engine) -> None:
    asked = iter([False, False, True])
    generation = engine.stream(PROMPT, SHORT, cancelled=lambda: next(asked), constrain=no_end(engine))
    assert len(tokens(generation)) == 2
    assert generation.usage.finish_reason == "cancelled"
    before_prefill = engine.stream(PROMPT, SHORT, cancelled=lambda: True)
    assert tokens(before_prefill) == []
    assert before_prefill.usage.generated_tokens == 0
    assert len(tokens(engine.stream(PROMPT, SHORT, constrain=no_end(engine)))) == 24


def test_closing_or_dropping_an_answer_frees_the_engine(engine: Engine) -> None:
    expected = tokens(engine.stream(OTHER, SHORT))
    with engine.stream(PROMPT, SHORT, constrain=no_end(engine)) as generation:
        next(generation)
    assert tokens(generation) == []
    dropped = engine.stream(PROMPT, SHORT, constrain=no_end(engine))
    next(dropped)
    del dropped
    assert tokens(engine.stream(OTHER, SHORT)) == expected


def test_an_error_of_the_caller_frees_the_engine(engine: Engine) -> None:
    def fail(_: list[int], __: np.ndarray) -> None:
        raise RuntimeError("caller")

    with pytest.raises(RuntimeError, match="caller"):
        tokens(engine.stream(PROMPT, SHORT, constrain=fail))
    assert tokens(engine.stream(PROMPT, GenerationOptions(max_tokens=1), constrain=no_end(engine)))


def test_threads_queue(engine: Engine) -> None:
    expected = {prompt: tokens(engine.stream(prompt, SHORT)) for prompt in (PROMPT, OTHER)}
    results: list[tuple[str, list[int | None]]] = []

    def ask(prompt: str) -> None:
        for _ in range(4):
            results.append((prompt, tokens(engine.stream(prompt, SHORT))))

    threads = [threading.Thread(target=ask, args=(prompt,)) for prompt in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    assert all(found == expected[prompt] for prompt, found in results)


def test_the_context_bounds_the_answer(engine: Engine) -> None:
    limit = engine.config.max_length
    ids = (engine.tokenize(PROMPT) * 50)[: limit - 3]
    generation = engine.stream(ids, GenerationOptions(max_tokens=100), constrain=no_end(engine))
    assert len(tokens(generation)) == 3
    with pytest.raises(MessageTooLongError, match="길어요"):
        engine.stream([5] * limit)
    with pytest.raises(MessageTooLongError):
        engine.score([5] * limit, [5, 5])


@pytest.mark.parametrize("prompt", ["", []])
def test_an_empty_prompt_is_refused(engine: Engine, prompt: str | list[int]) -> None:
    with pytest.raises(EmptyMessageError):
        engine.stream(prompt)


@pytest.mark.parametrize("token", [-1, 352])
def test_ids_outside_the_vocabulary_are_refused(engine: Engine, token: int) -> None:
    with pytest.raises(ValueError, match="vocabulary"):
        engine.stream([5, token])


def test_an_answer_may_be_read_in_parts(engine: Engine) -> None:
    whole = tokens(engine.stream(PROMPT, SHORT, constrain=no_end(engine)))
    generation = engine.stream(PROMPT, SHORT, constrain=no_end(engine))
    first = [piece.token for piece in islice(generation, 5)]
    assert first + tokens(generation) == whole


def damage(folder: Path, file: str, content: bytes | None) -> None:
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_bytes(content)


@pytest.mark.parametrize(
    ("file", "content", "error"),
    [
        ("model.onnx", None, ModelMissingError),
        ("model.onnx", b"", ModelCorruptError),
        ("model.onnx", b"\x08\x0a" * 500, ModelCorruptError),
        ("model.onnx.data", None, ModelCorruptError),
        ("model.onnx.data", b"short", ModelCorruptError),
        ("tokenizer.json", None, ModelMissingError),
        ("tokenizer.json", b"{}", ModelCorruptError),
        ("config.json", None, ModelMissingError),
        ("config.json", b"{", ModelCorruptError),
        ("config.json", b"[]", ModelCorruptError),
        ("config.json", b'{"architecture": "gpt_neox", "layers": "two"}', ModelCorruptError),
        ("config.json", b'{"model_type": "gpt_neox"}', UnsupportedModelError),
    ],
)
def test_a_damaged_model_is_refused(
    model: Path, tmp_path: Path, file: str, content: bytes | None, error: type[Exception]
) -> None:
    folder = shutil.copytree(model, tmp_path / "model")
    damage(folder, file, content)
    with pytest.raises(error):
        Engine.load(folder, threads=1)


@pytest.mark.parametrize("change", [{"layers": 3}, {"heads": 4}, {"head_dim": 16}, {"vocab_size": 400}])
def test_a_configuration_of_another_model_is_refused(
    model: Path, tmp_path: Path, change: dict[str, int]
) -> None:
    folder = shutil.copytree(model, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | change), encoding="utf-8")
    with pytest.raises(ModelCorruptError, match="맞지 않아요"):
        Engine.load(folder, threads=1)


def test_a_tokenizer_larger_than_the_model_is_refused(model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(model, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": 300}), encoding="utf-8")
    with pytest.raises(ModelCorruptError, match="토크나이저"):
        Engine.load(folder, threads=1)
