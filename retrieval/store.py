"""Documents, passages and vectors in SQLite: the truth that the indices in memory are made from.

Passage ids are never used twice and a passage never changes, so that an index is up to date exactly when it
holds the same ids as the store.
"""

from __future__ import annotations

import json
import sqlite3
import unicodedata
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.chunking import Chunk
from retrieval.database import connect, transaction, translated_errors
from retrieval.errors import DocumentNotFoundError
from retrieval.readers import SourceText

MIGRATIONS = (
    """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    INSERT INTO meta VALUES ('store', lower(hex(randomblob(16)))), ('encoder', '');
    CREATE TABLE documents (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        sha256 TEXT NOT NULL,
        added_at TEXT NOT NULL,
        title TEXT NOT NULL,
        text TEXT NOT NULL,
        size INTEGER NOT NULL
    );
    CREATE TABLE chunks (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        document_id TEXT NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
        start INTEGER NOT NULL,
        end INTEGER NOT NULL,
        section TEXT NOT NULL,
        page INTEGER,
        sentences TEXT NOT NULL
    );
    CREATE INDEX chunks_of_document ON chunks (document_id, id);
    CREATE TABLE vectors (
        chunk_id INTEGER PRIMARY KEY REFERENCES chunks (id) ON DELETE CASCADE,
        vector BLOB NOT NULL
    );
    """,
    "ALTER TABLE documents ADD COLUMN collection TEXT NOT NULL DEFAULT ''",
)

Vectors = NDArray[np.float32]

_DOCUMENT = (
    "SELECT d.id, d.name, d.title, d.sha256, d.size, d.added_at, "
    "(SELECT count(*) FROM chunks c WHERE c.document_id = d.id), d.collection FROM documents d"
)
_PASSAGE = (
    "SELECT c.id, d.id, d.name, d.title, c.section, c.page, c.start, c.end, "
    "substr(d.text, c.start + 1, c.end - c.start), c.sentences "
    "FROM chunks c JOIN documents d ON d.id = c.document_id"
)


@dataclass(frozen=True)
class Document:
    """A document in the store.

    Attributes:
        id: 32 hexadecimal digits.
        name: the file's name, NFC; unique.
        title: its own title, or the file's name without extension.
        sha256: of the file's bytes.
        size: bytes of the file.
        added_at: ISO 8601, UTC.
        passages: number of passages.
        collection: name of the group it belongs to; empty for none.
    """

    id: str
    name: str
    title: str
    sha256: str
    size: int
    added_at: str
    passages: int
    collection: str = ""


@dataclass(frozen=True)
class Passage:
    """A passage with its place; all offsets count characters of the document's text.

    Attributes:
        id: the passage's id, never used twice.
        document_id: id of its document.
        document: the file's name.
        title: the document's title.
        section: breadcrumb of headings, may be empty.
        page: page number from 1, or None.
        start: its first character.
        end: one past its last character.
        text: the passage.
        sentences: spans of its sentences.
    """

    id: int
    document_id: str
    document: str
    title: str
    section: str
    page: int | None
    start: int
    end: int
    text: str
    sentences: tuple[tuple[int, int], ...]

    @property
    def heading(self) -> str:
        """Title and breadcrumb in one line, as they are indexed."""
        return heading(self.title, self.section)


