"""Compacts a mint's store as a process of its own that can be killed: arguments are the place of the store,
Unix seconds by its clock, and whether the place is a DSN.
"""

import asyncio
import os
import sys
from pathlib import Path

from prometheus_client import CollectorRegistry

from roles.mint.compaction import Window
from roles.mint.compactor import Compactor
from roles.mint.schema import MIGRATIONS
from roles.runtime import crash
from roles.runtime.storage import Database, Server

DAY = 86_400
WINDOW = Window(7 * DAY, 2)


async def work(place: Path | Server, now: int) -> None:
    """Do all there is."""
    async with Database.open(place, MIGRATIONS, metrics=CollectorRegistry()) as database:
        compactor = Compactor(
            database, CollectorRegistry(), after_s=DAY, window=WINDOW, clock=lambda: float(now)
        )
        while await compactor.step() or await compactor.end() or await compactor.empty():
            pass


if __name__ == "__main__":
    crash.arm(os.environ.get(crash.VARIABLE, ""))
    where, seconds, is_dsn = sys.argv[1:]
    asyncio.run(work(Server(where, writers=1, readers=1) if is_dsn == "1" else Path(where), int(seconds)))
