"""`/v1/chat/completions` and `/v1/models`: the OpenAI shape around the turn.

Fields of our own: a request may name a stored ``conversation`` and the ids of the ``documents`` to search.
The answer (or the stream's last chunk) carries ``damso``: the turn's `Done.to_json()`, with the final answer.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, Field
from starlette.types import Receive, Scope, Send

from assistant.daemon.errors import damso_error_body, error_body
from assistant.daemon.turns import Turn, Turns
from assistant.errors import DamsoError, MessageError
from assistant.events import Done, Event, Token, ToolResult

if TYPE_CHECKING:
    from assistant.dialog import Assistant

MODEL = "damso"


class Part(BaseModel):
    """A part of a message's content; only text is read."""

    type: Literal["text"]
    text: str


class ChatMessage(BaseModel):
    """A message of the conversation so far."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Part] | None = None

    @property
    def text(self) -> str:
        """The message's text, whichever way it was sent."""
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content)
        return self.content or ""


class ChatRequest(BaseModel):
    """The fields of an OpenAI request that mean something here; others are ignored."""

    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=1000)]
    model: str = MODEL
    stream: bool = False
    conversation: str | None = None
    documents: list[str] | None = None


class TurnStream(StreamingResponse):
    """A stream whose turn stops when the client leaves."""

    def __init__(self, turn: Turn, content: AsyncIterator[str]) -> None:
        super().__init__(content, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
        self._turn = turn

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream; however it ends, nothing goes on behind it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._turn.cancel()


def chat_routes(assistant: Assistant, turns: Turns) -> APIRouter:
    """The routes.

    Args:
        assistant: answers.
        turns: the queue in front of it.
    """
    routes = APIRouter()

    @routes.get("/v1/models")
    def models() -> dict[str, Any]:
        card = {"id": MODEL, "object": "model", "created": 0, "owned_by": "damso"}
        return {"object": "list", "data": [card]}

    @routes.post("/v1/chat/completions", response_model=None)
    async def complete(body: ChatRequest, request: Request) -> JSONResponse | StreamingResponse:
        if body.model != MODEL:
            message = f"그런 모델은 없어요: {body.model[:100]}. 모델 이름은 {MODEL}이에요."
            return JSONResponse(error_body(message, "model_not_found", 404), 404)
        if body.messages[-1].role != "user":
            raise MessageError("마지막 메시지는 사용자의 것(user)이어야 해요.")
        turn = turns.begin(lambda cancelled: _events(assistant, body, cancelled))
        frame = _Frame()
        if not body.stream:
            return JSONResponse(frame.completion(await _outcome(turn, request)))
        events = turn.events()
        # The first event tells whether the message is accepted: until then an error still has its own status.
        first = await anext(events)
        return TurnStream(turn, _chunks(frame, first, events))

    return routes


def _events(assistant: Assistant, body: ChatRequest, cancelled: Callable[[], bool]) -> Iterator[Event]:
    """Run the turn; without a stored conversation, the messages sent make one that lasts for this turn."""
    conversation = body.conversation
    if conversation is None:
        conversation = assistant.history.create()
        for message in body.messages[:-1]:
            if message.role in ("user", "assistant"):
                assistant.history.append(conversation, message.role, message.text)
    try:
        yield from assistant.stream(
            body.messages[-1].text, conversation, documents=body.documents, cancelled=cancelled
        )
    finally:
        if body.conversation is None:
            assistant.history.delete(conversation)


async def _outcome(turn: Turn, request: Request) -> Done:
    """Read a turn to its end; when the client leaves, the end comes early."""
    done: Done | None = None
    watch = asyncio.create_task(_cancel_when_left(turn, request))
    try:
        async for event in turn.events():
            done = event if isinstance(event, Done) else done
    finally:
        watch.cancel()
    if done is None:
        raise MessageError("답을 마치지 못했어요.", "다시 물어봐 주세요.")
    return done


async def _cancel_when_left(turn: Turn, request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    turn.cancel()


class _Frame:
    """What every object of one answer shares."""

    def __init__(self) -> None:
        self._id = f"chatcmpl-{uuid.uuid4().hex}"
        self._created = int(time.time())

    def completion(self, done: Done) -> dict[str, Any]:
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": done.answer},
            "finish_reason": "stop",
            "logprobs": None,
        }
        return self._object("chat.completion", choice) | {"damso": done.to_json()}

    def chunk(self, delta: dict[str, str], done: Done | None = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": "stop" if done else None, "logprobs": None}
        extra = {"damso": done.to_json()} if done else {}
        return _sse(self._object("chat.completion.chunk", choice) | extra)

    def _object(self, kind: str, choice: dict[str, Any]) -> dict[str, Any]:
        shared = {"id": self._id, "object": kind, "created": self._created, "model": MODEL}
        return shared | {"choices": [choice]}


async def _chunks(frame: _Frame, first: Event, rest: AsyncIterator[Event]) -> AsyncIterator[str]:
    yield frame.chunk({"role": "assistant", "content": ""})
    sent = ""
    event: Event | None = first
    try:
        while event is not None:
            text = _delta(event, sent)
            sent += text
            if text:
                yield frame.chunk({"content": text})
            if isinstance(event, Done):
                yield frame.chunk({}, event)
            event = await anext(rest, None)
    except DamsoError as error:
        yield _sse(damso_error_body(error))
    yield "data: [DONE]\n\n"


def _delta(event: Event, sent: str) -> str:
    """What an event adds to the text; the end adds what was not streamed, when it goes on from there."""
    if isinstance(event, Token | ToolResult):
        return event.text
    if isinstance(event, Done) and event.answer.startswith(sent):
        return event.answer[len(sent) :]
    return ""


def _sse(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"
