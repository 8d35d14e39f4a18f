from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agents.encoder import Encoder
from assistant.context import Context
from assistant.grounding import (
    SENTENCE_FEATURES,
    Candidate,
    ConditionalLogit,
    Gate,
    Grounding,
    choice,
    ground,
    relative,
    sentence_features,
    topic_terms,
    type_match,
)
from assistant.lookup import look_up
from retrieval.index import Index
from tests.assistant.turn import BOOKS


def grounded(message: str, index: Index, encoder: Encoder, gate: Gate) -> Grounding:
    question, hits = look_up(message, Context(), index, encoder)
    return ground(question, hits, gate, index, encoder)


def feature(candidate: Candidate, name: str) -> float:
    return float(candidate.features[SENTENCE_FEATURES.index(name)])


@pytest.mark.parametrize(
    ("question", "sentence", "expected"),
    [
        ("언제 열어요?", "평일 오전 9시에 엽니다.", (1.0, 0.0)),
        ("언제 열어요?", "책이 많습니다.", (0.0, 1.0)),
        ("이용료는 얼마예요?", "한 달에 3만 원입니다.", (1.0, 0.0)),
        ("왜 쉬나요?", "청소를 하기 때문에 쉽니다.", (1.0, 0.0)),
        ("전화번호가 뭐예요?", "02-123-4567로 걸어 주세요.", (1.0, 0.0)),
        ("이용료는 얼마예요?", "누구나 반갑게 맞습니다.", (0.0, 1.0)),
        ("도서관은 커요?", "도서관은 큽니다.", (0.0, 0.0)),
    ],
)
def test_a_sentence_has_what_the_kind_of_question_asks_for(
    question: str, sentence: str, expected: tuple[float, float]
) -> None:
    assert type_match(question, sentence) == expected


def test_topic_terms_leave_out_words_that_only_ask() -> None:
    assert topic_terms("도서관은 언제 문을 닫는지 알려 주세요. 도서관이요.") == ("도서관", "문", "닫")
    assert topic_terms("뭐예요?") == ()


def test_the_answering_sentence_is_first_and_its_place_is_exact(
    library: Index, encoder: Encoder, gate: Gate
) -> None:
    found = grounded("책은 한 번에 몇 권까지 빌릴 수 있나요?", library, encoder, gate)
    best = found.candidates[0]
    assert best.text == BOOKS and best.heading == "책 빌리기"
    text = library.document_text(best.hit.passage.document_id)
    assert all(
        text[c.start : c.end] == c.text for c in found.candidates if c.hit.passage.document == "도서관.md"
    )
    probabilities = [c.probability for c in found.candidates]
    assert probabilities == sorted(probabilities, reverse=True)
    assert found.answerable > 0.9


def test_a_question_about_something_else_is_not_answerable(
    library: Index, encoder: Encoder, gate: Gate
) -> None:
    assert grounded("화성 탐사선의 바퀴는 무슨 금속으로 만드나요?", library, encoder, gate).answerable < 0.1


def test_overlaps_are_shares_of_the_questions_words(library: Index, encoder: Encoder) -> None:
    question, hits = look_up("연체하면 하루에 얼마를 내야 하나요?", Context(), library, encoder)
    candidates = {c.text: c for c in sentence_features(question, hits, library, encoder)}
    right, wrong = candidates["연체하면 하루에 100원을 내야 합니다."], candidates["매주 월요일에는 쉽니다."]
    assert feature(right, "overlap") == pytest.approx(1)
    assert feature(wrong, "overlap") == 0
    assert feature(right, "soft_overlap") == pytest.approx(1, abs=1e-5)
    assert 0 <= feature(wrong, "soft_overlap") < 0.9
    for c in candidates.values():
        for name in ("overlap", "overlap_with_heading", "overlap_passage", "heading_overlap", "bigrams"):
            assert 0 <= feature(c, name) <= 1 + 1e-9
        assert feature(c, "overlap") <= feature(c, "overlap_with_heading") <= feature(c, "overlap_passage")


