"""Writes small Hangul documents: HWP 5 records in an OLE file, and HWPX as a zip of XML."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from zipfile import ZIP_DEFLATED, ZipFile

from tests.retrieval.compound_file import compound_file

Table = list[list[str]]
_HP = "http://www.hancom.co.kr/hwpml/2011/paragraph"
_HH = "http://www.hancom.co.kr/hwpml/2011/head"
_HS = "http://www.hancom.co.kr/hwpml/2011/section"


def record(tag: int, level: int, data: bytes) -> bytes:
    size = min(len(data), 0xFFF)
    head = struct.pack("<I", tag | level << 10 | size << 20)
    return head + (struct.pack("<I", len(data)) if size == 0xFFF else b"") + data


def paragraph(text: str, level: int = 0, shape: int = 0) -> bytes:
    """A paragraph; the text may hold control characters with what they refer to."""
    data = (text + "\r").encode("utf-16-le", "surrogatepass")
    header = struct.pack("<IIHB", len(data) // 2, 0, shape, 0)
    return record(66, level, header) + record(67, level + 1, data)


def extended(control: int, identifier: str = "tbl ") -> str:
    """A control character as it stands in text: itself, six units of payload, itself again."""
    payload = identifier.encode("ascii")[::-1] + b"\x41\x00\x00\xd8\x42\x00\xff\xdf"
    return chr(control) + payload.decode("utf-16-le", "surrogatepass") + chr(control)


def hwp_table(rows: Table, level: int = 1, caption: str = "") -> bytes:
    """A table control under the paragraph before it."""
    out = record(71, level, b" lbt" + bytes(8))
    if caption:
        out += record(72, level + 1, bytes(8)) + paragraph(caption, level + 1)
    out += record(77, level + 1, struct.pack("<IHH", 0, len(rows), len(rows[0])))
    for number, row in enumerate(rows):
        for column, cell in enumerate(row):
            place = struct.pack("<iIHHHH", 1, 0, column, number, 1, 1)
            out += record(72, level + 1, place) + b"".join(
                paragraph(line, level + 1) for line in cell.split("\n")
            )
    return out


def hwp(*sections: bytes, flags: int = 1, outline: tuple[int, ...] = ()) -> bytes:
    """An HWP 5 document; ``outline`` gives the level from 0 of the paragraph shapes from number 1 on."""
    shapes = [0, *(1 << 23 | level << 25 for level in outline)]
    information = b"".join(record(25, 0, struct.pack("<I", bits) + bytes(38)) for bits in shapes)
    pack = deflated if flags & 1 else bytes
    header = b"HWP Document File".ljust(32, b"\0") + struct.pack("<II", 0x05010100, flags)
    streams = {"FileHeader": header.ljust(256, b"\0"), "DocInfo": pack(information)}
    for number, section in enumerate(sections):
        streams[f"BodyText/Section{number}"] = pack(section)
    return compound_file(streams)


def deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def p(text: str, shape: int = 0, inner: str = "") -> str:
    """An OWPML paragraph; ``inner`` is the XML of what is anchored in it."""
    return f'<hp:p paraPrIDRef="{shape}"><hp:run><hp:t>{text}</hp:t>{inner}</hp:run></hp:p>'


def hwpx_table(rows: Table) -> str:
    cells = (
        "<hp:tr>"
        + "".join(
            f"<hp:tc><hp:subList>{''.join(map(p, cell.split(chr(10))))}</hp:subList>"
            f'<hp:cellAddr colAddr="{column}" rowAddr="{number}"/><hp:cellSpan colSpan="1" rowSpan="1"/></hp:tc>'
            for column, cell in enumerate(row)
        )
        + "</hp:tr>"
        for number, row in enumerate(rows)
    )
    return f"<hp:tbl>{''.join(cells)}</hp:tbl>"


def hwpx(*sections: str, outline: tuple[int, ...] = (), extra: dict[str, bytes] | None = None) -> bytes:
    shapes = "".join(
        f'<hh:paraPr id="{number}"><hh:heading type="OUTLINE" idRef="0" level="{level}"/></hh:paraPr>'
        for number, level in enumerate(outline, 1)
    )
    head = f'<hh:head xmlns:hh="{_HH}"><hh:paraPr id="0"/>{shapes}</hh:head>'
    buffer = BytesIO()
    with ZipFile(buffer, "w", ZIP_DEFLATED) as file:
        file.writestr("mimetype", "application/hwp+zip")
        file.writestr("Contents/header.xml", head)
        for number, section in enumerate(sections):
            body = f'<hs:sec xmlns:hs="{_HS}" xmlns:hp="{_HP}">{section}</hs:sec>'
            file.writestr(f"Contents/section{number}.xml", f'<?xml version="1.0" encoding="UTF-8"?>{body}')
        for name, data in (extra or {}).items():
            file.writestr(name, data)
    return buffer.getvalue()
