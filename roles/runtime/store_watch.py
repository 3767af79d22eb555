"""Readiness "store": whether the disk takes what a daemon has to keep."""

import asyncio

from roles.runtime.readiness import Readiness
from roles.runtime.storage import Database

CONDITION = "store"
LOOK_S = 0.5


async def watch_store(database: Database, readiness: Readiness) -> None:
    """Say what the store says of its disk, until cancelled."""
    readiness.declare(CONDITION)
    while True:
        if database.fault:
            readiness.unmet(CONDITION, f"{database.path} cannot be written: {database.fault}")
        else:
            readiness.met(CONDITION)
        await asyncio.sleep(LOOK_S)