def test_the_carried_topic_counts_on_its_own(library: Index, encoder: Encoder) -> None:
    context = Context(carried=("체육관",))
    question, hits = look_up("그럼 주차는 어디에 해요?", context, library, encoder)
    candidates = sentence_features(question, hits, library, encoder)
    carried = {c.hit.passage.document: feature(c, "carried_overlap") for c in candidates}
    assert carried == {"체육관.md": pytest.approx(1), "도서관.md": 0}


def test_a_sentence_that_was_just_said_counts_less(library: Index, encoder: Encoder, gate: Gate) -> None:
    question, hits = look_up("책은 한 번에 몇 권까지 빌릴 수 있나요?", Context(), library, encoder)
    fresh, second = ground(question, hits, gate, library, encoder).candidates[:2]
    said = {(fresh.hit.passage.document_id, fresh.start)}
    again = ground(question, hits, gate, library, encoder, said)
    (same,) = (c for c in again.candidates if c.text == fresh.text)
    (other,) = (c.probability for c in again.candidates if c.text == second.text)
    assert same.probability / other == pytest.approx(0.4 * fresh.probability / second.probability)
    assert 0 < other < 1 and other > second.probability and again.answerable <= 1


def test_a_second_version_of_a_document_takes_no_confidence_away(
    library: Index, encoder: Encoder, gate: Gate
) -> None:
    question, hits = look_up("책은 한 번에 몇 권까지 빌릴 수 있나요?", Context(), library, encoder)
    copies = [
        replace(hit, passage=replace(hit.passage, document_id="copy", document="도서관 (2).md"))
        for hit in hits
    ]
    once = ground(question, hits, gate, library, encoder)
    twice = ground(question, [*hits, *copies], gate, library, encoder)
    assert twice.candidates[0].probability < 0.7 * once.answerable < twice.answerable


def test_nothing_found_is_nothing_to_answer_from(library: Index, encoder: Encoder, gate: Gate) -> None:
    question, _ = look_up("책", Context(), library, encoder)
    found = ground(question, [], gate, library, encoder)
    assert found.candidates == () and found.answerable == 0


@pytest.mark.parametrize("message", ["?!", "뭐예요?", "ㅁㄴㅇㄹ", "가" * 3000, "\ud800", "🙂🙂"])
def test_odd_questions_have_finite_features(
    library: Index, encoder: Encoder, gate: Gate, message: str
) -> None:
    found = grounded(message, library, encoder, gate)
    assert all(np.isfinite(c.features).all() for c in found.candidates)
    assert 0 <= found.answerable <= 1


def test_a_conditional_logit_is_linear() -> None:
    values = {"mean": [1.0, 0.0], "scale": [2.0, 1.0], "weights": [2.0, -1.0], "bias": 0.5}
    found = ConditionalLogit.from_json(values).scores(np.array([[3.0, 1.5], [1.0, 0.5]]))
    np.testing.assert_allclose(found, [1.0, 0.0])


def test_a_choice_shares_one_between_the_candidates_and_none() -> None:
    odds = np.exp([1.5, 0.5])
    np.testing.assert_allclose(choice(np.array([1.5, 0.5])), odds / (1 + odds.sum()))
    assert choice(np.array([1000.0, 0.0]))[0] == pytest.approx(1)


def test_relative_features_tell_the_best_of_a_list() -> None:
    rows = relative(np.array([[3.0], [1.0]]))
    assert rows.shape == (2, 3)
    assert rows[0].tolist() == pytest.approx([3.0, 1 / 1.05, 0.0])
    assert rows[1].tolist() == pytest.approx([1.0, -1 / 1.05, -2.0])


def test_a_gate_is_read_from_its_folder(tmp_path: Path) -> None:
    model = {"mean": [0.0], "scale": [1.0], "weights": [3.0], "bias": 1}
    config = {"sentence": model, "reader": False, "threshold": 0.25}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    gate = Gate.load(tmp_path)
    assert (gate.threshold, gate.sentence.bias, gate.reader) == (0.25, 1.0, None)