class Store:
    """The document database. Calls must not overlap: `retrieval.index.Index` holds the lock."""

    def __init__(self, path: Path) -> None:
        """Opens or creates the database; raises as `retrieval.database.connect` does."""
        self._connection = connect(path, MIGRATIONS)

    def close(self) -> None:
        """Closes the database."""
        self._connection.close()

    @property
    def id(self) -> str:
        """Tells this database from any other, also from one made anew at the same path."""
        return str(self._one("SELECT value FROM meta WHERE key = 'store'")[0])

    @property
    def version(self) -> int:
        """Changes whenever another connection has committed."""
        return int(self._one("PRAGMA data_version")[0])

    def put(
        self,
        name: str,
        sha256: str,
        size: int,
        source: SourceText,
        chunks: Sequence[Chunk],
        vectors: Vectors | None,
        collection: str | None = None,
    ) -> tuple[Document, list[int], list[int]]:
        """Adds a document, in place of the one of the same name, in one transaction.

        Args:
            name: the file's name, NFC.
            sha256: hexadecimal digest of the file's bytes.
            size: bytes of the file.
            source: the text that was read.
            chunks: its passages.
            vectors: float32 ``[len(chunks), dimension]``, or None without an encoder.
            collection: the group it belongs to; None: the one that the document before it belongs to.

        Returns:
            The document, ids of the passages added and of those removed.
        """
        document_id = uuid.uuid4().hex
        added_at = datetime.now(UTC).isoformat(timespec="seconds")
        with transaction(self._connection) as connection:
            before = self.document(name)
            kept = before.collection if before is not None and before.name == name else ""
            group = kept if collection is None else collection
            removed = self._delete(name)
            connection.execute(
                "INSERT INTO documents (id, name, sha256, added_at, title, text, size, collection) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (document_id, name, sha256, added_at, source.title, source.text, size, group),
            )
            added = [_insert_chunk(connection, document_id, chunk) for chunk in chunks]
            if vectors is not None:
                _insert_vectors(connection, added, vectors)
        made = Document(document_id, name, source.title, sha256, size, added_at, len(added), group)
        return made, added, removed

    def assign(self, document_id: str, collection: str) -> Document:
        """Moves a document into a collection; raises `DocumentNotFoundError` when it is not there."""
        with transaction(self._connection) as connection:
            connection.execute("UPDATE documents SET collection = ? WHERE id = ?", (collection, document_id))
            document = self.document(document_id)
            if document is None:
                raise not_found(document_id)
            return document

    def remove(self, id_or_name: str) -> tuple[Document, list[int]]:
        """Deletes a document.

        Returns:
            The document that was, and the ids of its passages.

        Raises:
            DocumentNotFoundError: there is no such document.
        """
        with transaction(self._connection):
            document = self.document(id_or_name)
            if document is None:
                raise not_found(id_or_name)
            return document, self._delete(document.name)

    def document(self, id_or_name: str) -> Document | None:
        """The document of this id or name."""
        name = unicodedata.normalize("NFC", id_or_name)
        # An id wins over a file that happens to be called like it.
        rows = self._all(f"{_DOCUMENT} WHERE d.id = ?1 OR d.name = ?1 ORDER BY d.id != ?1", name)
        return Document(*rows[0]) if rows else None

    def documents(self, collection: str | None = None) -> list[Document]:
        """All documents by name, or those of one collection."""
        rows = self._all(f"{_DOCUMENT} WHERE ?1 IS NULL OR d.collection = ?1 ORDER BY d.name", collection)
        return [Document(*row) for row in rows]

    def text(self, document_id: str) -> str:
        """The document's text.

        Raises:
            DocumentNotFoundError: there is no document of this id.
        """
        rows = self._all("SELECT text FROM documents WHERE id = ?", document_id)
        if not rows:
            raise not_found(document_id)
        return str(rows[0][0])

    def chunk_ids(self, documents: Iterable[str] | None = None) -> set[int]:
        """Ids of all passages, or of those of some documents (by id or name)."""
        if documents is None:
            return {row[0] for row in self._all("SELECT id FROM chunks")}
        found = [document for key in documents if (document := self.document(key))]
        one = "SELECT id FROM chunks WHERE document_id = ?"
        return {row[0] for document in found for row in self._all(one, document.id)}

    def chunk_id_array(self) -> NDArray[np.int64]:
        """Ids of all passages, ascending, int64 [n]: a million take 8 MB, where a set of them takes 60."""
        with translated_errors():
            rows = self._connection.execute("SELECT id FROM chunks ORDER BY id")
            return np.fromiter((row[0] for row in rows), np.int64)

    def passages(self, ids: Iterable[int | None]) -> Iterator[Passage]:
        """Passages by id, in the order asked for; unknown ids are left out."""
        for chunk_id in ids:
            for row in self._all(f"{_PASSAGE} WHERE c.id = ?", chunk_id):
                yield _passage(row)

    def texts(self, ids: Iterable[int]) -> Iterator[tuple[int, str, str]]:
        """Id, heading and text of many passages; unknown ids are left out.

        Each document is read once where its passages follow one another: SQLite walks through all of a long text
        to cut a piece out of it.
        """
        current, title, text = "", "", ""
        for chunk_id in ids:
            found = self._all("SELECT document_id, start, end, section FROM chunks WHERE id = ?", chunk_id)
            for document_id, start, end, section in found:
                if document_id != current:
                    current = document_id
                    title, text = self._one("SELECT title, text FROM documents WHERE id = ?", document_id)
                yield chunk_id, heading(title, section), text[start:end]

    def existing(self, ids: Sequence[int]) -> set[int]:
        """Those of some ids, which lie close together, whose passages are in the store."""
        found = self._all("SELECT id FROM chunks WHERE id BETWEEN ? AND ?", min(ids), max(ids)) if ids else []
        return {row[0] for row in found}.intersection(ids)

    def neighbours(self, passage_id: int) -> tuple[Passage | None, Passage | None]:
        """The passages before and after one in its document."""
        found = []
        same = "document_id = (SELECT document_id FROM chunks WHERE id = ?1)"
        for side in ("max(id) FROM chunks WHERE id < ?1", "min(id) FROM chunks WHERE id > ?1"):
            neighbour = self._one(f"SELECT {side} AND {same}", passage_id)[0]
            found.append(next(self.passages([neighbour]), None))
        return found[0], found[1]

    @property
    def encoder(self) -> str:
        """Name of the encoder that made the vectors; empty when none has."""
        return str(self._one("SELECT value FROM meta WHERE key = 'encoder'")[0])

    def use_encoder(self, name: str) -> None:
        """Drops all vectors and notes who will make the new ones."""
        with transaction(self._connection) as connection:
            connection.execute("DELETE FROM vectors")
            connection.execute("UPDATE meta SET value = ? WHERE key = 'encoder'", (name,))

    def vectors(self, ids: Iterable[int]) -> tuple[list[int], Vectors]:
        """Vectors of passages: the ids that have one, and float32 ``[n, dimension]``."""
        found: list[int] = []
        blobs: list[bytes] = []
        for chunk_id in ids:
            for (blob,) in self._all("SELECT vector FROM vectors WHERE chunk_id = ?", chunk_id):
                found.append(chunk_id)
                blobs.append(blob)
        return found, _unpacked(b"".join(blobs)).reshape(len(found), -1 if found else 0)

    def put_vectors(self, ids: Sequence[int], vectors: Vectors) -> None:
        """Stores vectors of passages, float32 ``[len(ids), dimension]``, as float16."""
        with transaction(self._connection) as connection:
            _insert_vectors(connection, ids, vectors)

    def _delete(self, name: str) -> list[int]:
        removed = [
            row[0]
            for row in self._all(
                "SELECT c.id FROM chunks c JOIN documents d ON d.id = c.document_id WHERE d.name = ?", name
            )
        ]
        self._connection.execute("DELETE FROM documents WHERE name = ?", (name,))
        return removed

    def _all(self, query: str, *values: object) -> list[Any]:
        with translated_errors():
            return self._connection.execute(query, values).fetchall()

    def _one(self, query: str, *values: object) -> Any:
        return self._all(query, *values)[0]


