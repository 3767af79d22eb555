"""The extranonce counter over restarts: what is granted was stored as reserved before."""

import asyncio
import contextlib
import logging
from dataclasses import dataclass

from protocols.mining.errors import CapacityExhausted
from protocols.mining.extranonce import PrefixAllocator
from roles.runtime import crash
from roles.runtime.errors import StorageError
from roles.runtime.storage import Connection, Database

CHUNK = 8192
RETRY_S = 1.0

_log = logging.getLogger(__name__)

_STORE = (
    "INSERT INTO prefix_counter (server_id, reserved, tip, tip_position) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (server_id) DO UPDATE SET"
    " reserved = excluded.reserved, tip = excluded.tip, tip_position = excluded.tip_position"
)


@dataclass(frozen=True, slots=True)
class _Stored:
    reserved: int
    tip: bytes
    tip_position: int


class PrefixBook:
    """Grants prefixes at once, and stores a further reservation in time; `run` does the storing."""

    def __init__(self, database: Database, server_id: int, stored: _Stored) -> None:
        self._database = database
        self._server_id = server_id
        self._tip = stored.tip
        self._dirty = asyncio.Event()
        self._dirty.set()
        self._allocator = PrefixAllocator(
            server_id, position=stored.reserved, tip_position=stored.tip_position, reserved=stored.reserved
        )

    @classmethod
    async def open(cls, database: Database, server_id: int) -> "PrefixBook":
        """Go on behind everything that was ever reserved under this server id."""
        stored = await database.read(lambda connection: _load(connection, server_id))
        book = cls(database, server_id, stored)
        await book._store()
        return book

    @property
    def granted(self) -> int:
        """How many prefixes are in use."""
        return self._allocator.granted

    def grant(self) -> bytes:
        """A prefix for a new channel; raises CapacityExhausted."""
        prefix = self._allocator.grant()
        if self._allocator.available < CHUNK // 2:
            self._dirty.set()
        return prefix

    def release(self, prefix: bytes) -> None:
        """A channel is closed."""
        self._allocator.release(prefix)

    def reclaim(self, prefix: bytes) -> None:
        """A channel of the present tip is open again with the prefix that it had."""
        self._allocator.reclaim(prefix)

    def lend(self, count: int) -> list[bytes]:
        """Prefixes for the channels of another process, at most `count`; none while no more are reserved.

        What is lent is in use until it is released, whether there is a channel for it or not.
        """
        prefixes: list[bytes] = []
        with contextlib.suppress(CapacityExhausted):
            while len(prefixes) < count:
                prefixes.append(self.grant())
        crash.at("pool.prefixes-lent")
        return prefixes

    def new_tip(self, tip: bytes) -> None:
        """The chain has another tip (hash, internal order); the tip of before a restart is not another."""
        if tip != self._tip:
            self._tip = tip
            self._allocator.new_tip()
            self._dirty.set()

    async def run(self) -> None:
        """Store reservations and tips until cancelled."""
        while True:
            await self._dirty.wait()
            try:
                await self._store()
            except StorageError as error:
                _log.warning("no prefixes can be reserved", extra={"reason": str(error)})
                await asyncio.sleep(RETRY_S)
                self._dirty.set()

    async def _store(self) -> None:
        self._dirty.clear()
        limit = max(self._allocator.reserved, self._allocator.position + CHUNK)
        row = (self._server_id, limit, self._tip, self._allocator.tip_position)
        await self._database.write(lambda connection: connection.execute(_STORE, row).rowcount)
        crash.at("pool.prefixes-stored")
        self._allocator.reserve(limit)


def _load(connection: Connection, server_id: int) -> _Stored:
    row = connection.execute(
        "SELECT reserved, tip, tip_position FROM prefix_counter WHERE server_id = ?", (server_id,)
    ).fetchone()
    return _Stored(row["reserved"], row["tip"], row["tip_position"]) if row else _Stored(0, b"", 0)
