"""Keeps an index in line with a folder: new, changed and deleted files.

It looks again every few seconds instead of asking the operating system for events: that works on network drives and
needs no further library, and a look costs one ``stat`` a file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from retrieval.errors import DocumentNotFoundError
from retrieval.index import Index, IngestResult, files

Stamp = tuple[int, int]
"""Time of the last change in nanoseconds, and size in bytes."""


class FolderWatch:
    """What was seen of a folder, and what to do about what has changed since."""

    def __init__(
        self,
        index: Index,
        folder: Path,
        ingested: Callable[[IngestResult], None],
        removed: Callable[[str], None],
        stopped: Callable[[], bool] = lambda: False,
        collection: str | None = None,
    ) -> None:
        """Sees nothing yet.

        Args:
            index: follows the folder.
            folder: documents are called by their path from here.
            ingested: called after each file that was read.
            removed: called with the name of each document whose file is gone.
            stopped: asked before each file; true ends `poll` early.
            collection: as in `Index.ingest`.
        """
        self._index, self._folder, self._collection = index, folder, collection
        self._ingested, self._removed, self._stopped = ingested, removed, stopped
        self._known: dict[str, Stamp] = {}
        self._waiting: dict[str, Stamp] | None = None

    def poll(self) -> bool:
        """Looks once: reads what is new or changed, removes what is gone.

        A file is read once two looks in a row find it the same, so that one still being written is left alone; the
        first look takes all. Nothing is removed while a part of the folder cannot be read: a drive that is away is
        not a deleted folder.

        Returns:
            Whether the whole folder could be read.
        """
        found, complete = self._look()
        stamps = {name: stamp for name, (_, stamp) in found.items()}
        changed = {name: stamp for name, stamp in stamps.items() if self._known.get(name) != stamp}
        first, before = self._waiting is None, self._waiting or {}
        settled = [name for name, stamp in changed.items() if first or before.get(name) == stamp]
        self._waiting = changed
        self._index.ingest_files(self._taken(settled, found), self._ingested, self._collection)
        for name in sorted(self._known.keys() - stamps.keys()) if complete else ():
            self._remove(name)
        return complete

    def _taken(
        self, names: Iterable[str], found: Mapping[str, tuple[Path, Stamp]]
    ) -> Iterator[tuple[Path, str]]:
        """Files to read; each counts as known from when it is taken."""
        for name in names:
            if self._stopped():
                return
            path, self._known[name] = found[name]
            yield path, name

    def _look(self) -> tuple[dict[str, tuple[Path, Stamp]], bool]:
        found: dict[str, tuple[Path, Stamp]] = {}
        complete = self._folder.is_dir()
        for path, name in files([self._folder]) if complete else ():
            if not name:
                complete = False
                continue
            with contextlib.suppress(OSError):  # gone between the listing and now
                status = path.stat()
                found[name] = path, (status.st_mtime_ns, status.st_size)
        return found, complete

    def _remove(self, name: str) -> None:
        del self._known[name]
        with contextlib.suppress(DocumentNotFoundError):  # a file that could not be read was never one
            self._removed(self._index.remove(name).name)
