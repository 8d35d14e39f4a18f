"""Turns behind a bounded queue: the blocking `Assistant.stream` becomes an asynchronous stream of events."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from assistant.errors import BusyError
from assistant.events import Event

Start = Callable[[Callable[[], bool]], Iterator[Event]]


class Turn:
    """One turn that runs in a worker thread and is read on the event loop."""

    def __init__(self, start: Start) -> None:
        """Prepare a turn on the running event loop.

        Args:
            start: makes the events; it is given a function that says whether the turn was cancelled.
        """
        self._start = start
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[Event | Exception | None] = asyncio.Queue()
        self._cancelled = threading.Event()

    def run(self) -> None:
        """Produce the events, in the worker's thread."""
        try:
            if not self._cancelled.is_set():
                for event in self._start(self._cancelled.is_set):
                    self._put(event)
        except Exception as error:  # crosses to the reader, who raises it
            self._put(error)
        self._put(None)

    def cancel(self) -> None:
        """Stop at the next token; nobody is reading any more."""
        self._cancelled.set()

    async def events(self) -> AsyncIterator[Event]:
        """The turn's events as they come.

        Raises:
            DamsoError: the turn failed.
        """
        while (item := await self._queue.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item

    def _put(self, item: Event | Exception | None) -> None:
        self._loop.call_soon_threadsafe(self._queue.put_nowait, item)


class Turns:
    """Runs one turn at a time; others wait, up to a bound.

    The engine answers one question at a time, so that more workers would only slow each other down.
    """

    def __init__(self, waiting: int) -> None:
        """Make the queue.

        Args:
            waiting: turns that may wait while one runs.
        """
        self._places = waiting + 1
        self._taken = 0
        self._lock = threading.Lock()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="turn")

    @property
    def taken(self) -> int:
        """Turns that run or wait."""
        return self._taken

    def begin(self, start: Start) -> Turn:
        """Take a place and run the turn when its time comes; call on the event loop.

        Args:
            start: as `Turn` takes it.

        Raises:
            BusyError: every place is taken.
        """
        with self._lock:
            if self._taken == self._places:
                raise BusyError("지금은 질문이 밀려 있어요.", "잠시 뒤에 다시 물어봐 주세요.")
            self._taken += 1
        turn = Turn(start)
        self._worker.submit(turn.run).add_done_callback(lambda _: self._leave())
        return turn

    def close(self) -> None:
        """Wait for the running turn and drop those that wait."""
        self._worker.shutdown(wait=True, cancel_futures=True)

    def _leave(self) -> None:
        with self._lock:
            self._taken -= 1
