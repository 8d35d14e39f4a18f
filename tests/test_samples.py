from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from pathlib import Path

import pytest

SAMPLES = Path(__file__).parents[1] / "samples"
DOCUMENTS = {
    unicodedata.normalize("NFC", path.name): path.read_text(encoding="utf-8")
    for path in sorted((SAMPLES / "documents").iterdir())
}
QUESTION_LINES = (SAMPLES / "questions.jsonl").read_text(encoding="utf-8").splitlines()
QUESTIONS = [json.loads(line) for line in QUESTION_LINES]
ANSWERABLE = [question for question in QUESTIONS if question["answerable"]]
UNANSWERABLE = [question for question in QUESTIONS if not question["answerable"]]

PUBLIC_SERVICES = (
    "청년월세지원.md",
    "대형폐기물배출.md",
    "여권발급안내.txt",
    "시립도서관이용.md",
    "예방접종안내.txt",
    "주민센터안내.md",
)
NUMBERED_HEADING = re.compile(r"\d+\. \S|제\d+조\(")


def squeezed(text: str) -> str:
    return "".join(text.split())


def is_heading(name: str, line: str, number: int) -> bool:
    if name.endswith(".md"):
        return line.startswith("#")
    return number == 0 or NUMBERED_HEADING.match(line) is not None


def sections(name: str) -> dict[str, str]:
    """Heading without its markup -> the text under it, up to the next heading; "" is under the title."""
    found: dict[str, list[str]] = {}
    for number, line in enumerate(DOCUMENTS[name].splitlines()):
        if is_heading(name, line, number):
            heading = line.lstrip("# ") if number else ""
            assert heading not in found, f"{name} has {heading} twice"
            found[heading] = []
        else:
            found[heading].append(line)
    return {heading: "\n".join(lines) for heading, lines in found.items()}


def by_id(questions: list[dict]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("question", questions, ids=[question["id"] for question in questions])


@pytest.mark.parametrize("name", DOCUMENTS)
def test_document_has_its_size_and_form(name: str) -> None:
    text = DOCUMENTS[name]
    assert 600 <= len(text) <= 2500
    assert unicodedata.is_normalized("NFC", text)
    assert len(sections(name)) >= 7
    assert name.endswith(".txt") or text.startswith("# ")


@pytest.mark.parametrize("name", PUBLIC_SERVICES)
def test_public_service_document_says_it_is_invented(name: str) -> None:
    assert "이 문서는 담소의 예시로 지어낸 글입니다." in DOCUMENTS[name]


def test_collection_is_large_and_mixed() -> None:
    assert len(DOCUMENTS) == 16
    assert Counter(Path(name).suffix for name in DOCUMENTS) == {".md": 10, ".txt": 6}
    assert sum("|---" in text for text in DOCUMENTS.values()) >= 3


def test_questions_are_enough_and_distinct() -> None:
    assert len(ANSWERABLE) >= 120
    assert len(UNANSWERABLE) >= 60
    assert sum(bool(question["history"]) for question in QUESTIONS) >= 20
    assert len({question["id"] for question in QUESTIONS}) == len(QUESTIONS)
    assert len({(question["question"], *question["history"]) for question in QUESTIONS}) == len(QUESTIONS)


def test_no_document_is_in_both_splits() -> None:
    splits = {(question["document"], question["split"]) for question in ANSWERABLE}
    assert {document for document, _ in splits} == set(DOCUMENTS)
    assert Counter(split for _, split in splits) == {"dev": 6, "test": 10}


def test_unanswerable_questions_are_spread_like_the_documents() -> None:
    dev = sum(question["split"] == "dev" for question in UNANSWERABLE)
    assert 0.3 <= dev / len(UNANSWERABLE) <= 0.4


@by_id(ANSWERABLE)
def test_evidence_is_a_plain_line_of_its_section(question: dict) -> None:
    evidence = question["evidence"]
    assert evidence
    # The readers drop markup, so evidence that holds none is found in what they return, too.
    assert not re.search(r"[|#*\n]", evidence)
    assert evidence in sections(question["document"])[question["section"]]


@by_id(ANSWERABLE)
def test_every_key_group_is_met_by_the_evidence(question: dict) -> None:
    evidence = squeezed(question["evidence"])
    assert question["keys"]
    for group in question["keys"]:
        assert all(key == squeezed(key) != "" for key in group)
        assert any(key in evidence for key in group), group


@by_id(ANSWERABLE)
def test_question_does_not_give_the_answer_away(question: dict) -> None:
    asked = squeezed(" ".join([question["question"], *question["history"]]))
    assert not all(any(key in asked for key in group) for group in question["keys"])


@by_id(UNANSWERABLE)
def test_unanswerable_question_points_nowhere(question: dict) -> None:
    assert question["question"].strip()
    assert question["keys"] == []
    assert {question["document"], question["section"], question["evidence"]} == {""}
