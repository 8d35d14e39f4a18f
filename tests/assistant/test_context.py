from __future__ import annotations

import pytest

from assistant.context import Context, context_of, leans_on_earlier
from assistant.history import Message


def said(text: str) -> Message:
    return Message("user", text, None, 0.0)


def answered(*documents: str) -> Message:
    outcome = {"sources": [{"document_id": document} for document in documents]}
    return Message("assistant", "네.", outcome, 0.0)


@pytest.mark.parametrize(
    ("message", "leans"),
    [
        ("그럼 어린이는 얼마예요?", True),
        ("그건 언제까지 도서관에 반납 신청을 하나요?", True),
        ("주차는요?", True),
        ("얼마예요?", True),
        ("가람 도서관은 책을 몇 권까지 빌려주나요?", False),
        ("다온 체육관의 한 달 이용료는 얼마인가요?", False),
    ],
)
def test_a_question_that_cannot_stand_alone_is_known(message: str, leans: bool) -> None:
    assert leans_on_earlier(message) is leans


def test_a_conversation_that_begins_lends_nothing() -> None:
    assert context_of("책은 몇 권까지 빌려요?", []) == Context()


def test_a_follow_up_carries_the_topic_the_question_and_the_document() -> None:
    earlier = [said("가람 도서관은 책을 몇 권까지 빌려주나요?"), answered("d1", "d2")]
    context = context_of("그럼 며칠 동안요?", earlier)
    assert {"도서관", "책"} <= set(context.carried)
    assert context.question == "가람 도서관은 책을 몇 권까지 빌려주나요?"
    assert context.documents == {"d1", "d2"}


def test_a_question_of_its_own_brings_no_earlier_question_into_the_prompt() -> None:
    earlier = [said("가람 도서관은 책을 몇 권까지 빌려주나요?"), answered("d1")]
    assert context_of("다온 체육관의 한 달 이용료는 얼마인가요?", earlier).question == ""


def test_a_chain_of_follow_ups_reaches_back_to_the_question_that_stands_alone() -> None:
    earlier = [
        said("우리 마을 수영장 강습료는 얼마인가요?"),
        answered("d0"),
        said("가람 도서관은 책을 몇 권까지 빌려주나요?"),
        answered("d1"),
        said("그럼 며칠 동안요?"),
        answered(),
    ]
    context = context_of("연체하면요?", earlier)
    assert "도서관" in context.carried
    assert "수영장" not in context.carried
    assert context.question == "그럼 며칠 동안요?"
    assert context.documents == {"d1"}, "an answer without sources keeps the document cited before it"


def test_what_was_just_cited_is_known_unless_the_same_is_asked_again() -> None:
    outcome = {"sources": [{"document_id": "d1", "start": 12}]}
    earlier = [said("책은 몇 권까지 빌려요?"), Message("assistant", "5권입니다.", outcome, 0.0)]
    assert context_of("늦으면요?", earlier).cited == {("d1", 12)}
    assert context_of(" 책은 몇 권까지 빌려요?", earlier).cited == frozenset()


@pytest.mark.parametrize(
    ("reply", "sources", "carried"),
    [
        ("1년 이상 다니면 됩니다. 고용보험에는 드셨나요?", ["d1"], True),
        ("고용보험에 들면 됩니다.", ["d1"], False),
        ("고용보험에는 드셨나요?", [], False),
    ],
)
def test_what_an_answer_asked_back_is_carried(reply: str, sources: list[str], carried: bool) -> None:
    outcome = {"sources": [{"document_id": document} for document in sources]}
    earlier = [said("육아휴직 급여를 받을 수 있나요?"), Message("assistant", reply, outcome, 0.0)]
    found = context_of("네, 5년째예요", earlier).carried
    assert ("보험" in " ".join(found)) is carried and "다니" not in found
