from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.encoder import Encoder
from assistant.context import Context
from assistant.evaluation import gate as gate_fitting
from assistant.evaluation.gate import observe
from assistant.evaluation.samples import (
    SampleQuestion,
    ask_all,
    judge,
    read_questions,
    sample_assistant,
    summary,
)
from assistant.events import Done, Source, Timings
from assistant.grounding import SENTENCE_FEATURES, Gate, ground
from assistant.lookup import look_up
from assistant.settings import Settings
from compression.language.collections import Asked, Collection
from compression.reading.vectors import MORPHEMES
from retrieval.index import Index
from tests.assistant.turn import BOOKS, GYM, LIBRARY, write_documents

ASKED = SampleQuestion(
    "t1",
    "dev",
    "책은 며칠 동안 빌려요?",
    True,
    "도서관.md",
    "책 빌리기",
    BOOKS,
    (("14일", "두 주"), ("5권",)),
    (),
)
UNANSWERABLE = replace(ASKED, id="t2", answerable=False, document="", section="", evidence="", keys=())


def done(answer: str, *sources: tuple[str, str], abstained: bool = False, total: float = 2.0) -> Done:
    cited = tuple(Source(document, "", None, 0, len(text), text) for document, text in sources)
    timings = Timings(first_token_ms=1.0, total_ms=total)
    return Done(answer, abstained, "documents", "ask_fact", 0.9, cited, timings=timings)


@pytest.mark.parametrize(
    ("outcome", "correct", "cited"),
    [
        (done("5 권까지 14 일이에요.", ("도서관.md", BOOKS)), True, True),
        (done("5권까지 두 주예요.", ("도서관.md", "책은 한 번에 5권까지 14일 동안")), True, True),
        (done("14일이에요.", ("도서관.md", BOOKS)), False, True),
        (done("5권, 14일이에요.", ("체육관.md", BOOKS)), True, False),
        (done("5권, 14일이에요.", ("도서관.md", "매주 월요일에는 쉽니다.")), True, False),
        (done("5권, 14일이에요."), True, False),
        (done("5권, 14일은 문서에 없습니다.", abstained=True), False, False),
    ],
)
def test_an_answer_needs_every_key_and_a_citation_of_the_evidence(
    outcome: Done, correct: bool, cited: bool
) -> None:
    verdict = judge(ASKED, outcome)
    assert (verdict.correct, verdict.cited) == (correct, cited)


def test_the_summary_counts_each_kind_of_question_by_itself() -> None:
    right, wrong = done("5권, 14일", ("도서관.md", BOOKS), total=4.0), done("", abstained=True)
    verdicts = [
        judge(ASKED, right),
        judge(ASKED, wrong),
        judge(UNANSWERABLE, wrong),
        judge(UNANSWERABLE, right),
    ]
    assert summary(verdicts) == {
        "answerable": 2,
        "correct_and_cited": 0.5,
        "correct": 0.5,
        "cited": 0.5,
        "wrongly_abstained": 0.5,
        "unanswerable": 2,
        "abstained": 0.5,
        "first_token_ms": 1.0,
        "total_ms": 3.0,
    }


def test_a_question_comes_after_its_history_in_one_conversation() -> None:
    asked: list[tuple[str, Any]] = []

    class Remembering:
        def ask(self, message: str, conversation: str | None = None) -> Done:
            asked.append((message, conversation))
            return replace(done("5권, 14일"), conversation=conversation or f"c{len(asked)}")

    ticks: list[int] = []
    questions = [replace(ASKED, history=("하나", "둘")), ASKED]
    verdicts = ask_all(Remembering(), questions, lambda: ticks.append(1))  # type: ignore[arg-type]
    assert asked == [("하나", None), ("둘", "c1"), (ASKED.question, "c1"), (ASKED.question, None)]
    assert len(verdicts) == len(ticks) == 2


def test_the_sample_questions_are_read_whole() -> None:
    questions = read_questions()
    assert {question.split for question in questions} == {"dev", "test"}
    assert len({question.id for question in questions}) == len(questions)
    assert all(question.keys for question in questions if question.answerable)


