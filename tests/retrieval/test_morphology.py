from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.morphology import content_morphemes, index_terms, index_terms_of


def test_particles_and_endings_fall_away() -> None:
    assert content_morphemes("도서관에서는 책을 읽었습니다.") == ["도서관", "책", "읽"]
    assert content_morphemes("책을 읽을까요?") == content_morphemes("책 읽었다")


def test_numbers_and_foreign_words_are_normalised() -> None:
    assert content_morphemes("KTX 요금은 3,000원") == ["ktx", "요금", "3000", "원"]
    assert content_morphemes("전화 02-123-4567")[1:] == ["02", "123", "4567"]


@given(st.lists(st.text(max_size=40), max_size=5))
@settings(max_examples=30)
def test_many_texts_at_once_give_the_same_terms(wild: list[str]) -> None:
    texts = ["주민등록등본을 떼러 갔어요.", "", "3,000원 \ud800 ㅋㅋ", "담소하닙이 먹닙습니다", *wild]
    assert list(index_terms_of(texts)) == [index_terms(text) for text in texts]
    assert list(index_terms_of([])) == []


def test_light_verbs_are_left_out() -> None:
    assert content_morphemes("그것을 하고 있는 것") == []


def test_a_compound_is_indexed_whole_and_in_parts() -> None:
    terms = index_terms("주민등록등본을")
    assert {"주민", "등록", "등본", "주민등록등본"} <= set(terms)


def test_unknown_words_meet_by_bigrams() -> None:
    assert {"뷁쉙", "쉙퀡"} <= set(index_terms("뷁쉙퀡을"))
    assert set(index_terms("뷁쉙퀡이라는")) & set(index_terms("뷁쉙퀡에서"))


@pytest.mark.parametrize("text", ["", " ", "!?", "😀", "\ud800", "\x00"])
def test_text_without_words(text: str) -> None:
    assert content_morphemes(text) == []


def test_nfd_equals_nfc() -> None:
    assert index_terms("\u1112\u1172가 신청") == index_terms("휴가 신청")


@settings(max_examples=50)
@given(st.text(max_size=80))
def test_any_text_has_terms_of_its_own_and_no_spaces(text: str) -> None:
    terms = index_terms(text)
    assert set(content_morphemes(text)) <= set(terms)
    assert all(term and "\n" not in term for term in terms)
    assert terms == index_terms(text)


def test_threads_share_one_analyser() -> None:
    with ThreadPoolExecutor(4) as pool:
        texts = [f"도서관 {number}호실을 예약했어요" for number in range(40)]
        assert list(pool.map(index_terms, texts)) == [index_terms(text) for text in texts]
