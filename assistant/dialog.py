"""One turn, from message to outcome: the only place that decides.

Its one stream of events is what every face renders.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from agents.catalogue import Answer, describe_catalogue
from agents.encoder import Encoder
from agents.personal import PersonalAgents
from agents.router import OUT_OF_SCOPE, Router, RouteScores
from assistant.context import Context, context_of
from assistant.engine.engine import Engine, GenerationOptions
from assistant.errands import Errand, asks_how, errand, never_mind, pending_of, question_of, resumed
from assistant.errors import EmptyMessageError, MessageTooLongError, MissingArgumentError
from assistant.events import Done, Event, Pending, Route, Source, Sources, Timings, Token, ToolResult
from assistant.grounding import Candidate, Gate, Grounding, ground
from assistant.history import History
from assistant.lookup import look_up
from assistant.replies import CANNOT_YET, FALLBACK_SMALLTALK, NEVER_MIND, NO_DOCUMENTS, not_found, reply_for
from assistant.settings import Settings
from assistant.tools import Registry, Tools
from assistant.writing import EvidenceWriter, Written
from compression.artefacts import model_folder
from compression.language.endings import is_polite
from compression.language.prompt import prompt_text
from retrieval.index import Index
from retrieval.morphology import warm_up

# How sure the router must be of an agent for the documents not to be asked at all. A document's question that
# goes to a tool is the worst mistake, so a tool that is less likely than `_LIKELY` never acts. While documents are
# being talked about, help and what is out of scope have to be as sure as `_SURE_OF_HELP`.
_SURE_OF_SMALLTALK = 0.97
_SURE_OF_HELP = 0.8
_SURE_OF_TOOL = 0.9
_LIKELY = 0.5
_SMALLTALK_TOKENS = 48
_LONGEST_SMALLTALK = 200

Cancelled = Callable[[], bool]


class Assistant:
    """Routes, retrieves, grounds, writes and remembers.

    Safe to share between threads; one answer is written at a time.
    """

    def __init__(
        self,
        settings: Settings,
        encoder: Encoder,
        router: Router,
        index: Index,
        history: History,
        gate: Gate,
        engine: Engine,
        tools: Tools | None = None,
    ) -> None:
        self.settings, self.index, self.history = settings, index, history
        self.tools = tools or Tools(settings.home)
        personal = PersonalAgents(settings.home / "agents", encoder).trained()
        self._encoder, self._gate, self.engine = encoder, gate, engine
        self._router = router.with_agents(personal)
        described = [*describe_catalogue(), *(agent for agent, _ in personal)]
        self.answers: dict[str, dict[str, Answer]] = {agent.name: agent.answers for agent in described}
        self._threshold = gate.threshold if settings.answer_threshold is None else settings.answer_threshold

    @classmethod
    def open(cls, settings: Settings, folder: Path | None = None) -> Self:
        """Loads the models and opens the person's documents and conversations.

        Args:
            settings: the person's settings; schedule, home and agents of one's own are always in its folder.
            folder: where documents and conversations are; None: in the same folder.

        Raises:
            ModelError: an embedded model is missing or damaged.
            StoreError: a database is damaged or from a newer version.
        """
        warming = threading.Thread(target=warm_up, daemon=True)
        warming.start()
        folder = folder or settings.home
        folder.mkdir(parents=True, exist_ok=True)
        encoder = Encoder.load()
        engine = Engine.load(threads=settings.threads)
        router, gate = Router.load(encoder), Gate.load(model_folder("gate"), settings.threads)
        index = Index.open(folder, encoder)
        history = History(folder / "conversations.db")
        warming.join()
        return cls(settings, encoder, router, index, history, gate, engine)

    def close(self) -> None:
        """Closes the databases."""
        self.tools.close()
        self.index.close()
        self.history.close()

    def reminders(self) -> list[str]:
        """What the person asked to be reminded of and whose time has come; each is given once."""
        return self.tools.schedule.due()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def route(self, message: str) -> dict[str, Any]:
        """Every agent's and intent's score for a message, and the best: what `damso route --json` prints."""
        self._validate(message)
        scores = self._router.route(message, has_documents=bool(self.index.documents()))
        agent, intent, confidence = scores.best
        best = {"agent": agent, "intent": intent, "confidence": confidence}
        return {"agents": scores.agents, "intents": scores.intents, "best": best}

    def ask(self, message: str, **options: Any) -> Done:
        """The outcome of a turn; takes what `stream` takes."""
        *_, done = self.stream(message, **options)
        assert isinstance(done, Done)
        return done

    def stream(
        self, message: str, conversation: str | None = None, documents: Collection[str] | None = None,
        files: Sequence[Path] = (), cancelled: Cancelled | None = None,
    ) -> Iterator[Event]:  # fmt: skip
        """One turn.

        Args:
            message: what the person says.
            conversation: id of the conversation to go on with; None starts one.
            documents: ids of the documents to search; None searches all.
            files: files that came with the message; a tool that takes one gets the first, otherwise all are added
                to the documents first.
            cancelled: polled between tokens; True ends the answer early.

        Yields:
            `Route`, then `Sources`, `Token` and `ToolResult` as they come, and `Done` last.

        Raises:
            EmptyMessageError: there is no text.
            MessageTooLongError: the message is over ``settings.max_message`` characters.
        """
        self._validate(message)
        earlier = self.history.messages(conversation) if conversation else ()
        conversation = conversation or self.history.create()
        self.history.append(conversation, "user", message)
        turn = _Turn(self, message, conversation, context_of(message, earlier), documents, cancelled)
        for event in turn.run(tuple(files), pending_of(earlier)):
            if isinstance(event, Done):
                self.history.append(conversation, "assistant", event.answer, event.to_json())
            yield event

    def _validate(self, message: str) -> None:
        if not message.strip():
            raise EmptyMessageError("메시지가 비어 있어요.", "궁금한 점을 적어 주세요.")
        if len(message) > self.settings.max_message:
            raise MessageTooLongError(
                f"메시지가 너무 길어요 ({len(message):,}자).",
                f"{self.settings.max_message:,}자 안으로 줄이거나, 긴 글은 문서로 넣어 주세요.",
            )

    def ground(self, message: str, context: Context, documents: Collection[str] | None = None) -> Grounding:
        """What the documents say to a message: search, sentence scores and the gate's probability."""
        question, hits = look_up(message, context, self.index, self._encoder, documents)
        return ground(question, hits, self._gate, self.index, self._encoder, context.cited)