def test_the_sample_assistant_reads_all_samples_and_leaves_nothing(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAMSO_MODELS", str(models))
    wanted = {question.document for question in read_questions() if question.answerable}
    with sample_assistant(Settings(home=tmp_path / "home", threads=1)) as assistant:
        home = assistant.settings.home
        assert wanted <= {document.name for document in assistant.index.documents()}
    assert not home.exists() and not (tmp_path / "home").exists()


def world(number: int) -> Collection:
    """The two documents with a few questions that they answer, and as many that they do not."""
    hours = f"{number % 8 + 1}시"
    documents = {"도서관.md": LIBRARY.replace("9시", hours), "체육관.md": GYM}
    answerable = (
        Asked("도서관은 평일 몇 시부터 문을 여나요?", (hours,), "도서관.md"),
        Asked("책은 한 번에 몇 권까지 빌릴 수 있나요?", ("5권",), "도서관.md"),
        Asked("체육관 이용료는 한 달에 얼마인가요?", ("30,000원",), "체육관.md"),
    )
    missing = (
        Asked("체육관 샤워실은 어디에 있나요?", (), "체육관.md"),
        Asked("도서관 회원증은 어떻게 만드나요?", (), "도서관.md"),
        Asked("수영 강습은 무슨 요일에 하나요?", (), ""),
    )
    return Collection(f"own {number}", documents, answerable + missing)


def test_observing_marks_the_sentences_that_hold_the_answer(encoder: Encoder) -> None:
    observed = list(observe(world(1), encoder))
    assert len(observed) == 6
    books = next(o for o in observed if "권까지" in o.question.text)
    assert [c.text for c, right in zip(books.candidates, books.right, strict=True) if right] == [BOOKS]
    assert not any(o.right.any() for o in observed if "샤워실" in o.question.text)


def test_a_table_row_is_known_by_its_cells(encoder: Encoder) -> None:
    text = "# 요금\n\n| 이름 | 값 |\n|---|---|\n| 방충망 교체 | 3만 원 |\n| 도배 | 20만 원 |\n"
    asked = Asked("방충망 교체는 얼마예요?", ("| 방충망 교체 | 3만 원 |",), "요금.md")
    observed = next(observe(Collection("table", {"요금.md": text}, (asked,)), encoder))
    assert [c.text for c, right in zip(observed.candidates, observed.right, strict=True) if right] == [
        "이름: 방충망 교체, 값: 3만 원"
    ]


def test_a_fitted_gate_can_be_loaded_and_tells_answers_from_near_misses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoder: Encoder
) -> None:
    monkeypatch.setattr(gate_fitting, "worlds", lambda data, seed: [world(n) for n in range(4)])
    monkeypatch.setattr(gate_fitting, "dialogue_collections", lambda split: [world(4)])
    monkeypatch.setattr(gate_fitting, "paraphrase_lists", lambda data, vectors, seed: [])
    vectors = np.random.default_rng(0).normal(size=(MORPHEMES, 16)).astype(np.float32)
    figures = gate_fitting.fit(tmp_path, tmp_path / "gate", threshold=0.4, vectors=vectors)
    assert figures["questions"] == 6
    assert figures["sentence_accuracy"] == 1 and figures["gate_auroc"] > 0.9
    gate = Gate.load(tmp_path / "gate")
    assert gate.threshold == 0.4 and gate.reader is not None
    assert gate.sentence.weights.shape == (3 * len(SENTENCE_FEATURES),)
    with tempfile.TemporaryDirectory() as home, Index.open(Path(home), encoder) as index:
        index.ingest(write_documents(tmp_path / "documents"))
        question, hits = look_up("책은 한 번에 몇 권까지 빌릴 수 있나요?", Context(), index, encoder)
        found = ground(question, hits, gate, index, encoder)
    assert found.candidates[0].text == BOOKS
    assert 0 < found.answerable <= 1
