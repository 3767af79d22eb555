"""Readiness "store": whether it takes what a daemon has to keep; said once when that ends and returns."""

import asyncio
import logging

from roles.runtime.readiness import Readiness
from roles.runtime.storage import Database

CONDITION = "store"
LOOK_S = 0.5

_log = logging.getLogger(__name__)


async def watch_store(database: Database, readiness: Readiness) -> None:
    """Say what the store says of its disk, until cancelled."""
    readiness.declare(CONDITION)
    is_failing = False
    while True:
        fault = database.fault
        if fault:
            readiness.unmet(CONDITION, f"{database.name} cannot be written: {fault}")
        else:
            readiness.met(CONDITION)
        if bool(fault) != is_failing:
            is_failing = not is_failing
            fields = {"store": database.name} | ({"reason": fault} if fault else {})
            if is_failing:
                _log.error("the store fails: nothing more can be stored", extra=fields)
            else:
                _log.info("the store works again", extra=fields)
        await asyncio.sleep(LOOK_S)
