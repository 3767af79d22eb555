"""A ledger's disk that is as slow, and as full, as a test wants."""

import asyncio
from typing import Any

import pytest

from roles.runtime.errors import CommitFailed
from roles.runtime.storage import Database, Done


class Disk:
    """Holds the ledger's writes up, or fails them, as long as the test wants."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ready = asyncio.Event()
        self.ready.set()
        self.fails = False
        self.writes = 0
        submit = Database.submit
        disk = self

        async def later(database: Database, fn: Any, done: Done) -> None:
            await disk.ready.wait()
            if disk.fails:
                done(None, CommitFailed("the disk is full"))
            else:
                submit(database, fn, done)

        def slow(database: Database, fn: Any, done: Done) -> None:
            disk.writes += 1
            disk.waits = asyncio.ensure_future(later(database, fn, done))

        self.waits: asyncio.Future[None] | None = None
        monkeypatch.setattr(Database, "submit", slow)
