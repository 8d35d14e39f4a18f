"""Small document collections with questions, answerable and not, on which grounding is fitted.

Encyclopedia and public-service texts come from the training data; a part of their passages is left out, so that
the questions about them become near misses: the same topic is there, the answer is not. The collections under
``data/`` were written for this project; each is also asked with half of its documents missing, and with a third of
the sentences that answer struck out, which makes the nearest misses there are.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from compression.language.collections import Asked, Collection, dialogue_collections, question_collections
from compression.language.corpus import read_jsonl
from compression.language.grounded import welfare_programmes, welfare_questions

_LEFT_OUT = 0.3
_QUESTIONS_A_TITLE = 45
_BARE_MARKER = re.compile(r"^[ \t]*(?:[-*•]|\d+[.)])[ \t]*\n", re.MULTILINE)
_STILL_ASKED = 0.25
_SENTENCE_END = re.compile(r"(?<=[.!?])\s|\n")


def _safe(name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in name)[:60]


def _korquad_worlds(data: Path, rng: random.Random) -> Iterator[Collection]:
    """KorQuAD 1 by groups of articles; each article is a document of its paragraphs."""
    items: dict[str, list[dict[str, Any]]] = {}
    for item in read_jsonl(data / "qa" / "korquad1_articles100.jsonl.xz"):
        items.setdefault(item["title"], []).append(item)
    titles = sorted(items)
    rng.shuffle(titles)
    for begin in range(0, len(titles), 20):
        yield _paragraph_world("korquad", {title: items[title] for title in titles[begin : begin + 20]}, rng)


def _tydiqa_worlds(data: Path, rng: random.Random) -> Iterator[Collection]:
    """TyDiQA passages, a hundred at a time, each a document of its own."""
    items = list(read_jsonl(data / "qa" / "tydiqa_ko_train.jsonl.xz"))
    rng.shuffle(items)
    for begin in range(0, len(items), 100):
        passages = {f"passage {i}": [item] for i, item in enumerate(items[begin : begin + 100])}
        yield _paragraph_world("tydiqa", passages, rng)


def _paragraph_world(label: str, groups: dict[str, list[dict[str, Any]]], rng: random.Random) -> Collection:
    documents, questions = {}, []
    for title, items in groups.items():
        paragraphs = list(dict.fromkeys(item["context"] for item in items))
        kept = {text for text in paragraphs if rng.random() > _LEFT_OUT}
        name = f"{_safe(title)}.txt"
        if kept:
            documents[name] = "\n\n".join(text for text in paragraphs if text in kept)
        for item in rng.sample(items, k=min(len(items), _QUESTIONS_A_TITLE)):
            answers = (item["answers"][0]["text"],) if item["context"] in kept else ()
            questions.append(Asked(item["question"].strip(), answers, name))
    return Collection(label, documents, tuple(questions))


def _welfare_worlds(data: Path, rng: random.Random) -> Iterator[Collection]:
    """Public-service leaflets as Markdown, thirty programmes at a time; some of their sections are left out."""
    programmes = list(welfare_programmes(read_jsonl(data / "qa" / "welfare_gov.jsonl.xz")).items())
    rng.shuffle(programmes)
    for begin in range(0, len(programmes), 30):
        documents, questions = {}, []
        for name, facts in programmes[begin : begin + 30]:
            kept = [fact for fact in facts if rng.random() > _LEFT_OUT]
            file = f"{_safe(name)}.md"
            if kept:
                documents[file] = f"# {name}\n\n" + "\n\n".join(f"## {kind}\n\n{text}" for kind, text in kept)
            for question, fact in welfare_questions(name, facts, rng):
                known = fact in kept or any(kind == fact[0] for kind, _ in kept)
                questions.append(Asked(question, (fact[1][:40],) if known else (), file))
        yield Collection("welfare", documents, tuple(questions))


def _halves(world: Collection, rng: random.Random) -> Iterator[Collection]:
    """The collection whole, and twice with half of its documents missing."""
    yield world
    names = sorted(world.documents)
    rng.shuffle(names)
    for missing in (set(names[::2]), set(names[1::2])):
        documents = {name: text for name, text in world.documents.items() if name not in missing}
        questions = [
            a if a.document in documents else Asked(a.question, (), "", a.history) for a in world.questions
        ]
        yield Collection(world.name, documents, tuple(rng.sample(questions, k=len(questions) // 2)))


def _struck(world: Collection, rng: random.Random) -> Iterator[Collection]:
    """Three times the collection without a third of the sentences that answer; some of the others are still asked."""
    answers = sorted({answer for asked in world.questions for answer in asked.answers})
    rng.shuffle(answers)
    for part in range(3):
        documents = dict(world.documents)
        gone = {answer for answer in answers[part::3] if _strike(documents, answer)}
        questions = [
            Asked(a.question, (), a.document, a.history) if gone.issuperset(a.answers) else a
            for a in world.questions
            if a.answers and (gone.issuperset(a.answers) or rng.random() < _STILL_ASKED)
        ]
        yield Collection(world.name, documents, tuple(questions))


def _strike(documents: dict[str, str], answer: str) -> bool:
    """Takes the sentences that hold an answer out of all documents; whether there was one."""
    found = False
    for name, text in documents.items():
        while (at := text.find(answer)) >= 0:
            begin = max((match.end() for match in _SENTENCE_END.finditer(text, 0, at)), default=0)
            end = _SENTENCE_END.search(text, at + len(answer))
            text, found = text[:begin] + (text[end.start() :] if end else ""), True
        documents[name] = _BARE_MARKER.sub("", text)
    return found


def worlds(data: Path, seed: int) -> list[Collection]:
    """All collections to fit on, in random order."""
    rng = random.Random(seed)
    made = [*_korquad_worlds(data, rng), *_tydiqa_worlds(data, rng), *_welfare_worlds(data, rng)]
    for world in (*question_collections(), *dialogue_collections("train")):
        made += [*_halves(world, rng), *_struck(world, rng)]
    rng.shuffle(made)
    return made
