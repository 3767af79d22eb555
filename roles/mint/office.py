"""What looks after a mint while it serves: what is stopped, and the local socket for its operator."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from roles.mint.halts import Halts
from roles.mint.management import SOCKET_NAME, Bench, Management
from roles.mint.seed import MintSeed
from roles.runtime.local_socket import LocalServer
from roles.runtime.readiness import Readiness
from roles.runtime.storage import Database

_log = logging.getLogger(__name__)


class Office:
    """Opened before the mint serves anybody; `book_changed` has the keysets read again."""

    def __init__(
        self,
        database: Database,
        seed: MintSeed,
        readiness: Readiness,
        halts: Halts,
        *,
        directory: Path,
        url: str,
        book_changed: Callable[[], Awaitable[None]],
    ) -> None:
        self._halts = halts
        self._readiness = readiness
        bench = Bench(database, seed, halts, readiness, url, book_changed)
        self._socket = LocalServer(directory / SOCKET_NAME, Management(bench).answer)

    async def open(self) -> None:
        """See what is stopped, and listen for the operator; raises StorageError, DaemonSilent."""
        self._halts.declare(self._readiness)
        await self._halts.refresh()
        if not await self._socket.start():
            _log.warning(
                "another process answers at the local socket", extra={"path": str(self._socket.path)}
            )

    async def run(self) -> None:
        """Keep up with the store, until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._halts.follow(self._readiness))
        finally:
            await self._socket.close()
