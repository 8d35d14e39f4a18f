"""Writes OLE compound files ([MS-CFB] version 3), which no library does."""

from __future__ import annotations

import struct

_SECTOR, _MINI_SECTOR, _CUTOFF = 512, 64, 4096
_FREE, _END, _FAT = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD
_NONE = 0xFFFFFFFF


def compound_file(streams: dict[str, bytes]) -> bytes:
    """A compound file with the given streams; a ``/`` in a name opens a storage."""
    sectors: list[bytes] = []
    fat: list[int] = []
    mini, mini_fat = b"", list[int]()
    starts: dict[str, int] = {}
    for path, data in streams.items():
        if len(data) < _CUTOFF:
            starts[path] = len(mini_fat) if data else _END
            mini += _padded(data, _MINI_SECTOR)
            mini_fat += _chain(len(mini_fat), len(_padded(data, _MINI_SECTOR)) // _MINI_SECTOR)
        else:
            starts[path] = _append(sectors, fat, data)
    mini_start = _append(sectors, fat, mini) if mini else _END
    mini_fat_start = _append(sectors, fat, struct.pack(f"<{len(mini_fat)}I", *mini_fat), b"\xff")
    directory = _directory(streams, starts, mini_start, len(mini))
    directory_start = _append(sectors, fat, directory)
    fat_sectors = 1
    while (len(fat) + fat_sectors) * 4 > fat_sectors * _SECTOR:
        fat_sectors += 1
    fat_places = list(range(len(sectors), len(sectors) + fat_sectors))
    fat += [_FAT] * fat_sectors
    table = struct.pack(f"<{len(fat)}I", *fat).ljust(fat_sectors * _SECTOR, b"\xff")
    mini_fat_sectors = -(-len(mini_fat) * 4 // _SECTOR)
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16)
    header += struct.pack("<HHHHH6xIIIIIIIIII", 0x3E, 3, 0xFFFE, 9, 6, 0, fat_sectors, directory_start, 0, _CUTOFF,
                          mini_fat_start, mini_fat_sectors, _END, 0, fat_places[0])  # fmt: skip
    places = fat_places[1:] + [_FREE] * (109 - fat_sectors)
    return header + struct.pack("<108I", *places) + b"".join(sectors) + table


def _append(sectors: list[bytes], fat: list[int], data: bytes, fill: bytes = b"\0") -> int:
    padded = _padded(data, _SECTOR, fill)
    start = len(sectors)
    count = len(padded) // _SECTOR
    sectors += [padded[i * _SECTOR : (i + 1) * _SECTOR] for i in range(count)]
    fat += _chain(start, count)
    return start if count else _END


def _chain(start: int, count: int) -> list[int]:
    return [*range(start + 1, start + count), _END][:count]


def _padded(data: bytes, size: int, fill: bytes = b"\0") -> bytes:
    return data + fill * (-len(data) % size)


def _directory(streams: dict[str, bytes], starts: dict[str, int], mini_start: int, mini_size: int) -> bytes:
    storages = dict.fromkeys(path.rpartition("/")[0] for path in streams if "/" in path)
    paths = ["", *storages, *streams]
    children: dict[str, list[int]] = {}
    for number, path in enumerate(paths[1:], 1):
        children.setdefault(path.rpartition("/")[0], []).append(number)
    following = {a: b for group in children.values() for a, b in zip(group, group[1:], strict=False)}
    entries = b""
    for number, path in enumerate(paths):
        first = children.get(path, [_NONE])[0]
        right = following.get(number, _NONE)
        if number == 0:
            entries += _entry("Root Entry", 5, right, first, mini_start, mini_size)
        elif path in storages:
            entries += _entry(path, 1, right, first, 0, 0)
        else:
            entries += _entry(path.rpartition("/")[2], 2, right, _NONE, starts[path], len(streams[path]))
    return entries


def _entry(name: str, kind: int, right: int, child: int, start: int, size: int) -> bytes:
    encoded = (name + "\0").encode("utf-16-le")
    head = encoded.ljust(64, b"\0") + struct.pack("<HBBIII", len(encoded), kind, 1, _NONE, right, child)
    return head + bytes(36) + struct.pack("<IQ", start, size)
