"""Has old quotes take less room while the mint serves, and removes them when their shifts have ended."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter

from roles.mint import archive, compaction
from roles.mint.compaction import Window
from roles.mint.stride import Stride
from roles.runtime import crash
from roles.runtime.errors import StorageError
from roles.runtime.storage import Connection, Database

PAUSE_S: Final = 0.1
"""Between two writes: requests come first."""
IDLE_S: Final = 60.0
"""Until there may be more."""
GRACE_S: Final = 60
"""From the end of a shift until its table goes: who has begun to read in it may finish."""

_log = logging.getLogger(__name__)


class Compactor:
    """Compacts the quotes of shifts that were closed `after_s` seconds ago, and forgets them when `window`
    has passed; either never for 0 seconds.
    """

    def __init__(
        self,
        database: Database,
        registry: CollectorRegistry,
        *,
        after_s: int,
        window: Window,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._after_s = after_s
        self._window = window
        self._clock = clock
        self._rows = Stride(compaction.AT_ONCE)
        self._emptied = Stride(archive.AT_ONCE)
        self._compacted = Counter(
            "hashpool_mint_compacted_quotes", "Rows of ledgers and quotes compacted.", registry=registry
        )
        self._ended = Counter(
            "hashpool_mint_ended_shifts", "Shifts whose compacted quotes were forgotten.", registry=registry
        )

    async def run(self) -> None:
        """Do what there is to do again and again, until cancelled."""
        while self._after_s:
            try:
                is_busy = await self.step() or await self.end() or await self.empty()
            except StorageError as error:
                _log.warning("quotes cannot be compacted now: %s", error)
                is_busy = False
            await asyncio.sleep(PAUSE_S if is_busy else IDLE_S)

    async def step(self) -> int:
        """Compact a few rows; gives how many. Raises StorageError."""
        now = int(self._clock())
        cutoff = now - self._after_s
        if not await self._database.read(lambda c: compaction.is_due(c, cutoff)):
            return 0

        def compact(connection: Connection) -> int:
            with self._rows.timed() as rows:
                return compaction.compact(connection, cutoff, now, rows)

        done = await self._database.write(compact)
        self._compacted.inc(done)
        return done

    async def end(self) -> bool:
        """End a shift that is due; False when none is. Raises StorageError."""
        if not self._window.seconds:
            return False
        now = int(self._clock())
        number = await self._database.read(lambda c: compaction.to_end(c, self._window, now))
        if number is None:
            return False
        if not await self._database.write(lambda c: compaction.end(c, number, self._window, now)):
            return False
        self._ended.inc()
        _log.info("a shift has ended, its minted quotes are forgotten", extra={"archive": number})
        return True

    async def empty(self) -> bool:
        """Remove a part of what has ended; False when nothing is left. Raises StorageError."""
        cutoff = int(self._clock()) - GRACE_S
        if not await self._database.read(lambda c: archive.has_leftovers(c, cutoff)):
            return False

        def empty(connection: Connection) -> None:
            with self._emptied.timed() as rows:
                archive.empty(connection, cutoff, rows)

        await self._database.write(empty)
        crash.at("mint.compaction-emptied")
        return True
