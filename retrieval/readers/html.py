"""HTML pages: headings, lists, tables and paragraphs; scripts, styles and navigation are left out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval.errors import UnreadableFileError
from retrieval.readers import tables
from retrieval.readers.decoding import decode
from retrieval.readers.source import Piece, SourceText, titled

if TYPE_CHECKING:
    from lxml.etree import _Element

_CHARSET = re.compile(rb"charset\s*=\s*[\"']?\s*([\w-]{1,40})", re.IGNORECASE)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_SKIPPED = frozenset("script style noscript template nav svg iframe select head object".split())
_BLOCKS = frozenset(_HEADINGS) | frozenset(
    "address article aside blockquote body caption center dd details div dl dt fieldset figcaption figure"
    " footer form header hr html legend li main ol p pre section summary table tbody td tfoot th thead tr ul"
    "".split()
)
# libxml2 compares every attribute of a tag with all before it.
_LONG_TAG = re.compile(r"<[A-Za-z][^<>]{16384,}")
_MAX_ATTRIBUTES = 2000
_WHITE_SPACE = re.compile(r"[ \t\n\xa0]+")


def parse(data: bytes, name: str) -> SourceText:
    """Reads a page; without a heading that is the title (see `titled`), ``<title>`` is, else the file's name.

    Args:
        data: the file's bytes.
        name: the file's name.

    Raises:
        DocumentError: an unknown encoding, or no text.
    """
    charset = _CHARSET.search(data[:4096])
    text = decode(data, name, charset[1].decode("ascii") if charset else "")
    root = _root(text)
    return titled(_page_title(root) or Path(name).stem, _pieces(root))


def pieces(text: str) -> Iterator[Piece]:
    """The pieces of HTML that stands in something else, such as a mail."""
    return _pieces(_root(text))


def _root(text: str) -> _Element:
    from lxml import etree

    if any(len(tag[0].split()) > _MAX_ATTRIBUTES for tag in _LONG_TAG.finditer(text)):
        raise UnreadableFileError(
            "HTML의 태그 하나가 너무 길어서 읽지 않았어요.", "웹 페이지를 다시 저장하거나 글만 올려 주세요."
        )
    parser = etree.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True, no_network=True)
    root = etree.fromstring(b"<html>" + text.encode("utf-8", "replace") + b"</html>", parser)
    return etree.Element("html") if root is None else root


def _page_title(root: _Element) -> str:
    return " ".join(root.findtext(".//title", "").split())


def _pieces(root: _Element) -> Iterator[Piece]:
    """Walks the tree without recursion: pages nest as deeply as they like."""
    from lxml import etree

    flow = _Flow()
    walk = etree.iterwalk(root, events=("start", "end"))
    for event, node in walk:
        if node.tag in _BLOCKS:
            yield from flow.flushed()
        if event == "end":
            flow.leave(node)
        elif node.tag == "table" and node.find(".//table") is None:
            caption = node.find("caption")
            yield Piece("paragraph", "" if caption is None else _text(caption))
            yield from tables.pieces(_grid(node))
            walk.skip_subtree()
        elif _is_hidden(node):
            walk.skip_subtree()
        else:
            flow.enter(node)
    yield from flow.flushed()


class _Flow:
    """Running text, and the headings and list items around it."""

    def __init__(self) -> None:
        self._context: list[_Element] = []
        self._marker = ""
        self._words: list[str] = []
        self._numbers: dict[_Element, int] = {}

    def enter(self, node: _Element) -> None:
        if node.tag in _HEADINGS or node.tag == "li":
            self._context.append(node)
            self._marker = self._number(node)
        self._words.append("\n" if node.tag == "br" else _spaced(node.text, node))

    def leave(self, node: _Element) -> None:
        if self._context and self._context[-1] is node:
            self._context.pop()
        tail = _spaced(node.tail, node.getparent())
        self._words.append(tail.lstrip(" ") if node.tag == "br" else tail)

    def flushed(self) -> Iterator[Piece]:
        text = "".join(self._words).strip()
        self._words.clear()
        if not text:
            return
        tag = self._context[-1].tag if self._context else ""
        if tag in _HEADINGS:
            yield Piece("heading", text.replace("\n", " "), _HEADINGS[tag])
        elif tag == "li":
            yield Piece("list", self._marker + text.replace("\n", " "))
        else:
            yield from (Piece("paragraph", part) for part in text.split("\n\n"))
        self._marker = ""

    def _number(self, node: _Element) -> str:
        """The number of an item of an ordered list: it says which step it is."""
        parent = node.getparent()
        if node.tag != "li" or parent is None or parent.tag != "ol":
            return ""
        self._numbers[parent] = self._numbers.get(parent, 0) + 1
        return f"{self._numbers[parent]}. "


def _is_hidden(node: _Element) -> bool:
    return node.tag in _SKIPPED or "hidden" in node.attrib


def _spaced(text: str | None, parent: _Element | None) -> str:
    """Text with white space as browsers show it: one space, except in ``<pre>``."""
    keep = parent is not None and parent.tag == "pre"
    return (text or "") if keep else _WHITE_SPACE.sub(" ", text or "")


def _grid(table: _Element) -> list[list[str]]:
    cells: list[tables.Cell] = []
    # How many more rows each column is taken by a cell from above.
    taken: dict[int, int] = {}
    rows = list(table.iter("tr"))
    for number, row in enumerate(rows):
        column = 0
        for cell in row.iter("td", "th"):
            while taken.get(column, 0) > number:
                column += 1
            height = min(_span(cell, "rowspan"), len(rows) - number)
            width = _span(cell, "colspan")
            tables.require_size(column + width, len(cells))
            cells.append(tables.Cell(number, column, _text(cell), height))
            taken.update((place, number + height) for place in range(column, column + width))
            column += width
    return tables.unmerged(cells)


def _span(cell: _Element, attribute: str) -> int:
    value = cell.get(attribute, "").strip()
    return max(1, int(value)) if value.isascii() and value.isdigit() and len(value) < 6 else 1


def _text(element: _Element) -> str:
    from lxml import etree

    parts = []
    walk = etree.iterwalk(element, events=("start", "end"))
    for event, node in walk:
        parts.append("\n" if node.tag in _BLOCKS or node.tag == "br" else "")
        if event == "end":
            parts.append(_spaced(node.tail if node is not element else "", node.getparent()))
        elif _is_hidden(node):
            walk.skip_subtree()
        else:
            parts.append(_spaced(node.text, node))
    return "".join(parts).strip()
