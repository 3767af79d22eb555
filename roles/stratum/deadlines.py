"""What is to happen unless something else happens first: many waits behind one timer."""

import asyncio
from collections import deque
from typing import Protocol

__all__ = ["Deadlines", "Waiting"]


class Waiting(Protocol):
    """Something that most often is settled long before its time."""

    @property
    def is_settled(self) -> bool:
        """Whether nothing is awaited any more."""

    def overdue(self) -> None:
        """It is not settled, and its time has come."""


class Deadlines:
    """Calls for what is not settled in time; times are of the loop's clock.

    What is settled is forgotten when the timer next looks, so that one that is woken once in a wait serves
    thousands of waits of about the same length.
    """

    __slots__ = ("_loop", "_queue", "_timer")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: deque[tuple[float, Waiting]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, due: float, waiting: Waiting) -> None:
        """Tell it at this time, or a little later, unless it is settled by then."""
        queue = self._queue
        if queue and due < queue[-1][0]:
            # Only where waits have just been made shorter.
            self._loop.call_at(due, self._call, waiting)
            return
        queue.append((due, waiting))
        if self._timer is None:
            self._timer = self._loop.call_at(due, self._look)

    def _look(self) -> None:
        self._timer = None
        now, queue = self._loop.time(), self._queue
        while queue:
            due, waiting = queue[0]
            if waiting.is_settled:
                queue.popleft()
            elif due <= now:
                queue.popleft()
                waiting.overdue()
            else:
                self._timer = self._loop.call_at(due, self._look)
                return

    @staticmethod
    def _call(waiting: Waiting) -> None:
        if not waiting.is_settled:
            waiting.overdue()
