"""Threads that work for an event loop, at a fraction of what an executor's futures cost.

Results that are ready together wake the loop once, so that many small pieces of work do not cost a wake each.
"""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from roles.runtime.outcome import Done, filling

T = TypeVar("T")

_Work = tuple[Callable[[], Any], Done, asyncio.AbstractEventLoop]


class Crew:
    """`threads` threads that are started with the first work; used from one event loop at a time.

    `pending` pieces of work wait or are done; who gives it work bounds them.
    """

    def __init__(self, name: str, threads: int) -> None:
        self._name = name
        self._count = threads
        self._threads: list[threading.Thread] = []
        self._queue: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._finished: list[tuple[Done, asyncio.AbstractEventLoop, Any, BaseException | None]] = []
        self._lock = threading.Lock()
        self._woken: asyncio.AbstractEventLoop | None = None
        self.pending = 0

    async def run(self, work: Callable[[], T]) -> T:
        """The result of `work`, or what it raises; a caller who is cancelled leaves it running."""
        return await self.submit(work)

    def submit(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        """What will have the result of `work`, or what it raises; to cancel it leaves the work running."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._put(work, filling(future), loop)
        return future

    def call(self, work: Callable[[], Any], done: Done) -> None:
        """As `submit`, for who does not wait: `done` is called on the event loop."""
        self._put(work, done, asyncio.get_running_loop())

    def close(self, *, finish: bool = False) -> None:
        """End the threads when they have done what was begun, and with `finish` what waits, which else is
        cancelled. Blocks for that long.
        """
        with contextlib.suppress(queue.Empty):
            while not finish and (item := self._queue.get_nowait()) is not None:
                item[1](None, asyncio.CancelledError())
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def _put(self, work: Callable[[], Any], done: Done, loop: asyncio.AbstractEventLoop) -> None:
        if not self._threads:
            self._start()
        self.pending += 1
        self._queue.put((work, done, loop))

    def _start(self) -> None:
        self._threads = [
            threading.Thread(target=self._labour, name=f"{self._name}_{number}", daemon=True)
            for number in range(self._count)
        ]
        for thread in self._threads:
            thread.start()

    def _labour(self) -> None:
        while (item := self._queue.get()) is not None:
            work, done, loop = item
            result, error = None, None
            try:
                result = work()
            except BaseException as raised:  # noqa: BLE001
                # Whoever waits shall have it, whatever it is.
                error = raised
            self._hand_over(done, loop, result, error)

    def _hand_over(
        self, done: Done, loop: asyncio.AbstractEventLoop, result: Any, error: BaseException | None
    ) -> None:
        with self._lock:
            self._finished.append((done, loop, result, error))
            if self._woken is loop:
                return
            self._woken = loop
        # A loop that has been closed took its futures with it; the next one clears up.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        with self._lock:
            finished, self._finished = self._finished, []
            self._woken = None
        self.pending -= len(finished)
        for done, loop, result, error in finished:
            if not loop.is_closed():
                done(result, error)
