from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from compression.language.examples import (
    LABEL_WEIGHT,
    LENGTHS,
    PHASES,
    Example,
    Mixture,
    batches,
    induction_examples,
    sources,
    text_examples,
    turn_example,
)
from compression.language.grounded import Turn
from compression.language.prompt import SPECIAL_TOKENS, Evidence

FACT = Evidence("강", "강은 맑다.")


def test_only_the_answer_is_predicted_and_its_label_weighs_most(tokenizer: Tokenizer) -> None:
    turn = Turn("강은 어때요?", (FACT,), 0, "강은 맑습니다.")
    example = turn_example(turn, tokenizer)
    assert example is not None
    prompt, answer = np.split(example.ids, [example.loss_from])
    assert tokenizer.decode(prompt, skip_special_tokens=False).endswith("강은 어때요?<|bot|>")
    assert tokenizer.decode(answer, skip_special_tokens=False) == "<|1|>강은 맑습니다.<|end|>"
    assert example.first_weight == LABEL_WEIGHT


def test_small_talk_has_no_label_to_weigh(tokenizer: Tokenizer) -> None:
    example = turn_example(Turn("안녕?", (), None, "반가워요."), tokenizer)
    assert example is not None and example.first_weight == 1


def test_a_turn_longer_than_the_longest_row_is_left_out(tokenizer: Tokenizer) -> None:
    assert turn_example(Turn("1" * LENGTHS[-1], (FACT,), 0, "강은 맑습니다."), tokenizer) is None


def test_running_text_is_packed_without_loss(tokenizer: Tokenizer) -> None:
    texts = ["강은 맑다.", "산은 높다. " * 9, "별은 멀다."] * 5
    rows = list(text_examples(texts, tokenizer, length=32))
    assert all(len(row.ids) == 32 and row.loss_from == 1 for row in rows)
    packed = tokenizer.decode(np.concatenate([row.ids for row in rows]), skip_special_tokens=False)
    whole = "".join(f"{text}<|end|>" for text in texts)
    assert whole.startswith(packed) and len(whole) - len(packed) < 64


def test_induction_rows_repeat_and_use_no_special_token() -> None:
    for row in itertools.islice(induction_examples(600, seed=0), 20):
        period = row.loss_from
        assert 8 <= period < 64 and len(row.ids) == 128
        assert (row.ids[period:] == row.ids[:-period]).all()
        assert row.ids.min() >= len(SPECIAL_TOKENS)


def of_length(length: int, token: int) -> itertools.repeat[Example]:
    return itertools.repeat(Example(np.full(length, token, np.uint16), length // 2, 3.0))


def test_batches_are_padded_and_weighted() -> None:
    mixture = Mixture(1, 0, 0, 0, 0)
    ids, weights = next(batches({"text": of_length(100, 7)}, mixture, 512, seed=0))
    assert ids.shape == weights.shape == (4, 128)
    assert ids.dtype == np.int64 and weights.dtype == np.float32
    assert (ids[:, :100] == 7).all() and (ids[:, 100:] == 0).all()
    assert (weights[:, :50] == 0).all() and (weights[:, 100:] == 0).all()
    assert (weights[:, 50] == 3).all() and (weights[:, 51:100] == 1).all()


def test_the_mixture_counts_tokens_not_rows() -> None:
    streams = {"text": of_length(256, 1), "wiki": of_length(64, 2), "natural": of_length(64, 3)}
    seen: Counter[int] = Counter()
    for ids, _ in itertools.islice(batches(streams, Mixture(0.5, 0.5, 0, 0, 0), 512, seed=0), 200):
        seen.update(ids.ravel().tolist())
    assert abs(seen[1] / (seen[1] + seen[2]) - 0.5) < 0.02
    assert seen[3] == 0


def test_every_source_flows_without_end(data: Path, tokenizer: Tokenizer) -> None:
    streams = sources(data, tokenizer, seed=3)
    assert set(streams) == set(Mixture.__dataclass_fields__)
    for stream in streams.values():
        drawn = list(itertools.islice(stream, 150))
        assert len(drawn) == 150
        assert all(0 < row.loss_from < len(row.ids) <= LENGTHS[-1] for row in drawn)


def test_the_same_seed_gives_the_same_batches(data: Path, tokenizer: Tokenizer) -> None:
    def first(seed: int) -> list[int]:
        stream = batches(sources(data, tokenizer, seed), PHASES[0], 512, seed)
        return [token for ids, _ in itertools.islice(stream, 2) for token in ids.ravel().tolist()]

    one = first(1)
    assert first(1) == one
    assert first(2) != one
