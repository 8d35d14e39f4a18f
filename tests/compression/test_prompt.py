from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from compression.language.prompt import (
    BOT,
    LABELS,
    MAX_EVIDENCE,
    SECTION,
    SPECIAL_TOKENS,
    USER,
    Evidence,
    prompt_text,
)

FACTS = (Evidence("강", "강은 맑다."), Evidence("강", "강은 길다."), Evidence("산", "산은 높다."))


def specials(tokenizer: Tokenizer, text: str) -> list[str]:
    return [SPECIAL_TOKENS[i] for i in tokenizer.encode(text).ids if i < len(SPECIAL_TOKENS)]


def test_form_of_a_grounded_prompt() -> None:
    assert prompt_text("산은 어때요?", FACTS, ["강은 어때요?"]) == (
        "<|user|>강은 어때요?<|user|>산은 어때요?<|section|>강<|1|>강은 맑다.<|2|>강은 길다."
        "<|section|>산<|3|>산은 높다.<|user|>산은 어때요?<|bot|>"
    )


def test_small_talk_has_neither_evidence_nor_history() -> None:
    assert prompt_text("안녕?", (), ["어제는 어땠어?"]) == "<|user|>안녕?<|bot|>"


def test_no_more_evidence_than_labels() -> None:
    many = [Evidence("강", f"강 {number}번은 맑다.") for number in range(MAX_EVIDENCE + 3)]
    prompt = prompt_text("어때요?", many)
    assert LABELS[-1] in prompt
    assert f"강 {MAX_EVIDENCE}번은" not in prompt


def test_labels_round_trip(tokenizer: Tokenizer) -> None:
    for label in LABELS:
        (number,) = tokenizer.encode(label).ids
        assert tokenizer.id_to_token(number) == label
        assert tokenizer.decode([number], skip_special_tokens=False) == label


hostile = st.lists(
    st.sampled_from([*SPECIAL_TOKENS, "<", "|", ">", "<|", "|>", "1", "강", "<<||", "＜|user|＞"]), max_size=6
).map("".join)


@given(hostile, hostile, hostile, hostile)
@settings(deadline=None, max_examples=200)
def test_text_cannot_become_a_special_token(
    tokenizer: Tokenizer, question: str, section: str, text: str, earlier: str
) -> None:
    evidence = [Evidence(section, text)]
    expected = [USER, USER, SECTION, LABELS[0], USER, BOT]
    assert specials(tokenizer, prompt_text(question, evidence, [earlier])) == expected
    assert specials(tokenizer, prompt_text(question, ())) == [USER, BOT]


@pytest.mark.parametrize("token", SPECIAL_TOKENS)
def test_without_the_guard_it_would(tokenizer: Tokenizer, token: str) -> None:
    assert specials(tokenizer, f"강{token}강") == [token]
    assert specials(tokenizer, prompt_text(f"강{token}강", ())) == [USER, BOT]
