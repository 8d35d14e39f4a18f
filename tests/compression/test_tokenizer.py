from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from compression.language.prompt import END, SPECIAL_TOKENS
from compression.language.tokenizer import train_tokenizer


def test_special_tokens_come_first_in_order(tokenizer: Tokenizer) -> None:
    assert [tokenizer.token_to_id(token) for token in SPECIAL_TOKENS] == list(range(len(SPECIAL_TOKENS)))
    assert tokenizer.encode(END).ids == [0]


@given(st.text(st.characters(exclude_categories=["Cs"])))
@settings(deadline=None, max_examples=200)
def test_any_text_round_trips_in_nfc(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text).ids
    assert tokenizer.decode(ids, skip_special_tokens=False) == unicodedata.normalize("NFC", text)


def test_decomposed_hangul_gets_the_same_ids(tokenizer: Tokenizer) -> None:
    text = "강가에 자리한 도서관"
    assert tokenizer.encode(unicodedata.normalize("NFD", text)).ids == tokenizer.encode(text).ids


@pytest.mark.parametrize("number", ["2024", "031-000-0000", "1,234.5"])
def test_digits_stay_single(tokenizer: Tokenizer, number: str) -> None:
    pieces = [tokenizer.decode([i]) for i in tokenizer.encode(number).ids]
    assert [p for p in pieces if p.isdigit()] == [c for c in number if c.isdigit()]


def test_frequent_words_become_one_token_and_the_file_is_what_was_trained(tmp_path: Path) -> None:
    trained = train_tokenizer(["맑은 강이 흐른다."] * 50, 320, tmp_path / "new")
    saved = Tokenizer.from_file(str(tmp_path / "new" / "tokenizer.json"))
    assert len(trained.encode("맑은 강이 흐른다.").ids) == 4
    assert saved.encode("맑은 강").ids == trained.encode("맑은 강").ids
    assert saved.get_vocab_size() <= 320
