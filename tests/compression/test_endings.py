from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compression.language.endings import (
    coda,
    interrogative,
    is_plain,
    is_polite,
    polite,
    statement,
    topic_particle,
)

PLAIN = [
    ("다리를 만들었다.", "다리를 만들었습니다.", "다리를 만들었나요?"),
    ("물을 판매한다.", "물을 판매합니다.", "물을 판매하나요?"),
    ("밥을 먹는다.", "밥을 먹습니다.", "밥을 먹나요?"),
    ("그렇지 않는다.", "그렇지 않습니다.", "그렇지 않나요?"),
    ("빵을 만든다.", "빵을 만듭니다.", "빵을 만드나요?"),
    ("사람이 는다.", "사람이 늡니다.", "사람이 느나요?"),
    ("강이 길다.", "강이 깁니다.", "강이 기나요?"),
    ("산이 높다.", "산이 높습니다.", "산이 높나요?"),
    ("키가 크다", "키가 큽니다.", "키가 크나요?"),
    ("여기는 학교이다.", "여기는 학교입니다.", "여기는 학교인가요?"),
    ("고래는 물고기가 아니다.", "고래는 물고기가 아닙니다.", "고래는 물고기가 아닌가요?"),
    ("잘 보인다!", "잘 보입니다!", "잘 보이나요?"),
    ("한도는 5일까지다.", "한도는 5일까지입니다.", "한도는 5일까지인가요?"),
]
POLITE = [
    "안녕하세요.",
    "그러면 돼요.",
    "한번 가 봐요!",
    "축하드려요~",
    "제가 준비할게요.",
    "무엇인가요?",
    "좋지요.",
    "그렇죠",
    "신청하십시오.",
    "신청합니다.",
    "누구입니까?",
    "같이 갑시다.",
]
NEITHER = ["서류 필요", "매우 중요.", "사업 개요", "푸른 바다", "캐나다", "날마다", "", "2,000원", "끝", "요"]


@pytest.mark.parametrize(("plain", "formal", "asked"), PLAIN)
def test_plain_sentences_become_polite_and_questions(plain: str, formal: str, asked: str) -> None:
    assert is_plain(plain)
    assert polite(plain) == formal
    assert interrogative(plain) == asked
    assert statement(plain) == formal
    assert is_polite(formal) and is_polite(asked)


@pytest.mark.parametrize("sentence", POLITE)
def test_polite_sentences_stay(sentence: str) -> None:
    assert is_polite(sentence) and not is_plain(sentence)
    assert polite(sentence) == statement(sentence) == sentence
    assert interrogative(sentence) is None


@pytest.mark.parametrize("phrase", NEITHER)
def test_noun_phrases_are_no_sentences(phrase: str) -> None:
    assert not is_polite(phrase) and not is_plain(phrase)
    assert polite(phrase) == phrase
    assert interrogative(phrase) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("65세 이상 시민", "65세 이상 시민입니다."),
        (" 캐나다. ", "캐나다입니다."),
        ("031-000-0000", "031-000-0000입니다."),
        ("(무료)", "(무료)입니다."),
        ("서류 필요", "서류 필요입니다."),
        ("정말일까", "정말일까입니다."),
        ("정말?", "정말?"),
        ("", ""),
    ],
)
def test_statement_completes_noun_phrases(text: str, said: str) -> None:
    assert statement(text) == said


hangul = st.text(st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3), max_size=6)
endings = st.sampled_from(
    ["", "다", "다.", "는다.", "이다.", "아니다.", "요.", "니다.", "시다", "다?", "다!", " "]
)


@given(st.tuples(hangul, endings).map("".join))
@settings(deadline=None)
def test_polite_and_statement_are_idempotent(sentence: str) -> None:
    assert polite(polite(sentence)) == polite(sentence)
    assert statement(statement(sentence)) == statement(sentence)


@given(st.tuples(hangul, endings).map("".join))
@settings(deadline=None)
def test_a_plain_sentence_always_becomes_polite(sentence: str) -> None:
    if is_plain(sentence):
        assert is_polite(polite(sentence))
        assert is_polite(interrogative(sentence) or "")


@pytest.mark.parametrize(
    ("syllable", "index"), [("가", 0), ("간", 4), ("갈", 8), ("갑", 17), ("힣", 27), ("A", 0)]
)
def test_coda(syllable: str, index: int) -> None:
    assert coda(syllable) == index


@pytest.mark.parametrize(
    ("word", "particle"), [("집", "은"), ("나무", "는"), ("3", "는"), ("AI", "는"), ("", "는")]
)
def test_topic_particle(word: str, particle: str) -> None:
    assert topic_particle(word) == particle
