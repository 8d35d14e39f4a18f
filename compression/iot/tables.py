"""Reads CSV and Parquet files of traffic records into columns, within limits of size."""

from __future__ import annotations

import csv
import gzip
import lzma
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from compression.iot.errors import TrafficError

Columns = dict[str, list[str] | NDArray[np.float64]]
"""A column's name → its cells: words, or numbers (float64) where the file says that they are."""

_MOST_COLUMNS = 1_000
_MOST_CELLS = 30_000_000
_LONGEST_LINE = 1_000_000
_OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".xz": lzma.open}


def read_table(path: Path) -> Columns:
    """The columns of a CSV file (also ``.csv.gz`` and ``.csv.xz``) or a Parquet file.

    Args:
        path: a table whose first row names the columns.

    Raises:
        TrafficError: no such file, not a table, or too large.
    """
    if not path.is_file():
        raise TrafficError(f"파일이 없어요: {path.name}", "경로를 확인해 주세요.")
    if path.suffix.lower() == ".parquet":
        return _read_parquet(path)
    try:
        with open_text(path) as file:
            return _read_csv(path.name, file)
    except (OSError, EOFError, UnicodeError, lzma.LZMAError, csv.Error) as error:
        raise TrafficError(
            f"{path.name}을(를) 표로 읽지 못했어요.", "CSV 파일이 맞는지 확인해 주세요."
        ) from error


def open_text(path: Path) -> TextIO:
    """The file's text, unpacked if need be: UTF-8, or UTF-16 or CP949 as spreadsheets in Korea write them."""
    opener: Callable[..., Any] = _OPENERS.get(path.suffix.lower(), open)
    with opener(path, "rb") as file:
        start = file.read(65536)
    encoding = "utf-16" if start.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        # The last bytes may be the first half of a character.
        start[:-4].decode(encoding)
    except UnicodeDecodeError:
        encoding = "cp949"
    text: TextIO = opener(path, "rt", encoding=encoding, newline="")
    return text


def header(file: str, names: list[str]) -> list[str]:
    """The column names of a table's first row, stripped.

    Raises:
        TrafficError: there are none, too many, empty ones, or numbers in their place.
    """
    names = [name.strip() for name in names]
    if not names:
        raise TrafficError(f"{file}이(가) 비어 있어요.", "기록이 들어 있는 파일을 주세요.")
    if len(names) > _MOST_COLUMNS:
        raise TrafficError(f"{file}의 열이 {_MOST_COLUMNS:,}개를 넘어요.", "필요한 열만 남겨 주세요.")
    if any(not name or name.replace(".", "", 1).lstrip("-").isdigit() for name in names):
        raise TrafficError(f"{file}의 첫 줄에 열 이름이 없어요.", "첫 줄에 열 이름을 넣어 주세요.")
    if len(set(names)) < len(names):
        raise TrafficError(f"{file}에 이름이 같은 열이 있어요.", "열 이름을 서로 다르게 고쳐 주세요.")
    return names


def lines(file: TextIO) -> Iterator[str]:
    """The lines of a text, none of which may be endless.

    Raises:
        TrafficError: a line is too long to be a record.
    """
    while line := file.readline(_LONGEST_LINE):
        if len(line) == _LONGEST_LINE:
            raise TrafficError("한 줄이 너무 길어요.", "CSV 파일이 맞는지 확인해 주세요.")
        yield line


def _read_csv(name: str, file: TextIO) -> Columns:
    rows = csv.reader(lines(file), strict=True)
    names = header(name, next(rows, []))
    columns: list[list[str]] = [[] for _ in names]
    for number, row in enumerate(filter(None, rows), 1):
        if len(row) != len(names):
            raise TrafficError(
                f"{name}의 {number:,}번째 기록은 칸이 {len(row)}개예요. 열 이름은 {len(names)}개예요.",
                "그 줄의 칸 수를 맞춰 주세요.",
            )
        _require_size(name, number * len(names))
        for column, cell in zip(columns, row, strict=True):
            column.append(cell)
    if not columns[0]:
        raise TrafficError(f"{name}에 기록이 없어요.", "기록이 들어 있는 파일을 주세요.")
    return dict(zip(names, columns, strict=True))


def _read_parquet(path: Path) -> Columns:
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise TrafficError(
            "Parquet 파일을 읽는 꾸러미 pyarrow가 없어요.",
            "pip install 'damso[parquet]'으로 설치하거나 CSV로 저장해 주세요.",
        ) from error
    try:
        with parquet.ParquetFile(path) as file:
            _require_size(path.name, file.metadata.num_rows * file.metadata.num_columns)
            names = header(path.name, list(file.schema_arrow.names))
            table = file.read()
    except (pyarrow.ArrowException, OSError) as error:
        raise TrafficError(
            f"{path.name}을(를) Parquet으로 읽지 못했어요.", "파일을 다시 받아 주세요."
        ) from error
    if not table.num_rows:
        raise TrafficError(f"{path.name}에 기록이 없어요.", "기록이 들어 있는 파일을 주세요.")
    return {name: _cells(table.column(number)) for number, name in enumerate(names)}


def _cells(column: Any) -> list[str] | NDArray[np.float64]:
    """Numbers and truth values as float64 with NaN for null; anything else as words, empty for null."""
    cells = column.to_pylist()
    if all(cell is None or isinstance(cell, bool | int | float) for cell in cells):
        return np.array([np.nan if cell is None else cell for cell in cells], np.float64)
    return ["" if cell is None else str(cell) for cell in cells]


def _require_size(name: str, cells: int) -> None:
    if cells > _MOST_CELLS:
        raise TrafficError(
            f"{name}이(가) 너무 커요(칸 {_MOST_CELLS:,}개까지).", "기간을 나누어 여러 파일로 저장해 주세요."
        )
