"""The sample question set, asked of the whole assistant turn by turn: answers, citations, abstention."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from assistant.dialog import Assistant
from assistant.events import Done
from assistant.settings import Settings

SAMPLES = Path(__file__).resolve().parents[2] / "samples"


@dataclass(frozen=True)
class SampleQuestion:
    """One question of ``samples/questions.jsonl``.

    Attributes:
        keys: groups of alternatives; a right answer has one of every group, white space aside.
        evidence: the span of ``document`` that holds the answer; empty for unanswerable questions.
        history: earlier questions of the same conversation.
    """

    id: str
    split: str
    question: str
    answerable: bool
    document: str
    section: str
    evidence: str
    keys: tuple[tuple[str, ...], ...]
    history: tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    """How one question went."""

    question: SampleQuestion
    done: Done
    correct: bool
    cited: bool


def read_questions(path: Path = SAMPLES / "questions.jsonl") -> list[SampleQuestion]:
    """The question set."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [
        SampleQuestion(**{**row, "keys": tuple(map(tuple, row["keys"])), "history": tuple(row["history"])})
        for row in rows
    ]


def packed(text: str) -> str:
    """The text without white space."""
    return re.sub(r"\s+", "", text)


def judge(question: SampleQuestion, done: Done) -> Verdict:
    """Whether the answer has every key, and whether a citation overlaps the evidence's document and text."""
    answer = packed(done.answer)
    correct = not done.abstained and all(any(packed(k) in answer for k in group) for group in question.keys)
    evidence = packed(question.evidence)
    cited = any(
        source.document == question.document and (packed(source.text) in evidence or evidence in packed(source.text)
                                                  or _overlaps(packed(source.text), evidence))
        for source in done.sources
    )  # fmt: skip
    return Verdict(question, done, correct, cited)


def _overlaps(text: str, evidence: str) -> bool:
    """Whether the end of one is the start of the other, by at least twelve characters."""
    return any(part in evidence for part in (text[:12], text[-12:]) if len(part) == 12)


@contextmanager
def sample_assistant(settings: Settings) -> Iterator[Assistant]:
    """An assistant that has read the sample documents, in a folder of its own that is removed afterwards."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Assistant.open(replace(settings, home=Path(folder))) as assistant,
    ):
        assistant.index.ingest([SAMPLES / "documents"])
        yield assistant


def ask_all(
    assistant: Assistant, questions: Iterable[SampleQuestion], progress: Callable[[], None] = lambda: None
) -> list[Verdict]:
    """Asks every question, after its history, in a conversation of its own."""
    verdicts = []
    for question in questions:
        conversation = None
        for earlier in question.history:
            conversation = assistant.ask(earlier, conversation=conversation).conversation
        verdicts.append(judge(question, assistant.ask(question.question, conversation=conversation)))
        progress()
    return verdicts


def summary(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """The figures of a run: shares in [0, 1], medians of times in milliseconds."""
    answerable = [v for v in verdicts if v.question.answerable]
    unanswerable = [v for v in verdicts if not v.question.answerable]

    def share(values: Iterable[bool]) -> float:
        listed = list(values)
        return round(sum(listed) / len(listed), 4) if listed else 0.0

    return {
        "answerable": len(answerable),
        "correct_and_cited": share(v.correct and v.cited for v in answerable),
        "correct": share(v.correct for v in answerable),
        "cited": share(v.cited for v in answerable),
        "wrongly_abstained": share(v.done.abstained for v in answerable),
        "unanswerable": len(unanswerable),
        "abstained": share(v.done.abstained for v in unanswerable),
        "first_token_ms": round(median(v.done.timings.first_token_ms for v in verdicts), 1),
        "total_ms": round(median(v.done.timings.total_ms for v in verdicts), 1),
    }
