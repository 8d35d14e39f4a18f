"""Writes an answer from evidence with the language model, one cited sentence at a time, and checks what it wrote.

The model first emits the label of the sentence it rests on, so the citation is its own choice, weighed against the sentence
model's. From there on it may only use tokens of that sentence and polite endings. A sentence that still says something its
evidence does not is replaced by the evidence itself in polite form.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assistant.engine.engine import Engine, GenerationOptions
from assistant.grounding import Candidate
from compression.language.endings import is_polite, statement
from compression.language.prompt import END, LABELS, MAX_EVIDENCE, Evidence, prompt_text
from retrieval.morphology import content_morphemes

_PROMPT_TOKENS = 300
"""Evidence is cut to this many tokens, within what the model was trained on."""
_SENTENCE_MODEL_WEIGHT = 1.0
_SECOND_SHARE = 0.6
_SUPPORTED = 0.9
_SHORTEST = 0.4
_MAX_TOKENS = 160


@dataclass(frozen=True)
class Written:
    """One sentence of an answer and the candidate it cites."""

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
        """Picks the evidence.

        Args:
            engine: the language model.
            question: what was asked.
            earlier: the question it leans on, or empty.
            candidates: sentences, best first; at least one.
            cancelled: polled between tokens.
        """
        self._engine, self._cancelled = engine, cancelled
        self._question, self._history = question, (earlier,) if earlier else ()
        self._chosen = self._fitting(candidates)
        self.sentences: list[Written] = []
        self.tokens = 0

    def __iter__(self) -> Iterator[str]:
        """Text pieces as they are generated; what is wrong in them is mended only in `sentences`."""
        first = yield from self._write(None)
        second = self._second(first)
        if second is not None and not (self._cancelled and self._cancelled()):
            yield " "
            yield from self._write(second)

    def _fitting(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """The best candidates that fit the prompt, in reading order."""
        room, chosen = _PROMPT_TOKENS, list[Candidate]()
        for candidate in candidates[:MAX_EVIDENCE]:
            room -= len(self._engine.tokenize(candidate.text)) + 8
            if chosen and room < 0:
                break
            chosen.append(candidate)
        return sorted(chosen, key=lambda c: (c.hit.passage.document_id, c.start))

    def _prompt(self) -> str:
        evidence = [Evidence(c.heading, " ".join(c.text.split())) for c in self._chosen]
        return prompt_text(self._question, evidence, self._history)

    def _write(self, forced: int | None) -> Iterator[str]:
        """Streams one sentence; returns the index of its candidate."""
        pick = _Pick(self._engine, self._chosen, forced)
        generation = self._engine.stream(
            self._prompt(), GenerationOptions(max_tokens=_MAX_TOKENS), self._cancelled, pick
        )
        pieces: list[str] = []
        for piece in generation:
            self.tokens += 1
            text = piece.text if pieces else piece.text.lstrip()
            if text:
                pieces.append(text)
                yield text
        candidate = self._chosen[pick.index]
        self.sentences.append(Written(_checked("".join(pieces), candidate, self._question), candidate))
        return pick.index

    def _second(self, first: int) -> int | None:
        """Another sentence of the same section that answers about as well, or None."""
        best = self._chosen[first]
        rest = [
            i
            for i, c in enumerate(self._chosen)
            if i != first and c.hit.passage.id == best.hit.passage.id and c.text != best.text
        ]
        second = max(rest, key=lambda i: self._chosen[i].probability, default=None)
        if second is None or self._chosen[second].probability < max(_SECOND_SHARE * best.probability, 0.3):
            return None
        return second


class _Pick:
    """Logits hook: chooses the label at the first token, then keeps to the chosen sentence's tokens."""

    def __init__(self, engine: Engine, chosen: Sequence[Candidate], forced: int | None) -> None:
        self.index = 0 if forced is None else forced
        self._engine, self._chosen, self._forced = engine, chosen, forced
        self._allowed: NDArray[np.int64] | None = None

    def __call__(self, generated: list[int], logits: NDArray[np.float32]) -> None:
        if not generated:
            self._pick_label(logits)
        assert self._allowed is not None
        kept = logits[self._allowed].copy()
        logits[:] = -np.inf
        logits[self._allowed] = kept
        if not generated:
            self._allowed = self._vocabulary()

    def _pick_label(self, logits: NDArray[np.float32]) -> None:
        labels = [self._engine.special_tokens[label] for label in LABELS[: len(self._chosen)]]
        if self._forced is None:
            own = np.array([c.probability for c in self._chosen]).clip(1e-6, 1 - 1e-6)
            scores = logits[labels] - logits[labels].max() + _SENTENCE_MODEL_WEIGHT * np.log(own / (1 - own))
            self.index = int(np.argmax(scores))
        self._allowed = np.array([labels[self.index]])

    def _vocabulary(self) -> NDArray[np.int64]:
        text = " ".join(self._chosen[self.index].text.split())
        forms = (text, f" {text}", statement(text), f" {statement(text)}")
        ids = {i for form in forms for i in self._engine.tokenize(form)} | {self._engine.special_tokens[END]}
        return np.array(sorted(ids))


def _numbers(text: str) -> set[str]:
    return set(re.findall(r"\d+", text.replace(",", "")))


def is_supported(answer: str, evidence: str, question: str = "") -> bool:
    """Whether the answer says only what the evidence says: its numbers all, its content morphemes nearly all."""
    if not _numbers(answer) <= _numbers(evidence):
        return False
    said, known = (
        content_morphemes(answer),
        set(content_morphemes(evidence)) | set(content_morphemes(question)),
    )
    return not said or sum(word in known for word in said) >= _SUPPORTED * len(said)


def _checked(answer: str, candidate: Candidate, question: str) -> str:
    """The answer if it is whole, polite and supported; else its evidence in polite form."""
    text, evidence = answer.strip(), " ".join(candidate.text.split())
    whole = is_polite(text) and len(text) >= _SHORTEST * len(evidence) and text.endswith((".", "!", "?"))
    if whole and is_supported(text, evidence, question) and _numbers(evidence) <= _numbers(text):
        return text
    return statement(evidence)
