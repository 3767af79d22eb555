"""Quotes that nobody has paid and nobody can pay any more: they are forgotten after a while, because whoever
likes can ask for quotes.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from prometheus_client import CollectorRegistry, Counter

from roles.runtime.errors import StorageError
from roles.runtime.storage import Connection, Database

BATCH = 500
EVERY_S = 60.0

_log = logging.getLogger(__name__)


class StaleQuotes:
    """Forgets mint and melt quotes `forget_s` after they have expired unpaid; `clock` gives Unix seconds."""

    def __init__(
        self,
        database: Database,
        registry: CollectorRegistry,
        *,
        clock: Callable[[], float],
        forget_s: int,
    ) -> None:
        self._database = database
        self._clock = clock
        self._forget_s = forget_s
        self._forgotten = Counter(
            "hashpool_mint_quotes_forgotten",
            "Quotes that expired unpaid and were deleted.",
            registry=registry,
        )

    async def run(self) -> None:
        """Look every minute, until cancelled."""
        while True:
            try:
                number = BATCH
                while number == BATCH:
                    number = await self.forget()
            except StorageError as error:
                _log.debug("stale quotes stay for now: %s", error)
            await asyncio.sleep(EVERY_S)

    async def forget(self) -> int:
        """Forget some; how many."""
        before = int(self._clock()) - self._forget_s
        number = await self._database.write(partial(delete, before=before, limit=BATCH))
        self._forgotten.inc(number)
        return number


def delete(connection: Connection, before: int, limit: int) -> int:
    """Delete at most `limit` unpaid quotes that expired before a time; how many. A quote that a melt is to
    pay stays until that is gone.
    """
    melts = connection.execute(
        "DELETE FROM melt WHERE melt_no IN"
        " (SELECT melt_no FROM melt WHERE state = 0 AND expires_at < ? ORDER BY expires_at LIMIT ?)",
        (before, limit),
    ).rowcount
    rows = connection.execute(
        "SELECT quote_no FROM quote JOIN invoice USING (quote_no)"
        " WHERE amount_paid = 0 AND expires_at < ? AND NOT EXISTS"
        " (SELECT 1 FROM melt WHERE melt.mint_quote_no = quote.quote_no) ORDER BY quote_no LIMIT ?",
        (before, limit - melts),
    ).fetchall()
    for row in rows:
        connection.execute("DELETE FROM invoice WHERE quote_no = ?", (row["quote_no"],))
        connection.execute("DELETE FROM quote WHERE quote_no = ? AND amount_paid = 0", (row["quote_no"],))
    return melts + len(rows)
