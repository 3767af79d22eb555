"""Whether the mint answers, what it says of itself, and who must know when that changes."""

import logging
from collections.abc import Callable

from roles.runtime.storage import Connection, Database
from roles.wallet.errors import MintUnreachable
from roles.wallet.meters import Meters
from roles.wallet.mint_api import MintInfo
from roles.wallet.mint_client import MintClient

log = logging.getLogger(__name__)

_INFO_MS = 600_000


class MintLink:
    """The state of the way to one mint; `watch` is called with None when it works and a reason when it does
    not.
    """

    def __init__(
        self,
        database: Database,
        mint: MintClient,
        meters: Meters,
        clock_ms: Callable[[], int],
        watch: Callable[[str | None], None],
    ) -> None:
        self._database = database
        self._mint = mint
        self._meters = meters
        self._clock_ms = clock_ms
        self._watch = watch
        self._info: MintInfo | None = None
        self._asked_ms = 0
        self._up: bool | None = None

    async def info(self) -> MintInfo:
        """/v1/info, asked again after an outage and every ten minutes; its keys are kept in the store."""
        now = self._clock_ms()
        if self._info is None or not 0 <= now - self._asked_ms < _INFO_MS:
            info = await self._mint.info()
            await self._database.write(lambda c: _store(c, self._mint.url, info, now))
            self._info, self._asked_ms = info, now
        return self._info

    def reached(self) -> bool:
        """The mint answered; True when it had not before."""
        if self._up:
            return False
        self._up = True
        self._meters.mint_up.set(1)
        self._watch(None)
        log.info("the mint at %s answers", self._mint.url)
        return True

    def lost(self, error: MintUnreachable) -> None:
        """The mint did not answer."""
        self._info = None
        self._meters.mint_up.set(0)
        self._watch(str(error))
        if self._up is not False:
            log.warning("%s; tokens wait, nothing is lost", error)
        self._up = False


def known_mint(connection: Connection) -> str | None:
    """The URL of the mint that a wallet's store had to do with last; None while there was none."""
    row = connection.execute("SELECT url FROM mint ORDER BY seen_ms DESC LIMIT 1").fetchone()
    row = (
        row or connection.execute("SELECT mint_url AS url FROM keyset ORDER BY rowid DESC LIMIT 1").fetchone()
    )
    return None if row is None else str(row["url"])


def _store(connection: Connection, url: str, info: MintInfo, now_ms: int) -> None:
    connection.execute(
        "INSERT INTO mint VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET public_key = excluded.public_key,"
        " quote_key = excluded.quote_key, seen_ms = excluded.seen_ms",
        (url, info.public_key, info.quote_key, now_ms),
    )
