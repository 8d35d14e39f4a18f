"""`damso ingest --watch`: follows a folder until Ctrl+C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import typer

from assistant.errors import DocumentError, StoreError
from assistant.settings import Settings

if TYPE_CHECKING:
    from retrieval.index import IngestResult

INTERVAL_S = 2.0
_STATUSES = {"added": "넣음", "replaced": "바꿈", "failed": "실패"}


def follow(folders: Sequence[Path], collection: str | None = None) -> None:
    """Reads the folders, then looks for changes every two seconds; Ctrl+C ends it after the file in hand.

    Args:
        folders: documents are called by their path from there.
        collection: name of the group that the documents belong to; None for none.

    Raises:
        DocumentError: one of them is no folder.
    """
    from assistant.dialog import Assistant
    from retrieval.watching import FolderWatch

    for folder in folders:
        if not folder.is_dir():
            raise DocumentError(
                f"폴더가 아니라서 지켜볼 수 없어요: {folder}", "--watch에는 폴더를 적어 주세요."
            )
    with Assistant.open(Settings.load()) as assistant, _until_interrupted() as stopped:
        watches = {
            folder: FolderWatch(assistant.index, folder, _echo, _echo_removed, stopped.is_set, collection)
            for folder in folders
        }
        typer.echo("폴더를 지켜보고 있어요. 끝내려면 Ctrl+C를 누르세요.")
        readable = dict.fromkeys(folders, True)
        while not stopped.is_set():
            for folder, watch in watches.items():
                readable[folder] = _poll(folder, watch.poll, readable[folder])
            stopped.wait(INTERVAL_S)
    typer.echo("지켜보기를 끝냈어요. 넣은 문서는 그대로 있어요.")


def _poll(folder: Path, poll: Callable[[], bool], was_readable: bool) -> bool:
    """Looks once; what goes wrong is said once, and the next look tries again."""
    try:
        readable = poll()
        if was_readable and not readable:
            typer.echo(
                f"'{folder}'의 일부를 읽을 수 없어요. 다시 읽힐 때까지 아무것도 지우지 않아요.", err=True
            )
    except StoreError as error:
        readable = was_readable
        typer.echo(f"오류: {error}", err=True)
    return readable


def _echo(result: IngestResult) -> None:
    if result.status in _STATUSES:
        reason = f"  ({result.error})" if result.error else ""
        typer.echo(f"{_STATUSES[result.status]}  {result.path}{reason}")


def _echo_removed(name: str) -> None:
    typer.echo(f"지움  {name}")


@contextmanager
def _until_interrupted() -> Iterator[threading.Event]:
    """Ctrl+C and SIGTERM set the event instead of ending the program."""
    stopped = threading.Event()

    def stop(_: int, __: FrameType | None) -> None:
        stopped.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
