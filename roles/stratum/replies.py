"""Answers that leave in the order of their requests, however late their verdicts come.

Some miners use one id for every submit and match answers by order alone.
"""

import asyncio
from collections import deque
from collections.abc import Callable

__all__ = ["OrderedReplies", "Place"]


class Place:
    """The place of one request's answer in the order; `id` is the JSON text to answer under."""

    __slots__ = ("id", "line")

    def __init__(self, id: bytes) -> None:
        self.id = id
        self.line: bytes | None = None


class OrderedReplies:
    """The open places of one connection; `write` takes lines that may leave."""

    def __init__(self, write: Callable[[list[bytes]], None], limit: int) -> None:
        self._write = write
        self._limit = limit
        self._places: deque[Place] = deque()
        self._room: asyncio.Event | None = None

    def __len__(self) -> int:
        return len(self._places)

    def take(self, id: bytes) -> Place:
        """The next place, for the request that has just arrived."""
        place = Place(id)
        self._places.append(place)
        return place

    def answer(self, id: bytes, line: bytes) -> None:
        """Answer the request that has just arrived."""
        self.fill(self.take(id), line)

    def fill(self, place: Place, line: bytes) -> None:
        """Answer one request; what can leave leaves. A place that has an answer keeps it."""
        if place.line is not None:
            return
        place.line = line
        places = self._places
        if places[0] is not place:
            return
        lines: list[bytes] = []
        while places and (first := places[0].line) is not None:
            lines.append(first)
            places.popleft()
        if self._room is not None and len(places) < self._limit:
            self._room.set()
        self._write(lines)

    async def room(self) -> None:
        """Return when fewer places than the limit are open; whoever reads requests waits here."""
        while len(self._places) >= self._limit:
            self._room = asyncio.Event()
            try:
                await self._room.wait()
            finally:
                self._room = None
