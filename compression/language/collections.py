"""The documents and questions written for this project, under ``data/``: all may be trained on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OWN = Path(__file__).resolve().parents[2] / "data"
_SPLITS = {"train": slice(0, 6), "dev": slice(6, 8), "test": slice(8, 10)}


@dataclass(frozen=True)
class Asked:
    """A question and what its answer rests on.

    Attributes:
        answers: texts of which the right sentence holds one; empty when the collection does not tell.
        document: the document it is about.
        history: earlier questions of the conversation, oldest first.
    """

    question: str
    answers: tuple[str, ...]
    document: str
    history: tuple[str, ...] = ()


@dataclass(frozen=True)
class Collection:
    """A small collection: file name → text, and questions about it."""

    name: str
    documents: dict[str, str]
    questions: tuple[Asked, ...]


def question_collections() -> Iterator[Collection]:
    """``data/collections``: documents with single questions and short follow-ups."""
    for folder in _folders(OWN / "collections"):
        asked = tuple(
            Asked(
                row["question"],
                (row["evidence"],) if row["answerable"] else (),
                row["document"],
                tuple(row["history"]),
            )
            for row in _rows(folder / "questions.jsonl")
        )
        yield Collection(folder.name, _texts(folder / "documents"), asked)


def dialogue_collections(split: str) -> Iterator[Collection]:
    """damso-dialogues, a domain each: the user turns that the next turn answers or cannot answer.

    Args:
        split: ``train``, ``dev`` or ``test``; the first six, next two and last two
            of a domain's ten documents by name.
    """
    for domain, documents, rows in dialogues(split):
        yield Collection(domain, documents, tuple(turn for row in rows for turn in _asked_turns(row)))


def dialogues(split: str) -> Iterator[tuple[str, dict[str, str], list[dict[str, Any]]]]:
    """damso-dialogues as written: for each domain its name, documents (name → text) and the split's dialogues."""
    for folder in _folders(OWN / "damso-dialogues"):
        documents = _texts(folder / "documents")
        chosen = sorted(documents)[_SPLITS[split]]
        rows = [row for row in _rows(folder / "dialogues.jsonl") if row["document"] in chosen]
        yield folder.name, {name: documents[name] for name in chosen}, rows


def _asked_turns(row: dict[str, Any]) -> Iterator[Asked]:
    said: list[str] = []
    for turn, reply in zip(row["turns"], row["turns"][1:], strict=False):
        if turn["role"] != "user":
            continue
        if reply["references"] or reply["da"] == "respond_no_answer":
            answers = tuple(reference["text"] for reference in reply["references"])
            yield Asked(turn["utterance"], answers, row["document"], tuple(said))
        said.append(turn["utterance"])


def _folders(parent: Path) -> list[Path]:
    return sorted(path.parent for path in parent.glob("*/*.jsonl"))


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.iterdir())}
