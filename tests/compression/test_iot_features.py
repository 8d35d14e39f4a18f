from __future__ import annotations

import gzip
import lzma
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from compression.iot import tables
from compression.iot.errors import TrafficError
from compression.iot.features import (
    CLIP,
    ColumnChoice,
    Records,
    Scaler,
    Schema,
    constant_features,
    encode,
    learn_schema,
    renamed,
)
from compression.iot.tables import read_table

TEXT = "time,proto,bytes,dur,label\n0,tcp,10,0.5,ok\n5,udp,20,1.5,ok\n10,tcp,30,2.5,bad\n"
CHOICE = ColumnChoice(time="time", categories=("proto",), ignore=("label",))


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def test_a_table_becomes_numbers(tmp_path: Path) -> None:
    columns = read_table(write(tmp_path / "a.csv", TEXT))
    schema = learn_schema([columns], CHOICE)
    assert schema.features == ["bytes", "dur", "proto=tcp", "proto=udp"]
    records = encode(columns, schema)
    assert records.values.tolist() == [[10, 0.5, 1, 0], [20, 1.5, 0, 1], [30, 2.5, 1, 0]]
    assert records.times.tolist() == [0, 5, 10]
    assert records.notes == ("쓰지 않은 열: label",)
    unseen = encode({"bytes": ["1"], "dur": ["2"], "proto": ["icmp"], "time": ["0"]}, schema)
    assert unseen.values.tolist() == [[1, 2, 0, 0]]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949", "utf-16"])
def test_any_encoding_of_korean_spreadsheets(tmp_path: Path, encoding: str) -> None:
    columns = read_table(write(tmp_path / "표.csv", "바이트,길이\r\n1,2\r\n3,4\r\n", encoding))
    assert columns == {"바이트": ["1", "3"], "길이": ["2", "4"]}


def test_packed_tables(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(TEXT.encode()))
    (tmp_path / "a.csv.xz").write_bytes(lzma.compress(TEXT.encode()))
    assert read_table(tmp_path / "a.csv.gz") == read_table(tmp_path / "a.csv.xz")


def test_parquet_reads_like_csv(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = {
        "time": [0, 5, 10],
        "proto": ["tcp", None, "tcp"],
        "bytes": [10, None, 30],
        "up": [True, False, True],
    }
    parquet.write_table(pyarrow.table(table), tmp_path / "a.parquet")
    columns = read_table(tmp_path / "a.parquet")
    schema = Schema(("bytes", "up"), {"proto": ("tcp",)}, "time")
    with pytest.raises(TrafficError, match=r"NaN.*bytes.*2번째"):
        encode(columns, schema)
    assert encode(columns, schema, skip_bad=True).values.tolist() == [[10, 1, 1], [30, 1, 1]]
    write(tmp_path / "b.parquet", "PAR1 그러나 아니에요")
    with pytest.raises(TrafficError, match="Parquet"):
        read_table(tmp_path / "b.parquet")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "비어"),
        ("a,b\n", "기록이 없어요"),
        ("1,2\n3,4\n", "열 이름이 없어요"),
        ("a,\n3,4\n", "열 이름이 없어요"),
        ("a,a\n1,2\n", "이름이 같은 열"),
        ("a,b\n1,2\n1,2,3\n", r"2번째 기록은 칸이 3개"),
        ("a,b\n1\n", r"1번째 기록은 칸이 1개"),
        ('a,b\n"1,2\n', "표로 읽지 못했어요"),
        (",".join(f"c{n}" for n in range(1001)) + "\n", "열이 1,000개를 넘어요"),
        ("a" * 1_000_001, "너무 길어요"),
        ("a,b\n\0,1\n", "NaN"),
    ],
)
def test_a_file_that_is_no_table(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path / "a.csv", text)
    with pytest.raises(TrafficError, match=message):
        encode(read_table(path), Schema(("a", "b")))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(TrafficError, match="파일이 없어요"):
        read_table(tmp_path / "없음.csv")
    write(tmp_path / "a.csv.xz", TEXT)
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(TEXT.encode())[:-9])
    for name in ("a.csv.xz", "b.csv.gz"):
        with pytest.raises(TrafficError, match="표로 읽지 못했어요"):
            read_table(tmp_path / name)


