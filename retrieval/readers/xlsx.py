"""Excel workbooks (.xlsx): a visible sheet is a section; formulas count by their last result."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from datetime import date, datetime, time
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval.readers import archive, tables
from retrieval.readers.source import Piece, SourceText, assemble

if TYPE_CHECKING:
    from openpyxl.workbook import Workbook


def parse(data: bytes, name: str) -> SourceText:
    """Reads the cells of every visible sheet.

    Args:
        data: the file's bytes.
        name: the file's name.

    Raises:
        DocumentError: password-protected, damaged, too large, or no workbook.
    """
    archive.checked(data, name, "xl/workbook.xml").close()
    from openpyxl import load_workbook

    with warnings.catch_warnings():
        # About styles and extensions that do not matter to text.
        warnings.simplefilter("ignore")
        workbook = load_workbook(BytesIO(data), read_only=True, data_only=True)
        try:
            return assemble(Path(name).stem, list(_pieces(workbook)))
        finally:
            workbook.close()


def _pieces(workbook: Workbook) -> Iterator[Piece]:
    for sheet in workbook.worksheets:
        found = list(tables.pieces(_rows(sheet))) if sheet.sheet_state == "visible" else []
        if found:
            yield Piece("heading", sheet.title, 1)
            yield from found


def _rows(sheet: Any) -> Iterator[list[str]]:
    # The dimension that a sheet declares may be anything; without it rows are as long as their cells say.
    sheet.reset_dimensions()
    cells = 0
    for row in sheet.iter_rows(values_only=True):
        cells += len(row) + 1
        filled = max((number for number, value in enumerate(row, 1) if value is not None), default=0)
        tables.require_size(filled, cells)
        yield [_text(value) for value in row[:filled]]


def _text(value: object) -> str:
    """A value as people write it: dates without an empty time, whole numbers without a point."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d" if value.time() == time() else "%Y-%m-%d %H:%M")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, float):
        return f"{value:.15g}"
    return {True: "예", False: "아니요"}[value] if isinstance(value, bool) else str(value)
