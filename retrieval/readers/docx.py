"""Word documents (.docx): headings by style or outline level, lists, tables, in the order of the body."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval.readers import archive, plain, tables
from retrieval.readers.source import Piece, SourceText

if TYPE_CHECKING:
    from lxml.etree import _Element

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
# What old programs show in place of a text box: the same text again.
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_BREAKS = {f"{_W}{tag}": "\n" for tag in ("p", "br", "cr")} | {f"{_W}tab": " ", f"{_W}noBreakHyphen": "-"}
# Content controls and tracked insertions wrap paragraphs; moved-away and deleted ones have no w:t.
_WRAPPERS = {f"{_W}{tag}" for tag in ("sdt", "sdtContent", "ins", "moveTo", "smartTag", "customXml")}
_TITLE = 0


def parse(data: bytes, name: str) -> SourceText:
    """Reads the body of a Word document; headers, footers and comments are left out.

    Args:
        data: the file's bytes.
        name: the file's name.

    Raises:
        DocumentError: password-protected, damaged, too large, or no Word document.
    """
    archive.checked(data, name, "word/document.xml").close()
    from docx import Document

    document = Document(BytesIO(data))
    pieces = list(_pieces(document.element.body, _heading_levels(document.styles.element)))
    return plain.structured(Path(name).stem, pieces)


def _heading_levels(styles: _Element) -> dict[str, int]:
    """Heading levels by style id: 0 for the title, from 1 for headings; inherited along ``basedOn``."""
    own: dict[str, int | None] = {}
    based_on: dict[str, str] = {}
    for style in styles.iter(f"{_W}style"):
        identifier = style.get(f"{_W}styleId", "")
        own[identifier] = _own_level(style)
        based_on[identifier] = _value(style, "basedOn")
    levels = {}
    for identifier in own:
        ancestor, seen = identifier, set[str]()
        while own.get(ancestor) is None and ancestor in based_on and ancestor not in seen:
            seen.add(ancestor)
            ancestor = based_on[ancestor]
        level = own.get(ancestor)
        if level is not None:
            levels[identifier] = level
    return levels


def _own_level(style: _Element) -> int | None:
    name = _value(style, "name").lower()
    if name == "title":
        return _TITLE
    number = name.removeprefix("heading ")
    if number != name and number.isascii() and number.isdigit():
        return int(number)
    return _outline_level(style)


def _outline_level(element: _Element) -> int | None:
    level = _value(element, f"pPr/{_W}outlineLvl")
    # 9 means body text.
    return int(level) + 1 if level.isascii() and level.isdigit() and int(level) < 9 else None


def _value(element: _Element, path: str) -> str:
    found = element.find(f"{_W}{path}")
    return "" if found is None else found.get(f"{_W}val", "")


def _children(parent: _Element) -> Iterator[_Element]:
    """The children, and in place of each wrapper what it wraps."""
    for child in parent:
        if child.tag in _WRAPPERS:
            yield from _children(child)
        else:
            yield child


def _pieces(body: _Element, levels: dict[str, int]) -> Iterator[Piece]:
    for fallback in list(body.iter(_FALLBACK)):
        fallback.clear()
    for child in _children(body):
        if child.tag == f"{_W}p":
            yield from _paragraph(child, levels)
        elif child.tag == f"{_W}tbl":
            yield from tables.pieces(_grid(child))


def _paragraph(paragraph: _Element, levels: dict[str, int]) -> Iterator[Piece]:
    text = _text(paragraph).strip()
    style = _value(paragraph, f"pPr/{_W}pStyle")
    level = _outline_level(paragraph)
    level = levels.get(style) if level is None else level
    if level is not None:
        yield Piece("heading", " ".join(text.split()), level)
    elif paragraph.find(f"{_W}pPr/{_W}numPr") is not None or style.lower().startswith("list"):
        yield Piece("list", " ".join(text.split()))
    else:
        yield Piece("paragraph", text)


def _grid(table: _Element) -> list[list[str]]:
    cells: list[tables.Cell] = []
    above: dict[int, str] = {}
    for number, row in enumerate(child for child in _children(table) if child.tag == f"{_W}tr"):
        column = 0
        for cell in (child for child in _children(row) if child.tag == f"{_W}tc"):
            text = _text(cell).strip()
            if _continues(cell):
                text = above.get(column, text)
            above[column] = text
            cells.append(tables.Cell(number, column, text))
            column += int(_value(cell, f"tcPr/{_W}gridSpan") or 1)
            tables.require_size(column, len(cells))
    return tables.unmerged(cells)


def _continues(cell: _Element) -> bool:
    """Whether the cell is merged with the one above it."""
    merge = cell.find(f"{_W}tcPr/{_W}vMerge")
    return merge is not None and merge.get(f"{_W}val", "continue") == "continue"


def _text(element: _Element) -> str:
    parts = []
    for node in element.iter(f"{_W}t", *_BREAKS):
        parts.append(_BREAKS.get(node.tag) or node.text or "")
    return "".join(parts)
