"""Looking after many things once in a while, a part of them at a time, by one timer."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Rounds"]

PARTS = 20

T = TypeVar("T")


class Rounds(Generic[T]):
    """Calls `look` for each of its members once in so many seconds, first when about as many have passed.

    `look` returns before which time of the loop it need not be called again, 0 as a rule.
    """

    __slots__ = ("_look", "_loop", "_parts", "_place", "_places", "_step", "_timer")

    def __init__(self, seconds: float, look: Callable[[T], float]) -> None:
        self._loop = asyncio.get_running_loop()
        self._look = look
        self._step = seconds / PARTS
        self._parts: list[dict[T, float]] = [{} for _ in range(PARTS)]
        self._places: dict[T, int] = {}
        self._place = 0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, member: T) -> None:
        """Look after somebody from now on."""
        self._places[member] = self._place
        self._parts[self._place][member] = 0.0
        if self._timer is None:
            self._timer = self._loop.call_later(self._step, self._next)

    def hurry(self, member: T) -> None:
        """Look at a member the next time, whatever was said."""
        place = self._places.get(member)
        if place is not None:
            self._parts[place][member] = 0.0

    def discard(self, member: T) -> None:
        """No longer."""
        place = self._places.pop(member, None)
        if place is not None:
            del self._parts[place][member]
        if not self._places and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _next(self) -> None:
        self._place = (self._place + 1) % PARTS
        self._timer = self._loop.call_later(self._step, self._next)
        part, now = self._parts[self._place], self._loop.time()
        for member in [member for member, due in part.items() if due <= now]:
            due = self._look(member)
            if due and member in part:
                part[member] = due