class _Turn:
    """The state of one turn while it runs."""

    def __init__(
        self, assistant: Assistant, message: str, conversation: str, context: Context,
        documents: Collection[str] | None, cancelled: Cancelled | None,
    ) -> None:  # fmt: skip
        self._assistant, self._message, self._conversation = assistant, message, conversation
        self._context, self._documents, self._cancelled = context, documents, cancelled
        self._began = time.perf_counter()
        self._route_ms = self._retrieve_ms = self._first_ms = 0.0
        self._tokens = 0
        self._route = Route("out_of_scope", "", 0.0)

    def run(self, files: Sequence[Path] = (), pending: Pending | None = None) -> Iterator[Event]:
        """Routes the message and lets the chosen agent answer.

        Args:
            files: what came with the message.
            pending: what a tool asked for in the answer before.
        """
        scores = self._scores(files)
        agent, intent, confidence = scores.best
        self._route_ms = self._elapsed()
        if pending is not None and pending.tool in self._registry:
            tool = self._registry[pending.tool]
            dropped = never_mind(self._message)
            answered = None if dropped else resumed(pending, tool, self._message, files, datetime.now())
            if dropped or answered is not None:
                self._route = Route(pending.agent, pending.intent, scores.agents.get(pending.agent, 0.0))
                if not tool.file:
                    self._take_in(files)
                yield self._route
                yield from self._run(answered) if answered else self._say(NEVER_MIND)
                return
        answer = self._answer_of(agent, intent)
        if not self._takes(answer, files):
            self._take_in(files)
        grounding = self._ground() if self._asks_documents(agent, answer, confidence) else None
        if agent != "documents" and self._belongs_to_documents(grounding, agent, answer, confidence):
            agent, intent, answer = "documents", "ask_fact", Answer()
        self._route = Route(agent, intent, confidence)
        yield self._route
        yield from self._respond(agent, intent, answer, files, grounding)

    def _respond(
        self, agent: str, intent: str, answer: Answer, files: Sequence[Path], grounding: Grounding | None
    ) -> Iterator[Event]:
        """Lets whatever answers the intent answer it."""
        fixed = answer.reply or reply_for(agent, intent)
        if answer.tool and answer.tool not in self._registry:
            yield from self._say(CANNOT_YET, abstained=True)
        elif answer.tool:
            yield from self._run(errand(self._registry[answer.tool], self._message, files, datetime.now()))
        elif fixed is not None:
            yield from self._say(fixed, abstained=agent == OUT_OF_SCOPE)
        elif agent == "smalltalk":
            yield from self._smalltalk()
        else:
            yield from self._answer(grounding)

    def _scores(self, files: Sequence[Path]) -> RouteScores:
        """The router's scores; files that come along may be documents."""
        has_documents = bool(files) or bool(self._assistant.index.documents())
        return self._assistant._router.route(self._message, has_documents, self._context.after_documents)

    @property
    def _registry(self) -> Registry:
        return self._assistant.tools.registry

    def _answer_of(self, agent: str, intent: str) -> Answer:
        """What answers an intent; an agent that names documents has them searched, and no others."""
        answer = self._assistant.answers.get(agent, {}).get(intent, Answer())
        if answer.documents:
            stored = self._assistant.index.documents()
            self._documents = [item.id for item in stored if item.name in answer.documents]
        return answer

    def _takes(self, answer: Answer, files: Sequence[Path]) -> bool:
        """Whether the files are a tool's and not documents."""
        return bool(files) and answer.tool in self._registry and bool(self._registry[answer.tool].file)

    def _take_in(self, files: Sequence[Path]) -> None:
        """Adds files to the documents, and to those that are searched when these were picked."""
        for result in self._assistant.index.ingest(files):
            if result.error is not None:
                raise result.error
            if result.document is not None and self._documents is not None:
                self._documents = {*self._documents, result.document.id}

    def _asks_documents(self, agent: str, answer: Answer, confidence: float) -> bool:
        """Whether the documents are searched: always, unless another agent is sure of the message."""
        if not self._assistant.index.documents():
            return False
        if answer.tool and asks_how(self._message):
            return True
        sure = {"smalltalk": _SURE_OF_SMALLTALK, "help": _SURE_OF_HELP}
        if agent not in sure and not answer.tool and not answer.reply:
            return True
        return confidence <= sure.get(agent, _SURE_OF_TOOL)

    def _belongs_to_documents(
        self, grounding: Grounding | None, agent: str, answer: Answer, confidence: float
    ) -> bool:
        """Whether the documents win over another agent: they tell, were being talked about, or a tool is in doubt."""
        if answer.tool and (confidence < _LIKELY or asks_how(self._message)):
            return True
        if grounding is None or answer.documents:
            return False
        if self._context.after_documents and agent in ("help", OUT_OF_SCOPE) and confidence <= _SURE_OF_HELP:
            return True
        return bool(grounding.answerable >= self._assistant._threshold)

    def _run(self, errand: Errand) -> Iterator[Event]:
        """Calls a tool, or asks for what it still needs."""
        try:
            result = self._registry.call(errand.tool, errand.arguments)
        except MissingArgumentError as asked:
            yield self._token(asked.question)
            yield self._done(
                asked.question, pending=question_of(errand, asked, self._route.agent, self._route.intent)
            )
            return
        self._first_ms = self._first_ms or self._elapsed()
        yield result
        yield self._done(result.text, tool=result)

    def _ground(self) -> Grounding:
        began = time.perf_counter()
        grounding = self._assistant.ground(self._message, self._context, self._documents)
        self._retrieve_ms = (time.perf_counter() - began) * 1000
        return grounding

    def _answer(self, grounding: Grounding | None) -> Iterator[Event]:
        """Answers from the documents, or says that they do not tell."""
        if grounding is None or not grounding.candidates:
            yield from self._say(NO_DOCUMENTS if grounding is None else not_found(None), abstained=True)
            return
        yield Sources(tuple(source_of(c) for c in grounding.candidates[:3]))
        if grounding.answerable < self._assistant._threshold:
            yield from self._say(not_found(grounding.candidates[0]), abstained=True)
            return
        writer = EvidenceWriter(
            self._assistant.engine,
            self._message,
            self._context.question,
            grounding.candidates,
            self._cancelled,
        )
        for text in writer:
            yield self._token(text)
        self._tokens = writer.tokens
        answer, sources = _cited(writer.sentences)
        yield self._done(answer, sources)

    def _smalltalk(self) -> Iterator[Event]:
        options = GenerationOptions(max_tokens=_SMALLTALK_TOKENS, repetition_penalty=1.1)
        prompt = prompt_text(self._message[:_LONGEST_SMALLTALK], ())
        pieces = []
        for piece in self._assistant.engine.stream(prompt, options, self._cancelled):
            self._tokens += 1
            if piece.text:
                pieces.append(piece.text)
                yield self._token(piece.text)
        answer = "".join(pieces).strip()
        yield self._done(answer if is_polite(answer) else FALLBACK_SMALLTALK)

    def _say(self, text: str, abstained: bool = False) -> Iterator[Event]:
        yield self._token(text)
        yield self._done(text, abstained=abstained)

    def _token(self, text: str) -> Token:
        self._first_ms = self._first_ms or self._elapsed()
        return Token(text)

    def _done(
        self, answer: str, sources: tuple[Source, ...] = (), abstained: bool = False,
        tool: ToolResult | None = None, pending: Pending | None = None,
    ) -> Done:  # fmt: skip
        total = self._elapsed()
        timings = Timings(self._route_ms, self._retrieve_ms, self._first_ms or total, total, self._tokens)
        return Done(
            answer,
            abstained,
            **asdict(self._route),
            sources=sources,
            tool=tool,
            timings=timings,
            conversation=self._conversation,
            pending=pending,
        )

    def _elapsed(self) -> float:
        return (time.perf_counter() - self._began) * 1000


def source_of(candidate: Candidate, answer_start: int = 0, answer_end: int = 0) -> Source:
    """A candidate sentence as a source that supports ``answer[answer_start:answer_end]``."""
    passage = candidate.hit.passage
    return Source(
        passage.document, passage.section, passage.page, candidate.start, candidate.end, candidate.text,
        passage.document_id, passage.text, passage.start, answer_start, answer_end,
    )  # fmt: skip


def _cited(sentences: Sequence[Written]) -> tuple[str, tuple[Source, ...]]:
    """The answer's sentences joined, and for each the source with the span of the answer it supports."""
    answer, sources = "", []
    for written in sentences:
        start = len(answer) + bool(answer)
        answer = f"{answer} {written.text}".strip()
        sources.append(source_of(written.candidate, start, len(answer)))
    return answer, tuple(sources)
