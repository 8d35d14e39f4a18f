"""From placed pieces of text to a document: rows, tables, headings by size, running heads left out.

Fragments come in the order in which the file draws them, which is reading order in what word processors
write, columns included. Only neighbours in that order are ever put together, so that columns never mix.
Lengths are in points, y upwards; widths are estimated from the characters.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median

from retrieval.readers import plain, tables
from retrieval.readers.source import Piece, SourceText, titled

# A larger size than the body's by so much makes a line a heading, and such a gap makes a paragraph.
_HEADING_SCALE = 1.15
_PARAGRAPH_GAP = 1.35
_LONGEST_HEADING = 60
# In ems; a line of a narrow column. What is shorter was not broken at the margin.
_SHORTEST_FULL_LINE = 15
_PAGE_NUMBER = re.compile(
    r"[-–—\s]*\d{1,4}[-–—\s]*|\d{1,4}\s?/\s?\d{1,4}|(?:page\s)?\d{1,4}\s?(?:쪽|페이지)?"
)


@dataclass(frozen=True)
class Fragment:
    """Text that was drawn at once: its left end on the baseline, and the size of its font."""

    text: str
    x: float
    y: float
    size: float

    @property
    def end(self) -> float:
        """Its right end: a full em for a wide character, half for others."""
        return self.x + self.size * _ems(self.text)


@dataclass
class _Row:
    """Cells from left to right, each the fragments of its lines."""

    cells: list[list[Fragment]]

    @property
    def size(self) -> float:
        return self.cells[0][0].size

    @property
    def top(self) -> float:
        return max(fragment.y for cell in self.cells for fragment in cell)

    @property
    def bottom(self) -> float:
        return min(fragment.y for cell in self.cells for fragment in cell)

    @property
    def end(self) -> float:
        return max(fragment.end for cell in self.cells for fragment in cell)

    @property
    def texts(self) -> list[str]:
        return [" ".join(fragment.text for fragment in cell) for cell in self.cells]

    @property
    def text(self) -> str:
        return " ".join(self.texts)


def document(stem: str, pages: Sequence[Sequence[Fragment]]) -> SourceText:
    """Puts the pages' fragments together.

    Args:
        stem: the title where no heading is larger than all others.
        pages: the fragments of each page in drawing order.
    """
    rows = _without_running_heads([_rows(page) for page in pages])
    sizes = _heading_sizes(rows)
    found = (piece for number, page in enumerate(rows, 1) for piece in _page(page, sizes, number))
    return titled(stem, found)


def _ems(text: str) -> float:
    return sum(1.0 if unicodedata.east_asian_width(character) in "WF" else 0.5 for character in text)


def _rows(fragments: Sequence[Fragment]) -> list[_Row]:
    rows: list[_Row] = []
    for fragment in fragments:
        if not rows or not _joins(rows, fragment):
            rows.append(_Row([[fragment]]))
    return rows


def _joins(rows: list[_Row], new: Fragment) -> bool:
    """Adds a fragment to the last row when it goes on with its line, with its last cell, or beside it."""
    row, last = rows[-1], rows[-1].cells[-1][-1]
    if abs(new.y - last.y) < 0.4 * new.size and new.x > last.x:
        # Estimated widths of Latin text are off by a tenth or so.
        slack = 0.8 * new.size + 0.1 * (last.end - last.x)
        if new.x < last.end + slack:
            glue = " " if new.x > last.end + 0.15 * new.size else ""
            row.cells[-1][-1] = replace(last, text=last.text + glue + new.text)
        else:
            row.cells.append([new])
        return True
    if len(row.cells) > 1 and 0 < last.y - new.y < 2 * new.size and new.x > row.cells[-2][0].end:
        row.cells[-1].append(new)
        return True
    floor = rows[-2].bottom - 0.5 * new.size if len(rows) > 1 else row.top + 3 * new.size
    if new.x > row.end and last.y < new.y < floor:
        row.cells.append([new])
        return True
    return False


def _without_running_heads(pages: list[list[_Row]]) -> list[list[_Row]]:
    """Leaves out page numbers, and first and last lines that most pages share but for the number in them."""
    edges = [{id(row): row for row in (*page[:2], *page[-2:])} for page in pages]
    shapes = Counter(shape for edge in edges for shape in {_shape(row) for row in edge.values()})
    often = max(3, len(pages) // 2 + 1)
    return [
        [
            row
            for row in page
            if id(row) not in edge
            or not (shapes[_shape(row)] >= often or (row in (page[0], page[-1]) and _is_page_number(row)))
        ]
        for page, edge in zip(pages, edges, strict=True)
    ]


def _shape(row: _Row) -> str:
    return re.sub(r"\d+", "#", row.text)


def _is_page_number(row: _Row) -> bool:
    return _PAGE_NUMBER.fullmatch(row.text) is not None


def _heading_sizes(pages: list[list[_Row]]) -> list[float]:
    """Font sizes of headings from the largest; the size with the most characters is the body's."""
    characters = Counter[float]()
    for page in pages:
        for row in page:
            characters[round(row.size)] += len(row.text)
    body = max(characters, key=lambda size: characters[size], default=0.0)
    return sorted((size for size in characters if size >= _HEADING_SCALE * body), reverse=True)