def test_a_table_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_MOST_CELLS", 5)
    with pytest.raises(TrafficError, match="너무 커요"):
        read_table(write(tmp_path / "a.csv", TEXT))


@pytest.mark.parametrize("cell", ["", "nan", "inf", "-Infinity", "1e999", "열", "1e39"])
def test_a_cell_that_is_no_number_is_named_or_left_out(cell: str) -> None:
    columns: tables.Columns = {"a": ["1", cell, "3"], "b": ["1", "2", "3"]}
    schema = learn_schema([columns], ColumnChoice())
    with pytest.raises(TrafficError, match=r"처음은 2번째 기록의 'a', 모두 1줄"):
        encode(columns, schema)
    kept = encode(columns, schema, skip_bad=True)
    assert kept.values.tolist() == [[1, 1], [3, 3]] and kept.times.tolist() == [0, 2]
    assert "1줄은 뺐어요" in kept.notes[0]


def test_nothing_left_is_an_error() -> None:
    with pytest.raises(TrafficError, match="한 줄도 없어요"):
        encode({"a": ["nan", "inf"]}, Schema(("a",)), skip_bad=True)


def test_columns_that_do_not_fit() -> None:
    columns: tables.Columns = {"a": ["1", "2"], "b": ["x", "y"], "c": ["0", "0"]}
    with pytest.raises(TrafficError, match=r"숫자가 아닌 열이 있어요: b.*--category"):
        learn_schema([columns], ColumnChoice())
    with pytest.raises(TrafficError, match=r"필요한 열이 없어요: z.*a, b, c"):
        learn_schema([columns], ColumnChoice(ignore=("z",)))
    with pytest.raises(TrafficError, match="필요한 열이 없어요: c"):
        learn_schema([columns, {"a": ["1"], "b": ["x"]}], ColumnChoice(categories=("b",)))
    with pytest.raises(TrafficError, match="배울 열이 하나도"):
        learn_schema([columns], ColumnChoice(ignore=("a", "b", "c")))
    with pytest.raises(TrafficError, match="값이 101가지"):
        learn_schema([{"a": [str(n) for n in range(101)]}], ColumnChoice(categories=("a",)))
    with pytest.raises(TrafficError, match="필요한 열이 없어요: b"):
        encode({"a": ["1"]}, Schema(("a", "b")))


def test_columns_under_other_names() -> None:
    columns: tables.Columns = {"src_bytes": ["1"], "b": ["2"]}
    assert list(renamed(columns, ColumnChoice({"src_bytes": "bytes"}))) == ["bytes", "b"]
    with pytest.raises(TrafficError, match="필요한 열이 없어요: x"):
        renamed(columns, ColumnChoice({"x": "y"}))
    with pytest.raises(TrafficError, match="이름이 같은 열"):
        renamed(columns, ColumnChoice({"src_bytes": "b"}))


def test_constant_features_are_named_and_all_of_them_refused() -> None:
    values = np.array([[1, 2], [1, 3]], np.float32)
    assert constant_features([Records(values, ("a", "b"), np.arange(2.0))]) == ["a"]
    with pytest.raises(TrafficError, match="값이 하나뿐"):
        constant_features([Records(values[:, :1], ("a",), np.arange(2.0))])


@given(
    arrays(
        np.float32,
        st.tuples(st.integers(1, 30), st.integers(1, 4)),
        elements=st.floats(-(2.0**100), 2.0**100, width=32),
    )
)
def test_scaling_is_finite_and_clipped(values: np.ndarray) -> None:
    scaler = Scaler.fit(values)
    assert (scaler.scale > 0).all() and np.isfinite(scaler.scale).all()
    scaled = scaler(values)
    assert scaled.dtype == np.float32 and np.isfinite(scaled).all() and np.abs(scaled).max() <= CLIP


def test_scaling_is_by_median_and_quartiles() -> None:
    values = np.array([[0, 7], [1, 7], [2, 7], [3, 7], [1000, 7]], np.float32)
    scaler = Scaler.fit(values)
    assert scaler.center.tolist() == [2, 7] and scaler.scale.tolist() == [2, 1]
    assert scaler(values)[-1].tolist() == [10, 0]
