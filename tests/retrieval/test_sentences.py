from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.sentences import LONGEST_SENTENCE, MARKER, lines, sentences


def split(text: str) -> list[str]:
    return [text[start:end] for start, end in sentences(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("안녕하세요. 반가워요! 정말요?", ["안녕하세요.", "반가워요!", "정말요?"]),
        ("2026. 3. 1.부터 3. 31.까지 접수해요. 끝.", ["2026. 3. 1.부터 3. 31.까지 접수해요.", "끝."]),
        ("기본료는 1.5배입니다. 다음 글", ["기본료는 1.5배입니다.", "다음 글"]),
        ("1. 신분증\n가. 통장\n- 도장\n① 사진\n(2) 서명", ["신분증", "통장", "도장", "사진", "서명"]),
        ("그는 (예. 주말 등) 쉬어요. 네.", ["그는 (예. 주말 등) 쉬어요.", "네."]),
        ("“안 돼요. 싫어요.”라고 했다. 끝났다.", ["“안 돼요. 싫어요.”라고 했다.", "끝났다."]),
        ("붙여 씁니다.그래도 나눠요.", ["붙여 씁니다.", "그래도 나눠요."]),
        ("A. Smith와 B. Jones가 왔다.", ["A. Smith와 B. Jones가 왔다."]),
        ("구분: 1인, 금액: 20만 원\n\n구분: 2인", ["구분: 1인, 금액: 20만 원", "구분: 2인"]),
        ("-----\n***\n글", ["글"]),
        ("열린 괄호( 하나. 둘이에요.", ["열린 괄호( 하나.", "둘이에요."]),
        ("", []),
    ],
)
def test_splits(text: str, expected: list[str]) -> None:
    assert split(text) == expected


def test_a_sentence_without_end_is_cut_at_a_space() -> None:
    parts = split("가나다라 " * 400)
    assert all(len(part) <= LONGEST_SENTENCE for part in parts)
    assert {word for part in parts for word in part.split()} == {"가나다라"}


@given(st.text(alphabet=st.sampled_from("가나다요. !?\n()“”-1①a\t,"), max_size=400) | st.text())
def test_spans_are_ordered_trimmed_and_lose_nothing_but_markers(text: str) -> None:
    end, kept = 0, []
    for start, stop in sentences(text):
        assert end <= start < stop <= len(text)
        sentence = text[start:stop]
        assert sentence == sentence.strip()
        assert "\n" not in sentence
        assert any(character.isalnum() for character in sentence)
        kept.append(sentence)
        end = stop
    unmarked = "\n".join(
        MARKER.sub("", line.lstrip(), count=1) if MARKER.match(line.lstrip()) else line
        for line in text.split("\n")
    )
    assert [c for c in "".join(kept) if c.isalnum()] == [c for c in unmarked if c.isalnum()]


@given(st.text())
def test_lines_are_trimmed(text: str) -> None:
    for start, end in lines(text):
        assert text[start:end] == text[start:end].strip() != ""


def test_a_long_hostile_line_is_quick() -> None:
    assert len(split("( 가. " * 30_000)) > 500
