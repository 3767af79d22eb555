"""Answers that leave in the order of their requests, however late their verdicts come.

Some miners use one id for every submit and match answers by order alone.
"""

from collections import deque
from collections.abc import Callable

__all__ = ["OrderedReplies", "Place"]


class Place:
    """The place of one request's answer in the order; `id` is the JSON text to answer under."""

    __slots__ = ("id", "line")

    def __init__(self, id: bytes) -> None:
        self.id = id
        self.line: bytes | None = None

    @property
    def is_settled(self) -> bool:
        """Whether it has an answer."""
        return self.line is not None


class OrderedReplies:
    """The open places of one connection; `write` takes lines that may leave."""

    __slots__ = ("_first", "_limit", "_rest", "_room", "_write")

    def __init__(self, write: Callable[[list[bytes]], None], limit: int) -> None:
        self._write = write
        self._limit = limit
        self._first: Place | None = None
        # Behind the first, which most often is alone.
        self._rest: deque[Place] | None = None
        self._room: Callable[[], None] | None = None

    def __len__(self) -> int:
        return (self._first is not None) + len(self._rest or ())

    def take(self, id: bytes) -> Place:
        """The next place, for the request that has just arrived."""
        place = Place(id)
        self.add(place)
        return place

    def add(self, place: Place) -> None:
        """The same for a place that the caller has made."""
        if self._first is None:
            self._first = place
        elif self._rest is None:
            self._rest = deque((place,))
        else:
            self._rest.append(place)

    def answer(self, id: bytes, line: bytes) -> None:
        """Answer the request that has just arrived."""
        if self._first is not None:
            self.fill(self.take(id), line)
        else:
            self._write([line])

    def fill(self, place: Place, line: bytes) -> None:
        """Answer one request; what can leave leaves. A place that has an answer keeps it."""
        if place.line is not None:
            return
        place.line = line
        if self._first is not place:
            return
        lines = [line]
        rest = self._rest
        if rest is None:
            self._first = None
        else:
            while rest and (next_line := rest[0].line) is not None:
                lines.append(next_line)
                rest.popleft()
            self._first = rest.popleft() if rest else None
            self._rest = rest or None
        if self._room is not None:
            self._tell_room()
        self._write(lines)

    def is_full(self, room: Callable[[], None]) -> bool:
        """Whether as many places are open as may be; `room` is called, once, when there is room again."""
        if len(self) < self._limit or self._room is not None:
            return False
        self._room = room
        return True

    def _tell_room(self) -> None:
        if self._room is not None and len(self) < self._limit:
            room, self._room = self._room, None
            room()
