from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from retrieval.database import connect, transaction
from retrieval.errors import CorruptDatabaseError, DiskFullError, NewerDatabaseError, StoreError

FIRST = (
    "CREATE TABLE notes (text TEXT); -- a comment; with a semicolon\nINSERT INTO notes VALUES ('하나; 둘');"
)
SECOND = "ALTER TABLE notes ADD COLUMN seen INTEGER DEFAULT 0"


def rows(connection: sqlite3.Connection) -> list[tuple[object, ...]]:
    return connection.execute("SELECT * FROM notes").fetchall()


def test_migrates_from_any_version_and_keeps_data(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.db"
    connect(path, [FIRST]).close()
    connection = connect(path, [FIRST, SECOND])
    assert rows(connection) == [("하나; 둘", 0)]
    assert connection.execute("PRAGMA user_version").fetchone() == (2,)
    connection.close()
    connect(path, [FIRST, SECOND]).close()


def test_a_failing_migration_leaves_the_version_before(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with pytest.raises(StoreError):
        connect(path, [FIRST, "INSERT INTO notes VALUES ('둘'); INSERT INTO nowhere VALUES (1);"])
    connection = connect(path, [FIRST])
    assert rows(connection) == [("하나; 둘",)]
    connection.close()


def test_settings_are_durable(tmp_path: Path) -> None:
    connection = connect(tmp_path / "a.db", [FIRST])
    pragmas = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
    assert pragmas == ["wal", 2]
    assert connection.execute("PRAGMA foreign_keys").fetchone() == (1,)
    assert connection.execute("PRAGMA busy_timeout").fetchone()[0] > 0
    connection.close()


def test_a_newer_database_is_refused_and_untouched(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    connect(path, [FIRST, SECOND]).close()
    before = path.read_bytes()
    with pytest.raises(NewerDatabaseError, match="새로운 담소"):
        connect(path, [FIRST])
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"not a database at all, " * 100, b"\x00" * 5000])
def test_what_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.db"
    path.write_bytes(content)
    with pytest.raises(CorruptDatabaseError, match="손상"):
        connect(path, [FIRST])
    assert path.read_bytes() == content


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="폴더"):
        connect(tmp_path / "file" / "a.db", [FIRST])


def test_a_transaction_is_all_or_nothing(tmp_path: Path) -> None:
    connection = connect(tmp_path / "a.db", [FIRST])
    with pytest.raises(KeyError), transaction(connection):
        connection.execute("INSERT INTO notes VALUES ('셋')")
        raise KeyError
    assert rows(connection) == [("하나; 둘",)]
    with transaction(connection):
        connection.execute("INSERT INTO notes VALUES ('셋')")
    assert len(rows(connection)) == 2
    connection.close()


def test_a_full_disk_writes_nothing(tmp_path: Path) -> None:
    connection = connect(tmp_path / "a.db", [FIRST])
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(DiskFullError, match="공간"), transaction(connection):
        connection.execute("INSERT INTO notes VALUES ('작은 글')")
        connection.execute("INSERT INTO notes VALUES (?)", ("가" * 100_000,))
    assert rows(connection) == [("하나; 둘",)]
    connection.close()


def test_two_openers_migrate_once(tmp_path: Path) -> None:
    path, opened = tmp_path / "a.db", []
    threads = [
        threading.Thread(target=lambda: opened.append(connect(path, [FIRST, SECOND]))) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [rows(connection) for connection in opened] == [[("하나; 둘", 0)]] * 6
    for connection in opened:
        connection.close()
