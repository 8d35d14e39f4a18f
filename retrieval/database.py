"""The one place that opens SQLite: durable settings, numbered migrations, errors people can read.

SQLite runs in WAL mode with ``synchronous=FULL``: a transaction that has returned survives ``kill -9`` and
a power cut (https://www.sqlite.org/wal.html, https://www.sqlite.org/pragma.html#pragma_synchronous).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from retrieval.errors import CorruptDatabaseError, DiskFullError, NewerDatabaseError, StoreError

_BUSY_TIMEOUT_S = 10.0


def connect(path: Path, migrations: Sequence[str]) -> sqlite3.Connection:
    """Opens or creates a database and brings its schema up to date.

    The connection may be used from any thread, one at a time: the caller holds a lock. It is in autocommit
    mode; writes go through `transaction`.

    Args:
        path: the database file; its folder is made when missing.
        migrations: SQL scripts; script ``i`` takes the schema from version ``i`` to ``i + 1`` (``PRAGMA
            user_version``), each in a transaction of its own.

    Returns:
        The open connection.

    Raises:
        NewerDatabaseError: the file's version is above ``len(migrations)``.
        CorruptDatabaseError: the file is not a database or is damaged.
        DiskFullError: there is no room.
        StoreError: the folder or file cannot be opened or written.
    """
    with translated_errors(path):
        _make_folder(path.parent)
        connection = sqlite3.connect(
            path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        try:
            _configure(connection)
            _migrate(connection, migrations, path)
        except BaseException:
            connection.close()
            raise
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """All or nothing: commits at the end of the block, rolls back on any exception.

    Raises:
        DiskFullError: there was no room; nothing of the block was written.
        CorruptDatabaseError: the file is damaged.
        StoreError: the database is locked by another program or cannot be written.
    """
    with translated_errors():
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


@contextmanager
def translated_errors(path: Path | None = None) -> Iterator[None]:
    """Turns SQLite's errors into `StoreError` and its kinds, with a Korean message."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise _translated(error, f" ({path.name})" if path else "") from error


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"데이터 폴더를 만들 수 없어요: {folder}", "폴더의 위치와 쓰기 권한을 확인해 주세요."
        ) from error


def _configure(connection: sqlite3.Connection) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").fetchall()


def _migrate(connection: sqlite3.Connection, migrations: Sequence[str], path: Path) -> None:
    while (version := _version(connection)) != len(migrations):
        if version > len(migrations):
            raise NewerDatabaseError(
                f"'{path.name}'은(는) 더 새로운 담소가 만든 데이터예요.",
                "담소를 최신판으로 올린 뒤 다시 열어 주세요.",
            )
        with transaction(connection):
            # Another process may have migrated between the look above and taking the lock.
            if _version(connection) == version:
                _apply(connection, migrations[version], version + 1)


def _apply(connection: sqlite3.Connection, script: str, version: int) -> None:
    for statement in _statements(script):
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version={version}")


def _statements(script: str) -> Iterator[str]:
    """Splits a script; ``executescript`` would commit the transaction it runs in."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        yield statement


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _translated(error: sqlite3.DatabaseError, where: str) -> StoreError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return DiskFullError(
            f"디스크에 남은 공간이 없어서 저장하지 못했어요{where}.", "공간을 비운 뒤 다시 시도해 주세요."
        )
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return CorruptDatabaseError(
            f"데이터베이스 파일이 손상되었어요{where}.",
            "파일을 다른 곳으로 옮기면 새로 시작할 수 있고, 백업이 있다면 되돌려 주세요.",
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreError(
            f"다른 프로그램이 데이터베이스를 쓰고 있어요{where}.", "잠시 뒤에 다시 시도해 주세요."
        )
    return StoreError(
        f"데이터베이스를 쓸 수 없어요{where}: {error}", "폴더의 쓰기 권한과 디스크 상태를 확인해 주세요."
    )