def _page(rows: list[_Row], sizes: list[float], page: int) -> Iterator[Piece]:
    index = 0
    while index < len(rows):
        end = index + 1
        if _is_heading(rows[index], sizes):
            while end < len(rows) and _continues_heading(rows[end - 1], rows[end], sizes):
                end += 1
            text = " ".join(row.text for row in rows[index:end])
            yield Piece("heading", text, sizes.index(round(rows[index].size)) + 1, page)
        elif _is_table(rows[index : index + 2]):
            while end < len(rows) and len(rows[end].cells) > 1:
                end += 1
            yield from tables.pieces(_grid(rows[index:end]), page)
        else:
            while end < len(rows) and not (_is_heading(rows[end], sizes) or _is_table(rows[end : end + 2])):
                end += 1
            for piece in plain.pieces(
                _running(rows[index:end]), page, followed=_is_table(rows[end : end + 2])
            ):
                yield replace(piece, level=piece.level + len(sizes)) if piece.level else piece
        index = end


def _is_heading(row: _Row, sizes: list[float]) -> bool:
    return round(row.size) in sizes and len(row.text) <= _LONGEST_HEADING and len(row.cells) == 1


def _continues_heading(above: _Row, row: _Row, sizes: list[float]) -> bool:
    same = round(above.size) == round(row.size) and _is_heading(row, sizes)
    return same and 0 < above.bottom - row.top < 2 * row.size


def _is_table(rows: list[_Row]) -> bool:
    return len(rows) == 2 and all(len(row.cells) > 1 for row in rows)


def _grid(rows: list[_Row]) -> Iterator[list[str]]:
    """Cells under the columns of the widest row that they overlap or are nearest to."""
    widest = max(rows, key=lambda row: len(row.cells))
    columns = [(cell[0].x, max(fragment.end for fragment in cell)) for cell in widest.cells]
    for row in rows:
        line = [""] * len(columns)
        for cell, text in zip(row.cells, row.texts, strict=True):
            start, end = cell[0].x, max(fragment.end for fragment in cell)
            gaps = [max(left - end, start - right, 0.0) for left, right in columns]
            column = gaps.index(min(gaps))
            line[column] = f"{line[column]} {text}".strip()
        yield line


def _running(rows: list[_Row]) -> str:
    """Lines joined where they reach the margin, with an empty line where there is a larger gap."""
    gaps = [above.bottom - row.top for above, row in pairwise(rows) if above.bottom > row.top]
    usual = median(gaps) if gaps else 0.0
    margin = max(row.end for row in rows)
    text = rows[0].text
    for above, row in pairwise(rows):
        gap = above.bottom - row.top
        full = above.end > max(
            margin - 4 * above.size, above.cells[0][0].x + _SHORTEST_FULL_LINE * above.size
        )
        if gap > _PARAGRAPH_GAP * usual:
            text += "\n\n"
        else:
            text += " " if full and not plain.opens_block(row.text) else "\n"
        text += row.text
    return text
