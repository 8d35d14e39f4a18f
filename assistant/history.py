"""Conversations and their messages, kept in SQLite so that nothing acknowledged is lost."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assistant.errors import MessageError
from retrieval.database import connect, transaction

_MIGRATIONS = (
    """
    CREATE TABLE conversations (
        id TEXT PRIMARY KEY,
        title TEXT NOT NULL DEFAULT '',
        created REAL NOT NULL,
        updated REAL NOT NULL
    ) STRICT;
    CREATE TABLE messages (
        id INTEGER PRIMARY KEY,
        conversation TEXT NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
        role TEXT NOT NULL CHECK (role IN ('user', 'assistant')),
        text TEXT NOT NULL,
        outcome TEXT,
        created REAL NOT NULL
    ) STRICT;
    CREATE INDEX messages_by_conversation ON messages (conversation, id);
    """,
)
_TITLE_LENGTH = 60


@dataclass(frozen=True)
class Conversation:
    """A conversation as lists show it.

    Attributes:
        id: 32 hexadecimal digits.
        title: the first question, on one line, cut to 60 characters.
        updated: seconds since the epoch of the last message.
    """

    id: str
    title: str
    updated: float


@dataclass(frozen=True)
class Message:
    """One message.

    Attributes:
        role: ``user`` or ``assistant``.
        text: what was said.
        outcome: the turn's `Done.to_json()`, for the assistant's messages.
        created: seconds since the epoch.
    """

    role: str
    text: str
    outcome: dict[str, Any] | None
    created: float


class History:
    """The conversations of one data folder; safe to share between threads."""

    def __init__(self, path: Path) -> None:
        """Open or create the database.

        Args:
            path: the database file; its folder is made when missing.

        Raises:
            StoreError: the file is no database, damaged, or from a newer version.
        """
        self._connection = connect(path, _MIGRATIONS)
        self._lock = threading.RLock()

    def create(self) -> str:
        """Start a conversation and return its id; it is listed once it holds a message."""
        conversation, now = uuid.uuid4().hex, time.time()
        with self._lock, transaction(self._connection):
            self._connection.execute(
                "INSERT INTO conversations (id, created, updated) VALUES (?, ?, ?)", (conversation, now, now)
            )
        return conversation

    def append(
        self, conversation: str, role: str, text: str, outcome: Mapping[str, Any] | None = None
    ) -> None:
        """Write one message; it is on disk when this returns.

        Args:
            conversation: id from `create`.
            role: ``user`` or ``assistant``.
            text: what was said.
            outcome: the turn's `Done.to_json()`.

        Raises:
            MessageError: the conversation is not, or no longer, there.
            StoreError: the disk is full or the database damaged.
        """
        now = time.time()
        title = " ".join(text.split())[:_TITLE_LENGTH] if role == "user" else ""
        packed = None if outcome is None else json.dumps(outcome, ensure_ascii=False)
        with self._lock, transaction(self._connection):
            found = self._connection.execute(
                "UPDATE conversations SET updated = ?, title = CASE title WHEN '' THEN ? ELSE title END"
                " WHERE id = ?",
                (now, title, conversation),
            )
            if found.rowcount == 0:
                raise _unknown()
            self._connection.execute(
                "INSERT INTO messages (conversation, role, text, outcome, created) VALUES (?, ?, ?, ?, ?)",
                (conversation, role, text, packed, now),
            )

    def list(self) -> tuple[Conversation, ...]:
        """Conversations that hold a message, the latest first."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT id, title, updated FROM conversations AS c"
                " WHERE EXISTS (SELECT 1 FROM messages WHERE conversation = c.id)"
                " ORDER BY updated DESC, created DESC"
            ).fetchall()
        return tuple(Conversation(*row) for row in rows)

    def messages(self, conversation: str) -> tuple[Message, ...]:
        """The messages of a conversation in the order they were said; none for an unknown id."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT role, text, outcome, created FROM messages WHERE conversation = ? ORDER BY id",
                (conversation,),
            ).fetchall()
        return tuple(
            Message(role, text, json.loads(outcome) if outcome else None, created)
            for role, text, outcome, created in rows
        )

    def delete(self, conversation: str) -> None:
        """Remove a conversation and its messages.

        Raises:
            MessageError: the conversation is not there.
        """
        with self._lock, transaction(self._connection):
            found = self._connection.execute("DELETE FROM conversations WHERE id = ?", (conversation,))
            if found.rowcount == 0:
                raise _unknown()

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._connection.close()


def _unknown() -> MessageError:
    return MessageError("그 대화를 찾을 수 없어요.", "이미 지운 대화라면 새 대화를 시작해 주세요.")
