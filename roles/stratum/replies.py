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

    __slots__ = ("_limit", "_places", "_room", "_write")

    def __init__(self, write: Callable[[list[bytes]], None], limit: int) -> None:
        self._write = write
        self._limit = limit
        # Thousands of connections have none: it is made when one waits.
        self._places: deque[Place] | None = None
        self._room: Callable[[], None] | None = None

    def __len__(self) -> int:
        return len(self._places or ())

    def take(self, id: bytes) -> Place:
        """The next place, for the request that has just arrived."""
        place = Place(id)
        if self._places is None:
            self._places = deque()
        self._places.append(place)
        return place

    def answer(self, id: bytes, line: bytes) -> None:
        """Answer the request that has just arrived."""
        if self._places:
            self.fill(self.take(id), line)
        else:
            self._write([line])

    def fill(self, place: Place, line: bytes) -> None:
        """Answer one request; what can leave leaves. A place that has an answer keeps it."""
        if place.line is not None:
            return
        place.line = line
        places = self._places
        if not places or places[0] is not place:
            return
        if len(places) == 1:
            self._places = None
            self._tell_room()
            self._write([line])
            return
        lines: list[bytes] = []
        while places and (first := places[0].line) is not None:
            lines.append(first)
            places.popleft()
        if not places:
            self._places = None
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
