"""The whole assistant and three simpler ones, behind one question: what do you answer, and resting on what?"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from agents.encoder import Encoder
from assistant.context import Context, context_of
from assistant.dialog import Assistant
from assistant.engine.engine import Engine, GenerationOptions
from assistant.errors import DamsoError
from assistant.evaluation.gold import Place
from assistant.grounding import Candidate, Grounding, topic_terms
from assistant.history import Message
from assistant.settings import Settings
from compression.language.endings import statement
from compression.language.prompt import prompt_text
from retrieval.index import Index
from retrieval.morphology import content_morphemes
from retrieval.store import Passage

SYSTEMS = {
    "damso": "담소",
    "bm25": "BM25 + 가장 가까운 문장",
    "dense": "임베딩 + 가장 가까운 문장",
    "none": "검색 없이 언어 모델만",
}
"""Names of the systems with their Korean labels."""

_DEPTH = 10
_LONGEST_QUESTION = 200
_UNGROUNDED_TOKENS = 64


@dataclass(frozen=True)
class Cited:
    """A cited place and its text."""

    place: Place
    text: str


@dataclass(frozen=True)
class Reply:
    """What a system makes of a question.

    Attributes:
        answer: the answer, or what it says instead.
        abstained: whether it says that the documents do not tell.
        cited: the places that the answer rests on.
        ranked: the passages it considered, best first.
        best: the sentence it holds most likely to answer, also when it abstains.
        confidence: probability that the documents hold an answer, in [0, 1]; None when it has no gate.
        first_token_ms, total_ms: time from the question to the first and to the last character.
    """

    answer: str
    abstained: bool = False
    cited: tuple[Cited, ...] = ()
    ranked: tuple[Place, ...] = ()
    best: Place | None = None
    confidence: float | None = None
    first_token_ms: float = 0.0
    total_ms: float = 0.0


class System(Protocol):
    """Answers questions in their conversation."""

    def answer(
        self, message: str, earlier: Sequence[Message], documents: Collection[str] | None = None
    ) -> Reply:
        """Answers a message.

        Args:
            message: what is asked.
            earlier: the messages before, with their outcomes.
            documents: the store's ids of the documents to search; None searches all.
        """

    def close(self) -> None:
        """Gives back what it holds."""


def open_system(name: str, settings: Settings) -> System:
    """Opens a system of `SYSTEMS` over the documents in ``settings.home``."""
    if name == "damso":
        return WholeAssistant(settings)
    if name == "none":
        return Ungrounded(settings)
    return BestSentence(settings, name)


class _Watched(Assistant):
    """The assistant, remembering what it found for its last message."""

    grounding: Grounding | None = None

    def ground(self, *arguments: Any, **options: Any) -> Grounding:
        """As the assistant does it."""
        self.grounding = super().ground(*arguments, **options)
        return self.grounding


class WholeAssistant:
    """Damso as a person meets it: router, search, gate, language model.

    Its ranking of passages is the one its answer rests on: by their most likely sentence.
    """

    def __init__(self, settings: Settings) -> None:
        self._assistant = _Watched.open(settings)

    def answer(
        self, message: str, earlier: Sequence[Message], documents: Collection[str] | None = None
    ) -> Reply:
        """See `System`; an error of the assistant is an answer that abstains."""
        assistant = self._assistant
        conversation = assistant.history.create()
        assistant.grounding = None
        try:
            for said in earlier:
                assistant.history.append(conversation, said.role, said.text, said.outcome)
            done = assistant.ask(message, conversation=conversation, documents=documents)
        except DamsoError as error:
            return Reply(str(error), abstained=True)
        finally:
            assistant.history.delete(conversation)
        found: Sequence[Candidate] = assistant.grounding.candidates if assistant.grounding else ()
        return Reply(
            done.answer,
            done.abstained,
            tuple(Cited(Place(s.document_id, s.start, s.end), s.text) for s in done.sources),
            tuple(dict.fromkeys(_place(candidate.hit.passage) for candidate in found))[:_DEPTH],
            Place(found[0].hit.passage.document_id, found[0].start, found[0].end) if found else None,
            assistant.grounding.answerable if assistant.grounding else 0.0,
            done.timings.first_token_ms,
            done.timings.total_ms,
        )

    def close(self) -> None:
        """Closes the databases."""
        self._assistant.close()


class BestSentence:
    """One kind of search, and of the first passage the sentence nearest to the question, in polite form.

    It never abstains while it finds anything. Follow-up questions carry the same topic words as Damso's.
    """

    def __init__(self, settings: Settings, kind: str) -> None:
        """Opens it.

        Args:
            settings: names the folder of documents.
            kind: ``bm25``: sentences by the weight of the question's words in them; ``dense``: by cosine.
        """
        self._encoder = Encoder.load() if kind == "dense" else None
        self._index = Index.open(settings.home, self._encoder)

    def answer(
        self, message: str, earlier: Sequence[Message], documents: Collection[str] | None = None
    ) -> Reply:
        """See `System`."""
        began = time.perf_counter()
        carried = tuple(t for t in context_of(message, earlier).carried if t not in topic_terms(message))
        if self._encoder is None:
            ids = self._index.rankings(message, _DEPTH, documents, carried).lexical
        else:
            ids = self._index.rankings(" ".join([message, *carried]), _DEPTH, documents).dense
        passages = self._index.passages(ids)
        if not passages:
            return _timed(Reply("문서에 없습니다.", abstained=True), began)
        first = passages[0]
        texts = [first.text[start - first.start : end - first.start] for start, end in first.sentences]
        nearest = int(np.argmax(self._nearness(message, texts)))
        best = Place(first.document_id, *first.sentences[nearest])
        answer = statement(" ".join(texts[nearest].split()))
        cited = (Cited(best, texts[nearest]),)
        return _timed(Reply(answer, False, cited, tuple(map(_place, passages)), best), began)

    def close(self) -> None:
        """Closes the database."""
        self._index.close()

    def _nearness(self, message: str, texts: Sequence[str]) -> NDArray[np.float64]:
        if self._encoder is not None:
            message_vector, *vectors = self._encoder.encode([message, *texts])
            return np.array([vector @ message_vector for vector in vectors], np.float64)
        terms = topic_terms(message)
        weights = self._index.idf(terms)
        shared = [[term in words for term in terms] for words in map(content_morphemes, texts)]
        return np.asarray(np.array(shared, np.float64).reshape(len(texts), len(terms)) @ weights, np.float64)


class Ungrounded:
    """The language model alone: it sees the question and the one before, and no document."""

    def __init__(self, settings: Settings) -> None:
        self._engine = Engine.load(threads=settings.threads)

    def answer(
        self, message: str, earlier: Sequence[Message], documents: Collection[str] | None = None
    ) -> Reply:
        """See `System`."""
        began = time.perf_counter()
        context: Context = context_of(message, earlier)
        history = (context.question[:_LONGEST_QUESTION],) if context.question else ()
        options = GenerationOptions(max_tokens=_UNGROUNDED_TOKENS, repetition_penalty=1.1)
        pieces: list[str] = []
        first = 0.0
        with self._engine.stream(
            prompt_text(message[:_LONGEST_QUESTION], (), history), options
        ) as generation:
            for piece in generation:
                first = first or _elapsed(began)
                pieces.append(piece.text)
        return Reply("".join(pieces).strip(), first_token_ms=first, total_ms=_elapsed(began))

    def close(self) -> None:
        """Holds nothing that needs closing."""


def _place(passage: Passage) -> Place:
    return Place(passage.document_id, passage.start, passage.end)


def _timed(reply: Reply, began: float) -> Reply:
    """A reply that came all at once."""
    elapsed = _elapsed(began)
    return replace(reply, first_token_ms=elapsed, total_ms=elapsed)


def _elapsed(began: float) -> float:
    return (time.perf_counter() - began) * 1000