def heading(title: str, section: str) -> str:
    """Title and breadcrumb in one line, as they are indexed."""
    return f"{title} {section}".strip()


def not_found(id_or_name: str) -> DocumentNotFoundError:
    """The error for a document that is not there."""
    return DocumentNotFoundError(
        f"'{id_or_name}'이라는 문서가 없어요.", "문서 목록에서 이름을 확인해 주세요."
    )


def _insert_chunk(connection: sqlite3.Connection, document_id: str, chunk: Chunk) -> int:
    cursor = connection.execute(
        "INSERT INTO chunks (document_id, start, end, section, page, sentences) VALUES (?, ?, ?, ?, ?, ?)",
        (document_id, chunk.start, chunk.end, chunk.section, chunk.page, json.dumps(chunk.sentences)),
    )
    return int(cursor.lastrowid or 0)


def as_stored(vectors: Vectors) -> Vectors:
    """Vectors as the store gives them back."""
    return _unpacked(vectors.astype(np.float16).tobytes()).reshape(vectors.shape)


def _unpacked(stored: bytes) -> Vectors:
    return np.frombuffer(stored, np.float16).astype(np.float32)


def _insert_vectors(connection: sqlite3.Connection, ids: Sequence[int], vectors: Vectors) -> None:
    blobs = (vector.tobytes() for vector in vectors.astype(np.float16))
    connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", zip(ids, blobs, strict=True))


def _passage(row: tuple[Any, ...]) -> Passage:
    *fields, sentences = row
    return Passage(*(*fields, tuple((a, b) for a, b in json.loads(sentences))))
