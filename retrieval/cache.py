"""Cache files beside the database: written whole or not at all, and believed only when they check out.

A file is one line of JSON (what the cache was made from, the payload's length and CRC-32), padded so that arrays in
the payload are aligned, and the payload. Whatever is wrong with it, the reader gets None and rebuilds from the
database, which is the truth. A large payload is mapped, not read: its pages come from the disk when they are needed,
and can leave memory again.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import zlib
from collections.abc import Sequence
from pathlib import Path

_ALIGNMENT = 64
_BLOCK = 1 << 20
# Smaller files are read: a mapped file cannot be replaced on Windows, and is no smaller in memory for long.
_MAPPED_FROM = 64 << 20

Payload = bytes | memoryview


def write(path: Path, stamp: str, payload: Payload | Sequence[Payload]) -> None:
    """Replaces the file atomically: temporary file, fsync, rename, fsync of the folder.

    Args:
        path: the cache file.
        stamp: names what the payload was made from; `read` asks for the same.
        payload: the bytes to keep, in one or several parts.

    Raises:
        OSError: it cannot be written; the old file is as it was.
    """
    parts = [payload] if isinstance(payload, bytes | memoryview) else payload
    crc = 0
    for part in parts:
        crc = zlib.crc32(part, crc)
    size = sum(memoryview(part).nbytes for part in parts)
    header = json.dumps({"stamp": stamp, "bytes": size, "crc32": crc}).encode()
    padding = b" " * (-(len(header) + 1) % _ALIGNMENT)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.writelines([header, padding, b"\n", *parts])
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def read(path: Path, stamp: str) -> Payload | None:
    """The payload written under this stamp; None when absent, unreadable, damaged or of another stamp."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        with path.open("rb") as file:
            header = json.loads(file.readline(4096))
            start, size, crc = file.tell(), 0, 0
            while block := file.read(_BLOCK):
                size, crc = size + len(block), zlib.crc32(block, crc)
            if header != {"stamp": stamp, "bytes": size, "crc32": crc}:
                return None
            if size >= _MAPPED_FROM:
                return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))[start:]
            file.seek(start)
            return file.read()
    return None


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open folders
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
