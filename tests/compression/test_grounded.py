from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from compression.language.corpus import Article
from compression.language.endings import is_polite, polite, statement
from compression.language.grounded import (
    NOT_FOUND,
    Turn,
    answer_text,
    article_turns,
    korquad2_turns,
    natural_turns,
    qa_turns,
    smalltalk_turns,
    welfare_programmes,
    welfare_turns,
    wh_question,
    wiki_turns,
)
from compression.language.prompt import LABELS, MAX_EVIDENCE, Evidence

STRANGERS = tuple(Evidence("별", f"별 {number}번은 아주 멀리에서 빛난다.") for number in range(20))


def turns_of(kind: str, data: Path) -> list[Turn]:
    rng = random.Random(7)
    makers = {
        "wiki": lambda: wiki_turns(data, (0, 1, 2, 3), rng, 1000),
        "natural": lambda: natural_turns(data, STRANGERS, rng),
        "held out": lambda: natural_turns(data, STRANGERS, rng, held_out=True),
        "korquad2": lambda: korquad2_turns(data, STRANGERS, rng),
    }
    return list(makers[kind]())


@pytest.mark.parametrize("kind", ["wiki", "natural", "held out", "korquad2"])
def test_every_answer_quotes_the_evidence_it_points_at(kind: str, data: Path) -> None:
    turns = turns_of(kind, data)
    assert len(turns) >= 4
    for turn in turns:
        assert 1 <= len(turn.evidence) <= MAX_EVIDENCE
        assert is_polite(turn.answer)
        if turn.answer_index is None:
            assert turn.answer == NOT_FOUND
            assert answer_text(turn) == f"<|none|>{NOT_FOUND}<|end|>"
        else:
            assert turn.answer == statement(turn.evidence[turn.answer_index].text)
            assert answer_text(turn).startswith(LABELS[turn.answer_index])


def test_some_turns_have_no_answer_and_answers_stand_anywhere(data: Path) -> None:
    places = [turn.answer_index for turn in turns_of("wiki", data) + turns_of("natural", data)]
    assert {None, 0, 1, 2, 3} <= set(places)
    assert 0.02 < places.count(None) / len(places) < 0.25


def test_sections_stand_together(data: Path) -> None:
    for turn in turns_of("wiki", data):
        sections = [item.section for item in turn.evidence]
        assert len(list(dict.fromkeys(sections))) == 1 + sum(
            a != b for a, b in zip(sections, sections[1:], strict=False)
        )


def test_the_answering_sentence_holds_the_answer(data: Path) -> None:
    for turn in turns_of("natural", data):
        if turn.answer_index is not None and "좌석" in turn.question:
            assert "240석" in turn.answer


def test_an_unanswerable_turn_lacks_the_answer() -> None:
    context = "제비극장은 김마루가 세운 극장이다. 봄마다 인형극 잔치가 열린다."
    item = {
        "question": "누가 세웠나요?",
        "context": context,
        "answers": [{"text": "김마루"}],
        "title": "제비극장",
    }
    same = [Evidence("제비극장", "제비극장은 김마루가 세운 극장이다."), *STRANGERS]
    turns = list(qa_turns([item] * 300, same, random.Random(1)))
    without = [turn for turn in turns if turn.answer_index is None]
    assert 10 < len(without) < 60
    assert not any("김마루" in fact.text for turn in without for fact in turn.evidence)


def test_held_out_questions_are_never_trained_on(data: Path) -> None:
    def texts(kind: str) -> set[str]:
        return {
            polite(fact.text)
            for turn in turns_of(kind, data)
            for fact in turn.evidence
            if fact not in STRANGERS
        }

    train, held = ({t.question for t in turns_of(kind, data)} for kind in ("natural", "held out"))
    assert train and held and not train & held
    own = {text for text in texts("held out") if re.match(r"제\d+극장은", text)}
    assert own and not own & texts("natural")


@pytest.mark.parametrize(
    ("sentence", "word", "hidden"),
    [
        ("가람 도서관은 1924년 5월 3일에 처음으로 문을 열었다.", "언제", "1924년"),
        ("가람 도서관에는 직원 35명이 함께 일한다.", "몇 명", "35"),
        ("입장권은 한 장에 2,000원에 판매한다고 정했다.", "얼마", "2,000"),
        ("이 도서관은 강가의 가람시에 위치한 건물을 쓴다.", "어디", "가람시"),
        ("이 도서관은 시인 김마루가 처음으로 설립하였다.", "누", "김마루"),
        ("가람 도서관은 비를 피하기 위해 지붕을 높였다.", "왜", "위해"),
    ],
)
def test_a_question_word_takes_the_place_of_the_fact(sentence: str, word: str, hidden: str) -> None:
    questions = {wh_question("가람 도서관", sentence, random.Random(seed)) for seed in range(40)}
    assert None not in questions
    assert all(word in question and hidden not in question for question in questions if question)


def test_a_definition_is_asked_by_its_subject() -> None:
    questions = [wh_question("윤슬", "윤슬은 빛나는 잔물결이다.", random.Random(seed)) for seed in range(20)]
    assert "윤슬은 무엇인가요?" in questions
    assert all(question and question.startswith("윤슬은 ") for question in questions)


def test_a_follow_up_moves_the_topic_into_the_history(data: Path) -> None:
    follow_ups = [turn for turn in turns_of("wiki", data) if turn.history]
    assert follow_ups
    titles = {fact.section for turn in follow_ups for fact in turn.evidence}
    for turn in follow_ups:
        topic = next(title for title in titles if turn.history[0].startswith(title))
        assert topic not in turn.question


def test_a_title_that_is_all_parentheses_leaves_the_questions_whole() -> None:
    article = Article("1", "(가)", "가람 도서관은 1924년에 처음으로 문을 열었다.")
    for seed in range(60):
        for turn in article_turns(article, (), random.Random(seed)):
            assert turn.history == ()


def test_welfare_leaflets_become_questions_about_each_fact() -> None:
    rows = [
        {"text": f"{kind}: {text}", "metadata": {"사업명": "쌀 나눔", "항목": kind}}
        for kind, text in (
            ("지원 대상", "예순다섯 살 이상"),
            ("신청 방법", "주민센터에 신청합니다"),
            ("비고", "없음"),
        )
    ]
    programmes = welfare_programmes([*rows, {"text": "그 밖", "metadata": None}])
    assert list(programmes) == ["쌀 나눔"]
    assert ("지원 대상", "예순다섯 살 이상") in programmes["쌀 나눔"]
    turns = list(welfare_turns(rows, random.Random(3)))
    assert len(turns) == 3
    assert {turn.answer for turn in turns} <= {
        "예순다섯 살 이상입니다.",
        "주민센터에 신청합니다",
        "없음입니다.",
        NOT_FOUND,
    }


def test_small_talk_has_no_evidence(data: Path) -> None:
    turns = list(smalltalk_turns(data))
    assert len(turns) == 12
    assert answer_text(turns[0]) == "좋은 하루네요.<|end|>"
