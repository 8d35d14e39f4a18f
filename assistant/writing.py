"""Writes an answer from the sentence that answers, with the language model, and checks what it wrote.

The sentence model has chosen the evidence; the language model says it politely. It may only use tokens of that
sentence and of its polite form, and what it wrote still has to say what the evidence says: otherwise the evidence
itself, in polite form, is the answer. A sentence that announces a list brings the list with it, and one that lacks the
kind of thing that is asked for brings the next if that has it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from assistant.engine.engine import Engine, GenerationOptions
from assistant.grounding import Candidate, type_match
from compression.language.endings import is_plain, is_polite, statement
from compression.language.prompt import END, LABELS, Evidence, prompt_text
from retrieval.morphology import content_morphemes

_ANNOUNCES = re.compile(r"(아래|다음)")
_SUPPORTED = 0.9
_SHORTEST = 0.4
_MAX_TOKENS = 160
_LONGEST_EVIDENCE, _LONGEST_QUESTION = 400, 200
"""Characters of evidence and question that the language model is shown; it has learnt no longer ones."""


@dataclass(frozen=True)
class Written:
    """One part of an answer and the candidate it cites."""

    text: str
    candidate: Candidate


class EvidenceWriter:
    """One answer in the making: iterate for text pieces, then read `sentences`.

    Attributes:
        sentences: what was written, checked; complete when the iteration has ended.
        tokens: tokens generated.
    """

    def __init__(
        self, engine: Engine, question: str, earlier: str, candidates: Sequence[Candidate],
        cancelled: Callable[[], bool] | None = None,
    ) -> None:  # fmt: skip
        """Takes the evidence.

        Args:
            engine: the language model.
            question: what was asked.
            earlier: the question it leans on, or empty.
            candidates: sentences, best first; at least one.
            cancelled: polled between tokens.
        """
        self._engine, self._cancelled = engine, cancelled
        self._question = question[:_LONGEST_QUESTION]
        self._history = (earlier[:_LONGEST_QUESTION],) if earlier else ()
        self._evidence = candidates[0]
        self.sentences: list[Written] = []
        self.tokens = 0

    def __iter__(self) -> Iterator[str]:
        """Text pieces as they are generated; what is wrong in them is mended only in `sentences`."""
        yield from self._say(self._evidence)
        more = _announced_list(self._evidence) or _answering_next(self._question, self._evidence)
        if more is not None and not self._stopped():
            self.sentences.append(Written(statement(" ".join(more.text.split())), more))
            yield f" {self.sentences[-1].text}"

    def _say(self, candidate: Candidate) -> Iterator[str]:
        evidence = " ".join(candidate.text.split())
        pieces: list[str] = []
        if len(evidence) <= _LONGEST_EVIDENCE:
            prompt = prompt_text(self._question, [Evidence(candidate.heading, evidence)], self._history)
            options = GenerationOptions(max_tokens=_MAX_TOKENS)
            with self._engine.stream(prompt, options, self._cancelled, self._keep_to(evidence)) as generation:
                for piece in generation:
                    self.tokens += 1
                    text = piece.text if pieces else piece.text.lstrip()
                    if text:
                        pieces.append(text)
                        yield text
        self.sentences.append(Written(_checked("".join(pieces), evidence, self._question), candidate))
        if not pieces and not self._stopped():
            yield self.sentences[-1].text

    def _stopped(self) -> bool:
        return self._cancelled is not None and self._cancelled()

    def _keep_to(self, evidence: str) -> Callable[[list[int], NDArray[np.float32]], None]:
        """Logits hook: the evidence's label first, then only tokens of the evidence and of its polite form."""
        label = np.array([self._engine.special_tokens[LABELS[0]]])
        forms = (evidence, f" {evidence}", statement(evidence), f" {statement(evidence)}")
        ids = {i for form in forms for i in self._engine.tokenize(form)} | {self._engine.special_tokens[END]}
        vocabulary = np.array(sorted(ids))

        def constrain(generated: list[int], logits: NDArray[np.float32]) -> None:
            allowed = vocabulary if generated else label
            kept = logits[allowed].copy()
            logits[:] = -np.inf
            logits[allowed] = kept

        return constrain


def _announced_list(candidate: Candidate) -> Candidate | None:
    """The list items right after a sentence that announces them (``아래 조건을 …``), as one candidate, or None."""
    if not _ANNOUNCES.search(candidate.text):
        return None
    passage, items = candidate.hit.passage, list[tuple[int, int]]()
    for start, end in passage.sentences:
        text = passage.text[start - passage.start : end - passage.start]
        if start >= candidate.end and (is_polite(text) or is_plain(text)):
            break
        if start >= candidate.end:
            items.append((start, end))
    if not items:
        return None
    text = ", ".join(passage.text[s - passage.start : e - passage.start].strip() for s, e in items)
    return replace(candidate, start=items[0][0], end=items[-1][1], text=text)


def _answering_next(question: str, candidate: Candidate) -> Candidate | None:
    """The next sentence, if it holds the kind of thing that is asked for (a reason, a date …) and this one does not."""
    following = [(s, e) for s, e in candidate.hit.passage.sentences if s >= candidate.end][:1]
    if not following or type_match(question, candidate.text)[0] > 0:
        return None
    (start, end), passage = following[0], candidate.hit.passage
    text = passage.text[start - passage.start : end - passage.start]
    return replace(candidate, start=start, end=end, text=text) if type_match(question, text)[0] > 0 else None


def _numbers(text: str) -> list[str]:
    return re.findall(r"\d+", text.replace(",", ""))


def _polarity(text: str) -> list[str]:
    """The words that turn a sentence round, in order."""
    return re.findall(r"있|없|않|못|아니|불가", text)


def is_supported(answer: str, evidence: str, question: str = "") -> bool:
    """Whether the answer says only what the evidence says: its numbers all, its content morphemes nearly all."""
    if not set(_numbers(answer)) <= set(_numbers(evidence)):
        return False
    known = set(content_morphemes(evidence)) | set(content_morphemes(question))
    said = content_morphemes(answer)
    return not said or sum(word in known for word in said) >= _SUPPORTED * len(said)


def _checked(answer: str, evidence: str, question: str) -> str:
    """The answer if it is whole, polite and supported; else its evidence in polite form."""
    text = answer.strip()
    whole = is_polite(text) and len(text) >= _SHORTEST * len(evidence) and text.endswith((".", "!", "?"))
    faithful = _numbers(text) == _numbers(evidence) and _polarity(text) == _polarity(evidence)
    return text if whole and faithful and is_supported(text, evidence, question) else statement(evidence)
