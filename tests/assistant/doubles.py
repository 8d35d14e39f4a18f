"""A stand-in for the turn: real index, real history, no models; and a real server around an application."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from assistant.daemon.server import bind
from assistant.errors import EmptyMessageError
from assistant.events import Done, Event, Route, Source, Sources, Timings, Token
from assistant.history import History
from assistant.settings import Settings
from retrieval.index import Index

LEAVE = (
    "# 휴가 안내\n\n## 신청 기한\n\n"
    "연차는 쉬기 사흘 전까지 신청합니다. 급한 일은 당일 아침에 알려도 됩니다.\n\n"
    "## 일수\n\n첫해에는 달마다 하루씩 생깁니다.\n"
)


class CopyingAssistant:
    """Answers with the best passage's first sentence; a message with ``느리게`` is never done by itself."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.index = Index.open(settings.home, None)
        self.history = History(settings.home / "conversations.db")
        self.writing = threading.Event()
        self.ended = threading.Event()
        self.due: list[str] = []

    @classmethod
    def open(cls, settings: Settings, folder: Path | None = None) -> CopyingAssistant:
        return cls(replace(settings, home=folder or settings.home))

    def reminders(self) -> list[str]:
        told, self.due = self.due, []
        return told

    def __enter__(self) -> CopyingAssistant:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.index.close()
        self.history.close()

    def route(self, message: str) -> dict[str, Any]:
        best = {"agent": "documents", "intent": "ask_fact", "confidence": 0.9}
        scores = {"documents": 0.9, "smalltalk": 0.1}
        return {"agents": scores, "intents": {"documents": {"ask_fact": 1.0}}, "best": best}

    def ask(self, message: str, **options: Any) -> Done:
        *_, done = self.stream(message, **options)
        assert isinstance(done, Done)
        return done

    def stream(
        self,
        message: str,
        conversation: str | None = None,
        documents: Collection[str] | None = None,
        files: Sequence[Path] = (),
        cancelled: Callable[[], bool] | None = None,
    ) -> Iterator[Event]:
        if not message.strip():
            raise EmptyMessageError("메시지가 비어 있어요.", "궁금한 점을 적어 주세요.")
        if "고장" in message:
            raise RuntimeError("a fault on purpose")
        conversation = conversation or self.history.create()
        self.history.append(conversation, "user", message)
        for result in self.index.ingest(files):
            if result.error is not None:
                raise result.error
        yield Route("documents", "ask_fact", 0.9)
        found = self._search(message, documents)
        yield Sources(tuple(found))
        pieces = []
        try:
            for piece in self._pieces(message, found, cancelled or (lambda: False)):
                pieces.append(piece)
                yield Token(piece)
        finally:
            self.ended.set()
        done = self._done("".join(pieces), tuple(found[:1]), conversation)
        self.history.append(conversation, "assistant", done.answer, done.to_json())
        yield done

    def _pieces(self, message: str, found: list[Source], cancelled: Callable[[], bool]) -> Iterator[str]:
        if "느리게" not in message:
            yield from re.findall(r"\S+\s*", found[0].text if found else "문서에서 찾지 못했어요.")
            return
        while not cancelled():
            self.writing.set()
            yield "네 "
            time.sleep(0.02)

    def _search(self, message: str, documents: Collection[str] | None) -> list[Source]:
        hits = self.index.search(message, 2, documents)
        return [_source(hit.passage) for hit in hits]

    def _done(self, answer: str, sources: tuple[Source, ...], conversation: str) -> Done:
        timings = Timings(1.0, 2.0, 3.0, 4.0, 5)
        return Done(
            answer,
            not sources,
            "documents",
            "ask_fact",
            0.9,
            sources,
            timings=timings,
            conversation=conversation,
        )


def _source(passage: Any) -> Source:
    start, end = passage.sentences[0]
    text = passage.text[start - passage.start : end - passage.start]
    return Source(
        passage.document,
        passage.section,
        None,
        start,
        end,
        text,
        passage.document_id,
        passage.text,
        passage.start,
    )


@contextmanager
def running(app: FastAPI, settings: Settings) -> Iterator[str]:
    """The application on a real port of loopback; gives its address without a final slash."""
    listener = bind(settings)
    server = uvicorn.Server(
        uvicorn.Config(app, log_level="warning", access_log=False, ws="none", timeout_graceful_shutdown=2)
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        wait_until(lambda: server.started)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()


def wait_until(holds: Callable[[], bool], seconds: float = 15) -> None:
    """Wait for a condition; fail when it does not come."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)
