"""Hangul 5 documents (.hwp): an OLE compound file whose sections are compressed streams of records.

The format is Hancom's "한글 문서 파일 형식 5.0" (revision 1.3): the file header (3.2.1), records (4.1),
paragraph text with control characters (4.3.2), tables and cells (4.3.9.1).
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval.errors import UnreadableFileError
from retrieval.readers import archive, plain, tables
from retrieval.readers.source import Piece, SourceText

if TYPE_CHECKING:
    from olefile import OleFileIO

_MAX_BYTES = 64 * 2**20
_SIGNATURE = b"HWP Document File"
_OLE_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_COMPRESSED, _PASSWORD, _DISTRIBUTION, _DRM = 1, 2, 4, 16 | 256

_PARA_SHAPE, _PARA_HEADER, _PARA_TEXT, _CTRL_HEADER, _LIST_HEADER, _TABLE = 25, 66, 67, 71, 72, 77
# Control ids are written backwards. Headers, footers and hidden comments are no part of the text.
_TABLE_CONTROL = b" lbt"
_SKIPPED_CONTROLS = {b"daeh", b"toof", b"tmct"}
# Control characters that take eight units, the tab among them, and those that take one.
_CONTROL = re.compile("[\x01-\x09\x0b\x0c\x0e-\x17].{0,7}", re.DOTALL)
_SINGLE = {0: "", 10: "\n", 13: "\n", 24: "-", **dict.fromkeys(range(25, 32), " ")}


@dataclass(frozen=True)
class _Record:
    """A record: what it is, how deep it is nested, and its bytes."""

    tag: int
    level: int
    data: bytes


def parse(data: bytes, name: str) -> SourceText:
    """Reads the body of a document with its tables, text boxes and notes.

    Args:
        data: the file's bytes.
        name: the file's name.

    Raises:
        UnreadableFileError: password-protected, for distribution only, older than Hangul 5, or damaged.
        DocumentTooLargeError: it would decompress to too much.
    """
    if not data.startswith(_OLE_MAGIC):
        raise _not_hwp(data, name)
    import olefile

    with olefile.OleFileIO(BytesIO(data)) as ole:
        flags = _flags(ole, data, name)
        levels = _outline_levels(_stream(ole, "DocInfo", flags, name))
        found: list[Piece] = []
        for number in count():
            if not ole.exists(f"BodyText/Section{number}"):
                break
            records = list(_records(_stream(ole, f"BodyText/Section{number}", flags, name)))
            found += _pieces(records, levels)
    return plain.structured(Path(name).stem, found)


def _not_hwp(data: bytes, name: str) -> UnreadableFileError:
    if data.startswith(_SIGNATURE):
        return UnreadableFileError(
            f"'{name}'은(는) 한글 97 이전 형식이에요.",
            "한글에서 열어 .hwp나 .hwpx로 다시 저장한 뒤 올려 주세요.",
        )
    return UnreadableFileError(
        f"'{name}'은(는) 깨졌거나 한글 문서가 아니에요.", "한글에서 열어 다시 저장한 뒤 올려 주세요."
    )


def _flags(ole: OleFileIO, data: bytes, name: str) -> int:
    header = ole.openstream("FileHeader").read(40) if ole.exists("FileHeader") else b""
    if not header.startswith(_SIGNATURE) or len(header) < 40:
        raise _not_hwp(b"", name)
    flags = int.from_bytes(header[36:40], "little")
    if flags & (_PASSWORD | _DRM):
        raise archive.password_protected(name)
    if flags & _DISTRIBUTION:
        raise UnreadableFileError(
            f"'{name}'은(는) 배포용 문서라서 글을 꺼낼 수 없어요.", "일반 문서나 PDF로 저장한 뒤 올려 주세요."
        )
    return flags


def _stream(ole: OleFileIO, path: str, flags: int, name: str) -> bytes:
    packed = ole.openstream(path).read()
    if not flags & _COMPRESSED:
        return bytes(packed)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    data = inflater.decompress(packed, _MAX_BYTES)
    if inflater.unconsumed_tail:
        raise archive.too_large(name)
    return data


def _records(data: bytes) -> Iterator[_Record]:
    offset = 0
    while offset + 4 <= len(data):
        (head,) = struct.unpack_from("<I", data, offset)
        tag, level, size = head & 0x3FF, head >> 10 & 0x3FF, head >> 20
        offset += 4
        if size == 0xFFF:
            (size,) = struct.unpack_from("<I", data, offset)
            offset += 4
        yield _Record(tag, level, data[offset : offset + size])
        offset += size


def _outline_levels(information: bytes) -> list[int | None]:
    """For each paragraph shape the level of the outline that it is a heading of, from 1."""
    shapes = (record for record in _records(information) if record.tag == _PARA_SHAPE)
    properties = (int.from_bytes(shape.data[:4], "little") for shape in shapes)
    # Bits 23-24: 1 is an outline heading; bits 25-27: its level.
    return [1 + (bits >> 25 & 7) if bits >> 23 & 3 == 1 else None for bits in properties]


def _pieces(records: list[_Record], levels: list[int | None]) -> Iterator[Piece]:
    """Paragraphs in order; what a control holds follows the paragraph that it is anchored in."""
    index = 0
    level: int | None = None
    while index < len(records):
        record = records[index]
        end = index + 1
        if record.tag == _PARA_HEADER:
            shape = int.from_bytes(record.data[8:10], "little")
            # Paragraphs inside boxes and notes are no headings of the document.
            level = levels[shape] if record.level == 0 and shape < len(levels) else None
        elif record.tag == _PARA_TEXT:
            yield _paragraph(_text(record.data), level)
        elif record.tag == _CTRL_HEADER and record.data[:4] in _SKIPPED_CONTROLS | {_TABLE_CONTROL}:
            end = _end_of(records, index)
            if record.data[:4] == _TABLE_CONTROL:
                yield from _table(records[index + 1 : end])
        index = end


def _paragraph(text: str, level: int | None) -> Piece:
    if level is None or not text:
        return Piece("paragraph", text)
    return Piece("heading", " ".join(text.split()), level)


def _end_of(records: list[_Record], index: int) -> int:
    """One past the last record nested in the one at ``index``."""
    end = index + 1
    while end < len(records) and records[end].level > records[index].level:
        end += 1
    return end


def _table(records: list[_Record]) -> Iterator[Piece]:
    """A table's caption comes before its ``TABLE`` record, its cells after it, a list header before each."""
    start = next((i for i, record in enumerate(records) if record.tag == _TABLE), len(records))
    yield from _pieces(records[:start], [])
    depth = records[start].level if start < len(records) else 0
    body = records[start + 1 :]
    starts = [i for i, record in enumerate(body) if record.tag == _LIST_HEADER and record.level == depth]
    cells = (_cell(body[i:end]) for i, end in zip(starts, [*starts[1:], len(body)], strict=True))
    yield from tables.pieces(tables.unmerged(cells))


def _cell(records: list[_Record]) -> tables.Cell:
    column, row, columns, rows = struct.unpack_from("<4H", records[0].data, 8)
    text = "\n".join(_text(record.data) for record in records if record.tag == _PARA_TEXT)
    return tables.Cell(row, column, text, max(1, rows), max(1, columns))


def _text(data: bytes) -> str:
    """UTF-16 text without its control characters and what they refer to."""
    units = struct.unpack(f"<{len(data) // 2}H", data[: len(data) // 2 * 2])
    # One character a unit until the controls are gone: what they hold may look like surrogates.
    text = _CONTROL.sub(lambda control: " " if control[0][0] == "\t" else "", "".join(map(chr, units)))
    text = text.translate(_SINGLE)
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").strip()
