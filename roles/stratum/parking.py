"""What is kept of miners whose sockets have gone, for those that come back and name their session.

parking = Parking(keep_s=180, limit=1_000, release=release)
parking.put(session_id, who, miner)
miner = parking.take(session_id)      # None where it is not known, or no more
"""

import asyncio
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, NamedTuple, TypeVar

__all__ = ["Parking"]

T = TypeVar("T")


class _Entry(NamedTuple, Generic[T]):
    until: float
    who: Hashable
    item: T


class Parking(Generic[T]):
    """At most `limit` items by their session's id, each for `keep_s` seconds; the oldest makes room.

    `release` is called with each item that nobody came back for. `who` says what is known of a miner without
    its session's id: one that came back without has no use for what is kept of it.
    """

    def __init__(self, *, keep_s: float, limit: int, release: Callable[[T], None]) -> None:
        self.expired = 0
        self.evicted = 0
        self._keep_s = keep_s
        self._limit = limit
        self._release = release
        self._loop = asyncio.get_running_loop()
        self._entries: dict[str, _Entry[T]] = {}
        self._by_who: dict[Hashable, dict[str, None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[T]:
        return iter([entry.item for entry in self._entries.values()])

    def bind(self, keep_s: float, limit: int) -> None:
        """Keep so many, each of those that come so long, from now on."""
        self._keep_s, self._limit = keep_s, limit
        while len(self._entries) > limit:
            self.evicted += 1
            self._give_up(next(iter(self._entries)))

    def put(self, session: str, who: Hashable, item: T) -> bool:
        """Keep an item from now on; False where nothing is ever kept, or no more."""
        if not self._limit or not self._keep_s:
            return False
        if len(self._entries) >= self._limit:
            self.evicted += 1
            self._give_up(next(iter(self._entries)))
        self._entries[session] = _Entry(self._loop.time() + self._keep_s, who, item)
        self._by_who.setdefault(who, {})[session] = None
        self._watch()
        return True

    def get(self, session: str) -> T | None:
        """The item of this session, which is kept still."""
        entry = self._entries.get(session)
        return entry.item if entry else None

    def take(self, session: str) -> T | None:
        """The item of this session, which is kept no more."""
        entry = self._entries.pop(session, None)
        if entry is None:
            return None
        sessions = self._by_who[entry.who]
        del sessions[session]
        if not sessions:
            del self._by_who[entry.who]
        return entry.item

    def drop(self, session: str) -> None:
        """Nobody can come back to this session."""
        if session in self._entries:
            self._give_up(session)

    def came_back_anew(self, who: Hashable) -> None:
        """A miner began anew: the oldest that is kept under its name will not be asked for."""
        sessions = self._by_who.get(who)
        if sessions:
            self._give_up(next(iter(sessions)))

    def close(self) -> None:
        """Keep nothing from now on."""
        self._limit = 0
        for session in tuple(self._entries):
            self._give_up(session)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self, session: str) -> None:
        item = self.take(session)
        assert item is not None
        self._release(item)

    def _watch(self) -> None:
        if self._timer is None and self._entries:
            first = next(iter(self._entries.values()))
            self._timer = self._loop.call_at(first.until, self._look)

    def _look(self) -> None:
        self._timer = None
        now = self._loop.time()
        for session, entry in tuple(self._entries.items()):
            if entry.until > now:
                break
            self.expired += 1
            self._give_up(session)
        self._watch()
