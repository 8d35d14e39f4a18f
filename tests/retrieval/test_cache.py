from __future__ import annotations

from pathlib import Path

import pytest

from retrieval import cache


def test_reads_what_was_written_under_the_same_stamp(tmp_path: Path) -> None:
    path = tmp_path / "a.cache"
    cache.write(path, "한 도장", b"\x00\n\xff")
    assert cache.read(path, "한 도장") == b"\x00\n\xff"
    assert cache.read(path, "다른 도장") is None
    assert [file.name for file in tmp_path.iterdir()] == ["a.cache"]


def test_every_damaged_byte_and_every_cut_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.cache"
    cache.write(path, "s", b"payload")
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert cache.read(path, "s") is None
        path.write_bytes(whole[:place])
        assert cache.read(path, "s") is None


def test_a_missing_or_foreign_file_is_nothing(tmp_path: Path) -> None:
    assert cache.read(tmp_path / "a", "s") is None
    (tmp_path / "b").write_bytes(b"[1]\n")
    assert cache.read(tmp_path / "b", "s") is None


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.cache"
    cache.write(path, "s", b"old")

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="space"):
        cache.write(path, "s", b"new")
    assert cache.read(path, "s") == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.cache"]
