from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from assistant.engine.detokenizer import Detokenizer, StopStrings, token_bytes

HANGUL = st.text(st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3), min_size=1, max_size=30)
ANYTHING = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(text=HANGUL | ANYTHING)
def test_every_prefix_is_a_prefix_of_the_text(tokenizer: Tokenizer, text: str) -> None:
    text = unicodedata.normalize("NFC", text).replace("\ufffd", "")
    ids = tokenizer.encode(text).ids
    detokenizer, shown = Detokenizer(token_bytes(tokenizer)), ""
    for token in ids:
        shown += detokenizer.push(token)
        assert "\ufffd" not in shown
        assert text.startswith(shown)
    assert shown == text


@given(ids=st.lists(st.integers(0, 339), max_size=60))
def test_no_sequence_of_tokens_makes_a_replacement_character(tokenizer: Tokenizer, ids: list[int]) -> None:
    detokenizer = Detokenizer(token_bytes(tokenizer))
    shown = "".join(detokenizer.push(token) for token in ids)
    assert "\ufffd" not in shown
    shown.encode()


def test_a_syllable_cut_between_tokens_is_held_back() -> None:
    detokenizer = Detokenizer([b"\xea", b"\xb0", b"\x80", b"!", b"\xff"])
    assert [detokenizer.push(token) for token in (0, 1, 2, 3)] == ["", "", "가", "!"]


def test_a_replacement_character_of_a_document_is_not_repeated() -> None:
    detokenizer = Detokenizer(["가\ufffd나".encode()])
    assert detokenizer.push(0) == "가나"


def test_bytes_that_never_become_a_character_are_dropped() -> None:
    detokenizer = Detokenizer([b"\xea\xb0", "나".encode(), b"\xff"])
    assert [detokenizer.push(token) for token in (0, 1, 2, 1)] == ["", "나", "", "나"]


def test_special_tokens_have_no_text(tokenizer: Tokenizer) -> None:
    table = token_bytes(tokenizer)
    assert table[tokenizer.token_to_id("<|end|>")] == b""
    assert sum(entry == b"" for entry in table) == 3


@given(
    text=st.text("abc", max_size=30),
    stops=st.lists(st.text("abc", min_size=1, max_size=4), max_size=3),
    data=st.data(),
)
def test_text_ends_before_the_first_stop_wherever_the_pieces_are_cut(
    text: str, stops: list[str], data: st.DataObject
) -> None:
    matcher, shown, rest = StopStrings(tuple(stops)), "", text
    while rest and not matcher.found:
        size = data.draw(st.integers(1, len(rest)))
        shown, rest = shown + matcher.push(rest[:size]), rest[size:]
        assert text.startswith(shown)
        assert not any(stop in shown for stop in stops)
    if matcher.found:
        consumed = text[: len(text) - len(rest)]
        assert shown == consumed[: min(consumed.find(stop) for stop in stops if stop in consumed)]
    else:
        assert shown + matcher.flush() == text
        assert not any(stop in text for stop in stops)


@pytest.mark.parametrize("stops", [(), ("",)])
def test_without_stop_strings_nothing_is_held_back(stops: tuple[str, ...]) -> None:
    matcher = StopStrings(stops)
    assert matcher.push("안녕") == "안녕"
    assert not matcher.found
