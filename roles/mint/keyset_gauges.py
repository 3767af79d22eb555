"""What keysets have issued and redeemed, for the metrics: the newest one by one, the others together."""

import asyncio
import logging
from typing import Final

from prometheus_client import CollectorRegistry, Gauge

from roles.runtime.errors import StorageError
from roles.runtime.storage import Connection, Database

LOOK_S: Final = 5.0
OTHERS: Final = "others"
_LABELS: Final = ("keyset", "unit")
_HALF: Final = 1 << 32

_log = logging.getLogger(__name__)


class KeysetGauges:
    """Gauges of the `newest` keysets; a mint of some years has thousands, and metrics must stay few."""

    def __init__(self, database: Database, registry: CollectorRegistry, newest: int) -> None:
        self._database = database
        self._newest = newest
        self._issued = Gauge(
            "hashpool_mint_keyset_issued", "Signed so far, in the keyset's unit.", _LABELS, registry=registry
        )
        self._redeemed = Gauge(
            "hashpool_mint_keyset_redeemed", "Spent so far, in the keyset's unit.", _LABELS, registry=registry
        )
        self._outstanding = Gauge(
            "hashpool_mint_keyset_outstanding",
            "Signed and not spent, in the keyset's unit.",
            _LABELS,
            registry=registry,
        )
        self._keysets = Gauge("hashpool_mint_keysets", "Keysets there are.", registry=registry)

    async def run(self) -> None:
        """Look every few seconds, until cancelled."""
        while True:
            try:
                await self.refresh()
            except StorageError as error:
                _log.debug("keysets cannot be read: %s", error)
            await asyncio.sleep(LOOK_S)

    async def refresh(self) -> None:
        """Read the counters; raises StorageError."""
        total, told = await self._database.read(self._read)
        self._keysets.set(total)
        for gauge in (self._issued, self._redeemed, self._outstanding):
            gauge.clear()
        for keyset, unit, issued, redeemed in told:
            self._issued.labels(keyset, unit).set(issued)
            self._redeemed.labels(keyset, unit).set(redeemed)
            self._outstanding.labels(keyset, unit).set(issued - redeemed)

    def _read(self, connection: Connection) -> tuple[int, list[tuple[str, str, int, int]]]:
        rows = connection.execute(
            "SELECT keyset_no, keyset_id, unit, issued, redeemed FROM keyset ORDER BY keyset_no DESC LIMIT ?",
            (self._newest,),
        ).fetchall()
        told = [(row["keyset_id"][:16], row["unit"], row["issued"], row["redeemed"]) for row in rows]
        last = min((row["keyset_no"] for row in rows), default=1 << 62)
        # In halves, because the sum over keysets may pass 2^63.
        rest = connection.execute(
            "SELECT count(*) AS number, coalesce(sum(issued / :half), 0) AS issued_high,"
            " coalesce(sum(issued % :half), 0) AS issued_low, coalesce(sum(redeemed / :half), 0)"
            " AS redeemed_high, coalesce(sum(redeemed % :half), 0) AS redeemed_low"
            " FROM keyset WHERE keyset_no < :last",
            {"half": _HALF, "last": last},
        ).fetchone()
        if rest["number"]:
            issued, redeemed = (
                int(rest[f"{what}_high"]) * _HALF + int(rest[f"{what}_low"])
                for what in ("issued", "redeemed")
            )
            told.append((OTHERS, OTHERS, issued, redeemed))
        return len(rows) + int(rest["number"]), told
