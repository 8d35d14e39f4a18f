"""Cache files beside the database: written whole or not at all, and believed only when they check out.

A file is one line of JSON (what the cache was made from, the payload's length and CRC-32) and the payload.
Whatever is wrong with it, the reader gets None and rebuilds from the database, which is the truth.
"""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from pathlib import Path


def write(path: Path, stamp: str, payload: bytes) -> None:
    """Replaces the file atomically: temporary file, fsync, rename, fsync of the folder.

    Args:
        path: the cache file.
        stamp: names what the payload was made from; `read` asks for the same.
        payload: the bytes to keep.

    Raises:
        OSError: it cannot be written; the old file is as it was.
    """
    header = json.dumps({"stamp": stamp, "bytes": len(payload), "crc32": zlib.crc32(payload)})
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.writelines([header.encode(), b"\n", payload])
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def read(path: Path, stamp: str) -> bytes | None:
    """The payload written under this stamp; None when absent, unreadable, damaged or of another stamp."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        with path.open("rb") as file:
            header = json.loads(file.readline(4096))
            payload = file.read()
        expected = {"stamp": stamp, "bytes": len(payload), "crc32": zlib.crc32(payload)}
        return payload if header == expected else None
    return None


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open folders
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
