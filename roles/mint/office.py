"""What looks after a mint while it serves: its watchdog, what is stopped, and its operator's local socket."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from roles.mint.halts import Halts
from roles.mint.keyset_gauges import KeysetGauges
from roles.mint.management import SOCKET_NAME, Bench, Management
from roles.mint.melting.resolution import Resolution
from roles.mint.meters import Meters
from roles.mint.notice_board import NoticeBoard
from roles.mint.seed import MintSeed
from roles.mint.watchdog import Watchdog
from roles.runtime.local_socket import LocalServer
from roles.runtime.readiness import Readiness
from roles.runtime.storage import Database
from shared_config.mint import MintSettings

_log = logging.getLogger(__name__)


class Office:
    """Opened before the mint serves anybody; `book_changed` has the keysets read again, `quotes_changed`
    lets go of quotes that are known without the store.
    """

    def __init__(
        self,
        database: Database,
        seed: MintSeed,
        readiness: Readiness,
        halts: Halts,
        *,
        meters: Meters,
        settings: MintSettings,
        directory: Path,
        url: str,
        methods: Sequence[str],
        board: NoticeBoard,
        melts: Resolution | None,
        book_changed: Callable[[], Awaitable[None]],
        quotes_changed: Callable[[Sequence[str]], None] | None,
    ) -> None:
        self._halts = halts
        self._readiness = readiness
        self._watchdog = Watchdog(database, halts, settings.watchdog, meters.registry, meters.alarm)
        self._gauges = KeysetGauges(database, meters.registry, settings.metric_keysets)
        bench = Bench(
            database,
            seed,
            halts,
            self._watchdog,
            readiness,
            url,
            directory,
            methods,
            board,
            melts,
            book_changed,
            quotes_changed=quotes_changed,
        )
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
                for part in (self._halts.follow(self._readiness), self._watchdog.run(), self._gauges.run()):
                    tasks.create_task(part)
        finally:
            await self._socket.close()
