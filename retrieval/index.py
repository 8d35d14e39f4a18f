"""Documents in, passages out: ingestion and hybrid search.

SQLite holds the truth (`retrieval.store`); BM25 and FAISS in memory follow it (`retrieval.hybrid`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from compression.errors import DamsoError
from retrieval import readers
from retrieval.chunking import chunk
from retrieval.fusion import DEFAULT, Fusion
from retrieval.hybrid import HybridIndex, SentenceEncoder, embedded_text
from retrieval.store import Document, Passage, Store, heading

__all__ = ["Document", "Hit", "Index", "IngestResult", "Passage", "Rankings", "SentenceEncoder"]

_DEPTH = 50
_ADD_BATCH = 64


@dataclass(frozen=True)
class IngestResult:
    """What became of one file.

    Attributes:
        path: the file as it was given or found.
        status: ``unchanged`` when the same bytes are stored under its name already.
        document: the stored document, None when it failed.
        error: why it failed.
    """

    path: Path
    status: Literal["added", "unchanged", "replaced", "failed"]
    document: Document | None = None
    error: DamsoError | None = None


@dataclass(frozen=True)
class Hit:
    """A passage that was found.

    Attributes:
        passage: the passage with its place.
        score: fused score plus prior; its scale is the fusion's, see `retrieval.fusion`.
        lexical_score: BM25, 0 without a common term.
        dense_score: cosine of query and passage, 0 without an encoder.
        lexical_rank: rank from 1 among BM25's candidates, or None.
        dense_rank: rank from 1 among the nearest vectors, or None.
    """

    passage: Passage
    score: float
    lexical_score: float
    dense_score: float
    lexical_rank: int | None
    dense_rank: int | None


@dataclass(frozen=True)
class Rankings:
    """What each part of the search says of a query: passage ids, best first.

    Attributes:
        lexical: by BM25.
        dense: by cosine; empty without an encoder.
        fused: by both, as `Index.search` ranks without a prior.
    """

    lexical: list[int]
    dense: list[int]
    fused: list[int]


class Index:
    """The documents of one folder. Thread-safe; several processes may share the folder."""

    def __init__(self, folder: Path, encoder: SentenceEncoder | None, fusion: Fusion = DEFAULT) -> None:
        """See `open`."""
        self._lock = RLock()
        self._store = Store(folder / "documents.db")
        try:
            self._version = self._store.version
            self._hybrid = HybridIndex(self._store, folder, encoder, fusion)
        except BaseException:
            self._store.close()
            raise

    @classmethod
    def open(cls, folder: Path, encoder: SentenceEncoder | None, fusion: Fusion = DEFAULT) -> Index:
        """Opens or creates the index of a folder.

        Args:
            folder: where the database and its caches lie; made when missing.
            encoder: makes the vectors; None searches by words only. When it is another than the one that
                made the stored vectors, all are made anew.
            fusion: how both parts of the search are made one.

        Raises:
            NewerDatabaseError: a newer version of Damso wrote the database.
            CorruptDatabaseError: the database file is damaged.
            StoreError: the folder cannot be written.
        """
        return cls(folder, encoder, fusion)

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Writes the caches and closes the database."""
        with self._lock:
            self._hybrid.save()
            self._store.close()

    def ingest(
        self,
        paths: Iterable[Path],
        progress: Callable[[IngestResult], None] | None = None,
        collection: str | None = None,
    ) -> list[IngestResult]:
        """Adds files, and folders with all supported files under them (hidden ones are left out).

        A document is called by its file's name, one found under a given folder by its path from there. The
        same name with other content replaces the document. A result other than ``failed`` means that the
        document is safely on disk; one file's failure never stops the others.

        Args:
            paths: files and folders.
            progress: called after each file.
            collection: name of the group that the documents belong to from now on; None leaves it as it is.

        Returns:
            One result a file, in order.
        """
        return self.ingest_files(files(paths), progress, collection)

    def ingest_files(
        self,
        found: Iterable[tuple[Path, str]],
        progress: Callable[[IngestResult], None] | None = None,
        collection: str | None = None,
    ) -> list[IngestResult]:
        """`ingest` for files whose documents' names are known: pairs of a path and a name."""
        results = []
        try:
            for path, name in found:
                results.append(self._ingested(path, name, collection))
                if progress:
                    progress(results[-1])
        finally:
            with self._lock:
                self._hybrid.save()
        return results

    def ingest_texts(self, texts: Iterable[tuple[str, str]]) -> list[IngestResult]:
        """`ingest` for documents in memory: pairs of a name, whose extension says how it is read, and a text."""
        try:
            return [self._stored(Path(name), name, text.encode("utf-8", "replace")) for name, text in texts]
        finally:
            with self._lock:
                self._hybrid.save()

    def documents(self, collection: str | None = None) -> list[Document]:
        """All documents by name, or those of one collection."""
        with self._lock:
            return self._store.documents(collection)

    def document_text(self, document_id: str) -> str:
        """The clean text that offsets point into.

        Raises:
            DocumentNotFoundError: there is no document of this id.
        """
        with self._lock:
            return self._store.text(document_id)

    def remove(self, id_or_name: str) -> Document:
        """Deletes a document with its passages and vectors.

        Raises:
            DocumentNotFoundError: there is no such document.
        """
        with self._lock:
            document, removed = self._store.remove(id_or_name)
            self._hybrid.drop(removed)
            return document

    def neighbours(self, passage_id: int) -> tuple[Passage | None, Passage | None]:
        """The passages before and after one in its document, None at the edges."""
        with self._lock:
            return self._store.neighbours(passage_id)

    def search(
        self,
        query: str,
        top_k: int = 8,
        documents: Collection[str] | None = None,
        prior: Mapping[int, float] | None = None,
        expansion: Sequence[str] = (),
        context: Sequence[str] = (),
    ) -> list[Hit]:
        """Finds the passages that speak about a question, by words and by meaning.

        Args:
            query: the question.
            top_k: how many at most.
            documents: ids or names of the documents to search; None for all.
            prior: scores by passage id, added to the fused ones; their passages become candidates.
            expansion: further index terms at a lower weight than the query's own, such as other words for them.
            context: terms that a follow-up question takes over from the conversation; as ``expansion``, and part
                of the query's meaning where the fusion says so.

        Returns:
            Best first; fewer than ``top_k`` when fewer passages have anything to do with the query.
        """
        with self._lock:
            self._follow_other_processes()
            allowed = None if documents is None else self._store.chunk_ids(documents)
            found = self._hybrid.candidates(query, context, expansion, max(_DEPTH, 5 * top_k), allowed)
            fused = self._hybrid.fused(found)
            for chunk_id, score in (prior or {}).items():
                if allowed is None or chunk_id in allowed:
                    fused[chunk_id] = fused.get(chunk_id, 0.0) + score
            passages = list(self._store.passages(_best(fused, top_k)))
            scores = self._hybrid.scores(found, [passage.id for passage in passages])
        lexical, dense = _ranks(found.lexical), _ranks(found.dense)
        return [
            Hit(passage, fused[passage.id], *score, lexical.get(passage.id), dense.get(passage.id))
            for passage, score in zip(passages, scores, strict=True)
        ]

    def rankings(
        self,
        query: str,
        depth: int = 100,
        documents: Collection[str] | None = None,
        expansion: Sequence[str] = (),
        context: Sequence[str] = (),
    ) -> Rankings:
        """The ``depth`` best passages of each part of the search; arguments as in `search`."""
        with self._lock:
            self._follow_other_processes()
            allowed = None if documents is None else self._store.chunk_ids(documents)
            found = self._hybrid.candidates(query, context, expansion, depth, allowed)
            fused = self._hybrid.fused(found)
        return Rankings(found.lexical, found.dense, _best(fused, depth))

    def passage_ids(self) -> NDArray[np.int64]:
        """Ids of all passages, ascending, int64 ``[n]``."""
        with self._lock:
            return self._store.chunk_id_array()

    def passages(self, ids: Iterable[int]) -> list[Passage]:
        """Passages by id, in the order asked for; unknown ids are left out."""
        with self._lock:
            return list(self._store.passages(ids))

    def idf(self, terms: Sequence[str]) -> NDArray[np.float64]:
        """Inverse document frequencies, float64 ``[len(terms)]``; the largest for terms that never occur."""
        with self._lock:
            return self._hybrid.idf(terms)

    def _ingested(self, path: Path, name: str, collection: str | None) -> IngestResult:
        try:
            data = readers.load(path)
        except DamsoError as error:
            return IngestResult(path, "failed", error=error)
        return self._stored(path, name, data, collection)

    def _stored(self, path: Path, name: str, data: bytes, collection: str | None = None) -> IngestResult:
        try:
            digest = hashlib.sha256(data).hexdigest()
            with self._lock:
                known = self._store.document(name)
                if known and (known.name, known.sha256) == (name, digest):
                    if collection is not None and collection != known.collection:
                        known = self._store.assign(known.id, collection)
                    return IngestResult(path, "unchanged", known)
            document, replaced = self._put(name, digest, data, collection)
        except DamsoError as error:
            return IngestResult(path, "failed", error=error)
        return IngestResult(path, "replaced" if replaced else "added", document)

    def _put(self, name: str, digest: str, data: bytes, collection: str | None) -> tuple[Document, bool]:
        """Reads and encodes without the lock, so that questions are answered meanwhile."""
        source = readers.parse(data, name)
        chunks = chunk(source)
        headings = [heading(source.title, c.section) for c in chunks]
        texts = [source.text[c.start : c.end] for c in chunks]
        vectors = self._hybrid.encode(list(map(embedded_text, headings, texts)))
        with self._lock:
            document, added, removed = self._store.put(
                name, digest, len(data), source, chunks, vectors, collection
            )
            self._hybrid.drop(removed)
        for start in range(0, len(added), _ADD_BATCH):
            batch = slice(start, start + _ADD_BATCH)
            analysed = self._hybrid.analysed(headings[batch], texts[batch])
            with self._lock:
                self._hybrid.insert(added[batch], analysed, None if vectors is None else vectors[batch])
        return document, bool(removed)

    def _follow_other_processes(self) -> None:
        if (version := self._store.version) != self._version:
            self._hybrid.synchronise()
            self._version = version


def _best(scores: Mapping[int, float], top_k: int) -> list[int]:
    return sorted(scores, key=lambda chunk_id: (-scores[chunk_id], chunk_id))[: max(top_k, 0)]


def _ranks(ids: Sequence[int]) -> dict[int, int]:
    return {chunk_id: rank for rank, chunk_id in enumerate(ids, 1)}


def files(paths: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    """Files with the names of their documents; an unreadable folder stands for itself, has no name and fails."""
    for path in paths:
        if not path.is_dir():
            yield path, readers.document_name(path)
            continue
        unreadable: list[OSError] = []
        for folder, subfolders, names in os.walk(path, onerror=unreadable.append):
            subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
            visible = (Path(folder, name) for name in sorted(names) if not name.startswith("."))
            for file in filter(readers.is_supported, visible):
                yield file, readers.document_name(file, path)
        yield from ((Path(error.filename), "") for error in unreadable)
