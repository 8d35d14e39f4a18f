from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from retrieval.index import Index
from retrieval.watching import FolderWatch


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "문서" / "안").mkdir(parents=True)
    (tmp_path / "문서" / "가.txt").write_text("도서관은 아홉 시에 엽니다.", encoding="utf-8")
    (tmp_path / "문서" / "안" / "나.md").write_text("# 체육관\n\n샤워실은 지하에 있습니다.", encoding="utf-8")
    return tmp_path / "문서"


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with Index.open(tmp_path / "index", None) as index:
        yield index


class Watched:
    """A watch and what it said since the last look."""

    def __init__(self, index: Index, folder: Path) -> None:
        self.index, self.said, self.stopped = index, list[tuple[str, str]](), False
        self.watch = FolderWatch(
            index,
            folder,
            lambda result: self.said.append((result.status, result.path.name)),
            lambda name: self.said.append(("removed", name)),
            lambda: self.stopped,
        )

    def look(self) -> list[tuple[str, str]]:
        self.said.clear()
        self.complete = self.watch.poll()
        return list(self.said)

    @property
    def names(self) -> list[str]:
        return [document.name for document in self.index.documents()]


@pytest.fixture
def watched(index: Index, folder: Path) -> Watched:
    return Watched(index, folder)


def test_the_first_look_takes_everything_and_the_next_nothing(watched: Watched) -> None:
    assert watched.look() == [("added", "가.txt"), ("added", "나.md")]
    assert watched.names == ["가.txt", "안/나.md"]
    assert watched.look() == [] and watched.complete


def test_new_changed_and_deleted_files_are_followed(watched: Watched, folder: Path) -> None:
    watched.look()
    (folder / "다.txt").write_text("수영장은 여섯 시에 닫습니다.", encoding="utf-8")
    (folder / "가.txt").write_text("도서관은 열 시에 엽니다.", encoding="utf-8")
    (folder / "안" / "나.md").unlink()
    assert watched.look() == [("removed", "안/나.md")]
    assert watched.look() == [("replaced", "가.txt"), ("added", "다.txt")]
    assert watched.look() == []
    assert watched.names == ["가.txt", "다.txt"]
    assert watched.index.search("도서관")[0].passage.text == "도서관은 열 시에 엽니다."


def test_a_file_still_being_written_is_left_alone(watched: Watched, folder: Path) -> None:
    watched.look()
    with (folder / "긴 글.txt").open("w", encoding="utf-8") as file:
        for number in range(3):
            file.write(f"{number}번째 줄입니다.\n")
            file.flush()
            assert watched.look() == []
    assert watched.look() == [("added", "긴 글.txt")]


def test_a_bad_file_is_told_once_and_again_when_it_changes(watched: Watched, folder: Path) -> None:
    (folder / "빈.txt").touch()
    assert ("failed", "빈.txt") in watched.look()
    assert watched.look() == watched.look() == []
    (folder / "빈.txt").write_text("이제 글이 있습니다.", encoding="utf-8")
    assert watched.look() + watched.look() == [("added", "빈.txt")]
    (folder / "나쁜.txt").touch()
    watched.look()
    watched.look()
    (folder / "나쁜.txt").unlink()
    assert watched.look() == []


def test_a_folder_that_is_away_deletes_nothing(watched: Watched, folder: Path) -> None:
    watched.look()
    folder.rename(folder.with_name("다른 곳"))
    assert watched.look() == [] and not watched.complete and len(watched.names) == 2
    folder.with_name("다른 곳").rename(folder)
    assert watched.look() == [] and watched.complete
    shutil.rmtree(folder / "안")
    assert watched.look() == [("removed", "안/나.md")]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the superuser reads everything")
def test_an_unreadable_folder_deletes_nothing(watched: Watched, folder: Path) -> None:
    watched.look()
    (folder / "안").chmod(0)
    try:
        watched.look()
        assert not watched.complete and len(watched.names) == 2
    finally:
        (folder / "안").chmod(0o700)


def test_it_stops_between_files_and_goes_on_later(watched: Watched, index: Index, folder: Path) -> None:
    watched.stopped = True
    assert watched.look() == []
    again = Watched(index, folder)
    assert again.look() == [("added", "가.txt"), ("added", "나.md")]
