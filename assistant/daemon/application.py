"""The daemon's application: routes and errors behind the guards; the page is mounted on it by `app.py`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI

from assistant.daemon.chat import chat_routes
from assistant.daemon.documents import document_routes
from assistant.daemon.errors import install_error_handlers
from assistant.daemon.guards import Guards
from assistant.daemon.turns import Turns
from assistant.settings import Settings

if TYPE_CHECKING:
    from assistant.dialog import Assistant


def create_app(assistant: Assistant, settings: Settings) -> FastAPI:
    """Put the application together.

    Args:
        assistant: answers; stays the caller's to close.
        settings: hosts, token, limits.

    Returns:
        The application, with the queue of turns as ``app.state.turns``.
    """
    turns = Turns(settings.queue)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        turns.close()

    app = FastAPI(title="담소", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.turns = turns
    app.add_middleware(Guards, settings=settings)
    install_error_handlers(app)
    app.include_router(chat_routes(assistant, turns))
    app.include_router(document_routes(assistant))

    @app.get("/healthz")
    def health() -> dict[str, Any]:
        return {"status": "ok", "turns": turns.taken}

    return app
