"""Hangul documents (.hwpx, OWPML: KS X 6101): paragraphs, tables and outline headings of every section."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZipFile

from retrieval.readers import archive, plain, tables
from retrieval.readers.source import Piece, SourceText

if TYPE_CHECKING:
    from lxml.etree import _Element

_SECTION = re.compile(r"Contents/section(\d+)\.xml")
_SIGNS = {"lineBreak": "\n", "tab": " ", "nbSpace": " ", "fwSpace": " ", "hyphen": "-"}
# Repeated on every page, or never shown.
_SKIPPED = {"header", "footer", "hiddenComment", "parameters", "equation"}


def parse(data: bytes, name: str) -> SourceText:
    """Reads the body of a document with its text boxes and notes; headers and footers are left out.

    Args:
        data: the file's bytes.
        name: the file's name.

    Raises:
        DocumentError: password-protected, damaged, too large, or no HWPX document.
    """
    with archive.checked(data, name, "Contents/header.xml") as file:
        if _is_encrypted(file):
            raise archive.password_protected(name)
        levels = _outline_levels(archive.root(file, "Contents/header.xml"))
        roots = (archive.root(file, member) for member in _sections(file))
        found = [piece for root in roots for piece in _pieces(root, levels)]
    return plain.structured(Path(name).stem, found)


def _is_encrypted(file: ZipFile) -> bool:
    manifest = "META-INF/manifest.xml"
    return manifest in file.namelist() and b"encryption-data" in file.read(manifest)


def _sections(file: ZipFile) -> list[str]:
    matches = filter(None, map(_SECTION.fullmatch, file.namelist()))
    return [match[0] for match in sorted(matches, key=lambda match: int(match[1]))]


def _outline_levels(header: _Element) -> dict[str, int]:
    """Levels of the paragraph shapes (``paraPr``) that are headings of an outline, from 1."""
    levels = {}
    for shape in header.iter("{*}paraPr"):
        heading = shape.find(".//{*}heading[@type='OUTLINE']")
        if heading is not None and heading.get("level", "").isdecimal():
            levels[shape.get("id", "")] = int(heading.get("level", "")) + 1
    return levels


def _pieces(parent: _Element, levels: dict[str, int]) -> Iterator[Piece]:
    """The paragraphs under an element, each followed by the tables and boxes that are anchored in it."""
    for paragraph in _nearest(parent, {"p"}):
        text = _text(paragraph)
        level = levels.get(paragraph.get("paraPrIDRef", ""))
        if level is not None and text:
            yield Piece("heading", " ".join(text.split()), level)
        else:
            yield Piece("paragraph", text)
        for anchored in _nearest(paragraph, {"tbl", "subList"}):
            if _tag(anchored) == "tbl":
                for caption in anchored.iterfind("{*}caption"):
                    yield from _pieces(caption, {})
                yield from tables.pieces(_grid(anchored))
            else:
                yield from _pieces(anchored, {})


def _grid(table: _Element) -> list[list[str]]:
    return tables.unmerged(
        tables.Cell(
            _number(cell, "cellAddr", "rowAddr"),
            _number(cell, "cellAddr", "colAddr"),
            "\n".join(filter(None, map(_text, cell.iter("{*}p")))),
            max(1, _number(cell, "cellSpan", "rowSpan")),
            max(1, _number(cell, "cellSpan", "colSpan")),
        )
        for cell in _nearest(table, {"tc"})
    )


def _number(cell: _Element, child: str, attribute: str) -> int:
    found = cell.find(f"{{*}}{child}")
    return int(found.get(attribute, 0)) if found is not None else 0


def _nearest(parent: _Element, tags: set[str]) -> Iterator[_Element]:
    """Descendants with one of the names that are inside no other of them, nor inside what is skipped."""
    for child in parent:
        if _tag(child) in tags:
            yield child
        elif _tag(child) not in _SKIPPED:
            yield from _nearest(child, tags)


def _text(paragraph: _Element) -> str:
    parts = []
    for written in _nearest(paragraph, {"t", "tbl", "subList"}):
        if _tag(written) == "t":
            parts.append(written.text or "")
            parts += [_SIGNS.get(_tag(sign), "") + (sign.tail or "") for sign in written]
    return "".join(parts).strip()


def _tag(element: _Element) -> str:
    """The name without its namespace; comments have none."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""
