"""CSV and TSV: rows of a table, the separator guessed from the first lines."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import islice

from retrieval.errors import UnreadableFileError
from retrieval.readers import tables
from retrieval.readers.source import SourceText, assemble

_SEPARATORS = ",\t;|"


def parse(text: str, stem: str) -> SourceText:
    """Reads comma-, tab-, semicolon- or bar-separated values.

    Args:
        text: decoded text.
        stem: the file's name without extension, the title.

    Raises:
        DocumentTooLargeError: too many columns or cells.
        UnreadableFileError: a field that never ends, as in other files that are called ``.csv``.
    """
    return assemble(stem, tables.pieces(_rows(text)))


def _rows(text: str) -> Iterator[list[str]]:
    lines = text.split("\n")
    cells = 0
    reader = csv.reader((line + "\n" for line in lines), delimiter=_separator(lines))
    try:
        for row in reader:
            cells += len(row)
            tables.require_size(len(row), cells)
            yield row
    except csv.Error as error:
        raise UnreadableFileError(
            "CSV의 칸을 나눌 수 없어요. 닫히지 않은 따옴표가 있을 수 있어요.",
            "표를 CSV로 다시 저장한 뒤 올려 주세요.",
        ) from error


def _separator(lines: list[str]) -> str:
    """The one that most of the first lines have, most often; the comma when none does."""
    sample = list(islice(filter(None, lines), 20))
    return max(
        _SEPARATORS,
        key=lambda sign: (sum(sign in line for line in sample), sum(line.count(sign) for line in sample)),
    )
