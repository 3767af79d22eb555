"""The room on the ledger's disk: below a reserve new shares are refused, until there is room again.

The reserve is for what must go on meanwhile: blocks, what the mint has settled, and the store's own upkeep.
"""

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path

from prometheus_client import Gauge

from roles.runtime.readiness import Readiness

CONDITION = "disk"
LOOK_S = 1.0
ENOUGH = 1.1
"""Times the reserve that must be free before shares are taken again."""

_log = logging.getLogger(__name__)


def free_bytes(path: Path) -> int:
    """What an ordinary user may still write where ``path`` is; raises OSError."""
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize


class DiskWatch:
    """Looks once a second how much is free, and sets `gauge`; a disk that cannot be asked has no room."""

    def __init__(
        self,
        path: Path,
        reserve: int,
        gauge: Gauge,
        readiness: Readiness,
        *,
        free: Callable[[Path], int] | None = None,
    ) -> None:
        self._path = path
        self._reserve = reserve
        self._free = free or free_bytes
        self._gauge = gauge
        self._readiness = readiness
        self.is_low = False
        """Whether nothing new should be stored."""
        readiness.declare(CONDITION, "the disk has not been looked at")

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            # A network file system may let us wait, and shares must not.
            self._judge(await asyncio.to_thread(self._look))
            await asyncio.sleep(LOOK_S)

    def _look(self) -> int:
        try:
            return self._free(self._path)
        except OSError:
            return -1

    def _judge(self, free: int) -> None:
        self._gauge.set(max(0, free))
        wanted = self._reserve * ENOUGH if self.is_low else self._reserve
        was_low, self.is_low = self.is_low, free < wanted
        if not self.is_low:
            self._readiness.met(CONDITION)
            if was_low:
                _log.info("the ledger's disk has room again", extra={"free_bytes": free})
            return
        self._readiness.unmet(CONDITION, f"{max(0, free)} bytes are free, {int(wanted)} are wanted")
        if not was_low:
            fields = {"free_bytes": free, "reserve_bytes": self._reserve, "path": str(self._path)}
            _log.error("the ledger's disk is nearly full: no new shares are taken", extra=fields)
