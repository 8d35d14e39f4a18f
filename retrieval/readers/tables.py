"""Tables as text in which every row stands alone: ``header: cell, header: cell``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, zip_longest

from retrieval.errors import DocumentTooLargeError
from retrieval.readers import plain
from retrieval.readers.source import Piece

MAX_COLUMNS = 1000

# So many rows make a block; `assemble` checks the size of the text after each.
_ROWS_PER_BLOCK = 200
_LONGEST_HEADER = 80
# A first row with such a cell states facts; it does not name columns.
_VALUE = re.compile(r"\d|[.?!]$|.{20}")


@dataclass(frozen=True)
class Cell:
    """A cell of a table with merged cells; ``row`` and ``column`` count from 0."""

    row: int
    column: int
    text: str
    rows: int = 1
    columns: int = 1


def named_rows(header: Sequence[str], body: Iterable[Sequence[str]]) -> Iterator[str]:
    """``header: cell, header: cell`` for each row of the body; the header alone without one."""
    names = [name[:_LONGEST_HEADER] for name in header]
    row: Sequence[str] | None = None
    for row in body:
        named = zip_longest(names, row, fillvalue="")
        yield ", ".join(f"{name}: {cell}" if name else cell for name, cell in named if cell)
    if row is None:
        yield ", ".join(filter(None, header))


def unmerged(cells: Iterable[Cell]) -> list[list[str]]:
    """Lays cells out in rows; a cell merged over rows is repeated in each, so that each row is complete.

    Raises:
        DocumentTooLargeError: the cells claim more than `MAX_COLUMNS` columns or a million places.
    """
    placed: dict[tuple[int, int], str] = {}
    for cell in cells:
        require_size(cell.column + cell.columns)
        for row in range(cell.row, cell.row + cell.rows):
            placed[row, cell.column] = cell.text
            require_size(1, len(placed))
    columns = 1 + max((column for _, column in placed), default=-1)
    rows = sorted({row for row, _ in placed})
    require_size(columns, columns * len(rows))
    return [[placed.get((row, column), "") for column in range(columns)] for row in rows]


def require_size(columns: int, cells: int = 0) -> None:
    """Refuses a table that is wider than `MAX_COLUMNS` or has over two million cells.

    Raises:
        DocumentTooLargeError: it is.
    """
    if columns > MAX_COLUMNS or cells > 2_000_000:
        raise DocumentTooLargeError(
            f"표가 너무 커요. 한 표는 {MAX_COLUMNS:,}열, 200만 칸까지 받을 수 있어요.",
            "필요한 열과 행만 남기거나 나누어 올려 주세요.",
        )


def pieces(grid: Iterable[Sequence[str]], page: int | None = None) -> Iterator[Piece]:
    """The pieces of a table: captions above its header, then its rows.

    Empty rows separate tables where what follows looks like a caption or a header. Two columns whose first
    row states a fact have no header but names in the first column. One column alone is no table but a box
    around text.

    Args:
        grid: rows of cells; white space in them does not matter.
        page: as in `Block`.
    """
    rows = ([cell.strip() for cell in row] for row in grid)
    row = next(rows, None)
    while row is not None:
        if _filled(row) < 2:
            yield from plain.pieces("\n\n".join("".join(row).split("\n")), page)
            row = next(rows, None)
            continue
        body = _Body(rows)
        header = [" ".join(cell.split()) for cell in row]
        yield from _blocks(_lines(header, body), page)
        row = body.following


class _Body:
    """The rows of one table out of a longer stream; ``following`` is the first row after it."""

    def __init__(self, rows: Iterator[list[str]]) -> None:
        self.following: list[str] | None = None
        self._rows = rows

    def __iter__(self) -> Iterator[list[str]]:
        after_gap = False
        for row in self._rows:
            if not _filled(row):
                after_gap = True
            elif after_gap and (_filled(row) == 1 or not any(map(_VALUE.search, row))):
                self.following = row
                return
            else:
                after_gap = False
                yield [" ".join(cell.split()) for cell in row]


def _lines(header: list[str], body: Iterable[list[str]]) -> Iterator[str]:
    filled = [cell for cell in header if cell]
    if len(filled) == 2 and filled == header[:2] and _VALUE.search(header[1]):
        return (": ".join(filter(None, row)) for row in chain([header], body))
    return named_rows(header, body)


def _blocks(lines: Iterator[str], page: int | None) -> Iterator[Piece]:
    while block := list(islice(lines, _ROWS_PER_BLOCK)):
        yield Piece("table", "\n".join(block), page=page)


def _filled(row: Sequence[str]) -> int:
    return sum(map(bool, row))
