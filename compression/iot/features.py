"""Tables of traffic records → feature matrices: columns by name, categories as indicators, robust scaling.

What a table must look like is learnt once, with the device (`Schema`); later tables have to fit it. Numbers that are
missing, NaN or infinite are never guessed: they are an error, or rows left out when that is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from compression.iot.errors import TrafficError
from compression.iot.tables import Columns

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

CLIP = 10.0
"""Standardised values end here, in interquartile ranges, so that one wild number cannot drown the others."""
_MOST_CATEGORIES = 100
_ENOUGH = 200_000  # records for the quartiles
_NAMED = 5  # names that a message lists before it says how many more there are


@dataclass(frozen=True)
class ColumnChoice:
    """How a person's table is to be read.

    Attributes:
        rename: a table's column → the name it gets, for exporters that call things differently.
        time: the column with the time of a record, kept apart from the features; empty for none.
        categories: columns whose values are names, such as a protocol, even if they look like numbers.
        ignore: columns that are no feature, such as a label.
    """

    rename: Mapping[str, str] = field(default_factory=dict)
    time: str = ""
    categories: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()


@dataclass(frozen=True)
class Schema:
    """Which columns the records of a device have.

    Attributes:
        numbers: columns with numbers.
        categories: columns with names → the values seen in training; any other value sets no indicator.
        time: the column with the time of a record; empty for none.
    """

    numbers: tuple[str, ...]
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    time: str = ""

    @property
    def columns(self) -> list[str]:
        """The columns that a table must have."""
        return [*self.numbers, *self.categories, *([self.time] if self.time else [])]

    @property
    def features(self) -> list[str]:
        """Names of the features, in the order of the matrix: numbers, then ``column=value``."""
        return [
            *self.numbers,
            *(f"{name}={value}" for name, values in self.categories.items() for value in values),
        ]


@dataclass(frozen=True)
class Records:
    """Traffic records as numbers.

    Attributes:
        values: float32 [records, features], finite.
        features: a name a feature.
        times: float64 [records], seconds or whatever the time column counts; record numbers from 0 without one.
        notes: Korean sentences on what was left out or looked odd.
    """

    values: Floats
    features: tuple[str, ...]
    times: Doubles
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scaler:
    """Per-feature standardisation: (value − median) / interquartile range, clipped to ±`CLIP`.

    Attributes:
        center: float64 [features].
        scale: float64 [features], positive.
    """

    center: Doubles
    scale: Doubles

    @classmethod
    def fit(cls, values: Floats) -> Scaler:
        """From normal records, float32 [records, features].

        A feature whose middle half is one value is scaled by its standard deviation, and a constant one by 1.
        """
        # A long recording's quartiles do not need every record, and float64 copies of all would not fit.
        exact = values[:: len(values) // _ENOUGH + 1].astype(np.float64)
        low, center, high = np.quantile(exact, (0.25, 0.5, 0.75), axis=0)
        spread = exact.std(axis=0)
        scale = np.where(high > low, high - low, np.where(spread > 1e-9, spread, 1.0))
        return cls(center, scale)

    def __call__(self, values: Floats) -> Floats:
        """float32 [records, features] → the same shape, standardised."""
        return np.clip((values - self.center) / self.scale, -CLIP, CLIP).astype(np.float32)


def renamed(columns: Columns, choice: ColumnChoice) -> Columns:
    """The table under the names that the choice gives its columns.

    Raises:
        TrafficError: a column to rename is missing, or two columns get one name.
    """
    require_columns(columns, choice.rename)
    names = [choice.rename.get(name, name) for name in columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TrafficError(
            f"이름이 같은 열이 둘 이상이에요: {_listed(twice)}", "열 이름을 서로 다르게 고쳐 주세요."
        )
    return dict(zip(names, columns.values(), strict=True))


def learn_schema(tables: Sequence[Columns], choice: ColumnChoice) -> Schema:
    """Decide what the columns of normal traffic are.

    Args:
        tables: of one device, already renamed; columns that the first does not have are no features.
        choice: what the person said about them.

    Raises:
        TrafficError: a chosen column is missing, a column holds words without being a category, a category has
            too many values, or no column is left.
    """
    for table in tables:
        require_columns(table, [*choice.categories, *choice.ignore, *([choice.time] if choice.time else [])])
    left = [name for name in tables[0] if name not in choice.ignore and name != choice.time]
    numbers = tuple(name for name in left if name not in choice.categories)
    for table in tables:
        require_columns(table, left)
    words = [name for name in numbers if any(_mostly_words(table[name]) for table in tables)]
    if words:
        raise TrafficError(
            f"숫자가 아닌 열이 있어요: {_listed(words)}",
            "이름을 나타내는 열이면 --category로, 쓰지 않을 열이면 --ignore로 알려 주세요.",
        )
    if not left:
        raise TrafficError("배울 열이 하나도 없어요.", "숫자로 된 열이 있는 표를 주세요.")
    categories = {name: _values(name, [table[name] for table in tables]) for name in choice.categories}
    return Schema(numbers, categories, choice.time)


def encode(columns: Columns, schema: Schema, skip_bad: bool = False) -> Records:
    """The table's rows as features.

    Args:
        columns: a table, already renamed.
        schema: what the device's records look like.
        skip_bad: leave rows with missing, NaN, infinite or non-numeric cells out instead of raising.

    Raises:
        TrafficError: a column is missing, a cell is no finite number, or no row is left.
    """
    needed = schema.columns
    require_columns(columns, needed)
    rows = len(next(iter(columns.values()), ()))
    numeric = {name: _numbers(columns[name]) for name in needed if name not in schema.categories}
    good = _good_rows(numeric, rows, skip_bad)
    indicators = [
        np.array([str(cell) == value for cell in columns[name]], np.float64)
        for name, values in schema.categories.items()
        for value in values
    ]
    parts = [*(numeric[name] for name in schema.numbers), *indicators]
    values = np.stack(parts, axis=1)[good].astype(np.float32)
    times = numeric[schema.time] if schema.time else np.arange(rows, dtype=np.float64)
    return Records(values, tuple(schema.features), times[good], _notes(columns, needed, rows - len(values)))


def require_columns(columns: Iterable[str], names: Iterable[str]) -> None:
    """Look whether a table has the columns.

    Raises:
        TrafficError: one is missing.
    """
    columns = list(columns)
    missing = [name for name in names if name not in columns]
    if missing:
        raise TrafficError(
            f"필요한 열이 없어요: {_listed(missing)}",
            f"표에 있는 열은 {_listed(columns)}이에요. 이름만 다르면 --map 표의열=이름으로 알려 주세요.",
        )


def constant_features(records: Sequence[Records]) -> list[str]:
    """Features with one value only; a device that later shows another is conspicuous.

    Args:
        records: of one schema.

    Raises:
        TrafficError: all features are constant, so there is nothing to learn.
    """
    lowest = np.min([item.values.min(axis=0) for item in records], axis=0)
    highest = np.max([item.values.max(axis=0) for item in records], axis=0)
    if (lowest == highest).all():
        raise TrafficError(
            "모든 열의 값이 하나뿐이라 배울 것이 없어요.", "기기가 평소처럼 움직인 기록을 더 모아 주세요."
        )
    return [name for name, same in zip(records[0].features, lowest == highest, strict=True) if same]


def _numbers(cells: Sequence[str] | Doubles) -> Doubles:
    """float64 with NaN for whatever is no number."""
    if isinstance(cells, np.ndarray):
        return cells
    try:
        return np.array(cells, dtype=np.float64)
    except ValueError:
        return np.array([_number(cell) for cell in cells], dtype=np.float64)


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan


def _mostly_words(cells: Sequence[str] | Doubles) -> bool:
    """Whether more than half of the filled cells are no numbers; single ones are mistakes, named row by row."""
    filled = cells if isinstance(cells, np.ndarray) else [cell for cell in cells if cell.strip()]
    spelled = ("nan", "inf", "-inf", "+inf", "infinity", "-infinity")
    words = [cell for cell in filled if isinstance(cell, str) and cell.strip().lower() not in spelled]
    return bool(np.isnan(_numbers(words)).sum() * 2 > len(filled)) if words else False


def _values(name: str, columns: Sequence[Sequence[str] | Doubles]) -> tuple[str, ...]:
    values = sorted({str(cell) for cells in columns for cell in cells})
    if len(values) > _MOST_CATEGORIES:
        raise TrafficError(
            f"'{name}' 열의 값이 {len(values):,}가지라서 분류로 쓸 수 없어요.",
            f"{_MOST_CATEGORIES}가지 이하인 열만 --category로 알려 주세요. 쓰지 않을 열이면 --ignore로 빼 주세요.",
        )
    return tuple(values)


def _good_rows(numeric: Mapping[str, Doubles], rows: int, skip_bad: bool) -> NDArray[np.bool_]:
    # A number beyond float32 would become infinite later on.
    limit = float(np.finfo(np.float32).max)
    finite = {name: np.abs(values) <= limit for name, values in numeric.items()}
    good: NDArray[np.bool_] = np.logical_and.reduce([np.ones(rows, bool), *finite.values()])
    bad = [name for name, fine in finite.items() if not fine.all()]
    if bad and not skip_bad:
        first = int(np.argmin(finite[bad[0]])) + 1
        raise TrafficError(
            f"숫자가 비었거나 NaN·무한대인 칸이 있어요: {_listed(bad)} (처음은 {first}번째 기록의 '{bad[0]}', "
            f"모두 {int((~good).sum()):,}줄)",
            "그 줄을 고치거나, --skip-bad로 빼고 진행해 주세요.",
        )
    if not good.any():
        raise TrafficError("쓸 수 있는 기록이 한 줄도 없어요.", "파일에 기록이 들어 있는지 확인해 주세요.")
    return good


def _notes(columns: Columns, used: Sequence[str], skipped: int) -> tuple[str, ...]:
    extra = [name for name in columns if name not in used]
    notes = [f"쓰지 않은 열: {_listed(extra)}"] if extra else []
    return (*notes, *([f"숫자가 온전하지 않은 {skipped:,}줄은 뺐어요."] if skipped else []))


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(name[:60] for name in names[:_NAMED])
    return f"{shown} 외 {len(names) - _NAMED}개" if len(names) > _NAMED else shown
