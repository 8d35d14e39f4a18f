import re

from hypothesis import given
from hypothesis import strategies as st

from assistant.daemon.evidence import NONE_YET, escape, evidence_html, numbered_answer, outcome_html
from assistant.events import Done, Source

PASSAGE = "연차는 사흘 전까지 신청합니다. 급하면 당일도 됩니다. 문의는 총무팀입니다."


def span(start: int, end: int, **fields: object) -> Source:
    text = PASSAGE[start:end]
    return Source("휴가.md", "안내 > 신청", None, 100 + start, 100 + end, text, "id", PASSAGE, 100, **fields)


def test_spans_of_one_passage_share_a_card_and_are_marked_in_their_place() -> None:
    shown = evidence_html([span(18, 29), span(0, 17)], "cited")
    assert shown.count("<article") == 1
    assert re.findall(r"<mark>(.*?)</mark>", shown) == [PASSAGE[0:17], PASSAGE[18:29]]
    assert re.sub(r"<[^>]+>", "", shown).endswith(PASSAGE)
    assert "휴가.md <i>›</i> 안내 <i>›</i> 신청" in shown


def test_overlapping_spans_repeat_no_text() -> None:
    shown = evidence_html([span(0, 20), span(10, 29)], "cited")
    assert re.sub(r"<[^>]+>", "", shown).endswith(PASSAGE)


@given(text=st.text(max_size=60))
def test_no_text_of_a_document_becomes_markup_or_a_template(text: str) -> None:
    assert not set(escape(text)) & set("<>\"'{}$")
    shown = evidence_html([Source(text, text, 3, 0, len(text), text, "id", text, 0)], "cited")
    assert set(re.findall(r"</?(\w+)", shown)) <= {"p", "article", "header", "b", "span", "i", "mark"}


def test_numbers_follow_the_parts_of_the_answer_that_they_support() -> None:
    sources = (span(0, 17, answer_start=0, answer_end=3), span(18, 29, answer_start=4, answer_end=7))
    outcome = Done("하나. 둘둘.", False, "documents", "", 1.0, sources).to_json()
    assert numbered_answer("하나. 둘둘.", outcome) == "하나. [1] 둘둘. [2]"


def test_a_stored_outcome_is_shown_again() -> None:
    done = Done("답", True, "documents", "", 1.0, (span(0, 17),))
    assert "가장 가까운" in outcome_html(done.to_json())
    assert outcome_html(None) == NONE_YET
