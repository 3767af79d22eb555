"""Quotes that have nothing left to mint take little room: of those of closed shifts (share hash, id) is kept.

What stays besides is what an audit needs to find them again: amount, number and place in the ledger, whose
row tells key and shift. They are answered as issued quotes, as ever; look-ups by key leave them out. Done in
small writes, each of which stands by itself.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from uuid import UUID

from prometheus_client import CollectorRegistry, Counter

from protocols.ehash.shift import METHOD
from roles.mint.quote import Quote
from roles.runtime.errors import StorageError
from roles.runtime.storage import Connection, Database, Row

AT_ONCE = 200
"""Quotes of one write, a few milliseconds."""
PAUSE_S = 0.1
"""Between two writes: requests come first."""
IDLE_S = 60.0
"""Until there may be more."""

_log = logging.getLogger(__name__)

_FOUND = (
    "SELECT compacted.*, credit.pubkey, shift.unit FROM compacted"
    " JOIN credit ON credit.ledger_no = compacted.ledger_no AND credit.seq = compacted.seq"
    " JOIN ledger ON ledger.ledger_no = compacted.ledger_no"
    " JOIN shift ON shift.issuer_no = ledger.issuer_no AND shift.shift = credit.shift"
)


class Compactor:
    """Compacts the quotes of shifts that were closed `after_s` seconds ago; never for 0."""

    def __init__(
        self,
        database: Database,
        registry: CollectorRegistry,
        *,
        after_s: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._after_s = after_s
        self._clock = clock
        self._compacted = Counter(
            "hashpool_mint_compacted_quotes", "Quotes that were compacted.", registry=registry
        )

    async def run(self) -> None:
        """Compact what there is again and again, until cancelled."""
        while self._after_s:
            try:
                done = await self.step()
            except StorageError as error:
                _log.warning("quotes cannot be compacted now: %s", error)
                done = 0
            await asyncio.sleep(PAUSE_S if done == AT_ONCE else IDLE_S)

    async def step(self) -> int:
        """Compact a few quotes; gives how many. Raises StorageError."""
        cutoff = int(self._clock()) - self._after_s
        if not await self._database.read(lambda c: _due(c, cutoff, 1)):
            return 0
        done = await self._database.write(lambda c: compact(c, cutoff))
        self._compacted.inc(done)
        return done


def compact(connection: Connection, cutoff: int, limit: int = AT_ONCE) -> int:
    """Compact up to `limit` quotes of shifts that were closed by `cutoff` (Unix seconds); gives how many."""
    rows = _due(connection, cutoff, limit)
    connection.executemany(
        "INSERT INTO compacted (quote_no, share_hash, quote_id, amount, updated_at, ledger_no, seq)"
        " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        [
            (
                row["quote_no"],
                row["share_hash"],
                UUID(row["quote_id"]).bytes,
                row["amount"],
                row["updated_at"],
                row["ledger_no"],
                row["seq"],
            )
            for row in rows
        ],
    )
    connection.executemany("DELETE FROM quote WHERE quote_no = ?", [(row["quote_no"],) for row in rows])
    return len(rows)


def by_id(connection: Connection, quote_id: str) -> Quote | None:
    """The quote of an id, None if it was not compacted."""
    try:
        name = UUID(quote_id)
    except ValueError:
        return None
    # An id has one form only.
    if str(name) != quote_id:
        return None
    row = connection.execute(f"{_FOUND} WHERE compacted.quote_id = ?", (name.bytes,)).fetchone()
    return None if row is None else _quote(row)


def by_share(connection: Connection, share_hash: bytes) -> Quote | None:
    """The quote of a share, None if it was not compacted."""
    row = connection.execute(f"{_FOUND} WHERE compacted.share_hash = ?", (share_hash,)).fetchone()
    return None if row is None else _quote(row)


def known(connection: Connection, share_hashes: Sequence[bytes]) -> set[bytes]:
    """Those of the shares whose quotes were compacted."""
    found: set[bytes] = set()
    if connection.execute("SELECT 1 FROM compacted LIMIT 1").fetchone() is None:
        return found
    for share_hash in share_hashes:
        row = connection.execute("SELECT 1 FROM compacted WHERE share_hash = ?", (share_hash,)).fetchone()
        if row is not None:
            found.add(share_hash)
    return found


def _due(connection: Connection, cutoff: int, limit: int) -> list[Row]:
    """Quotes that may be compacted, in the order of their ledger.

    The newest quote of the store stays, because the next one's number comes from it.
    """
    ends = connection.execute(
        "SELECT ledger_no, max(last_seq) AS last FROM shift WHERE closed_at <= ? AND ledger_no IS NOT NULL"
        " GROUP BY ledger_no ORDER BY ledger_no",
        (cutoff,),
    ).fetchall()
    newest = connection.execute("SELECT max(quote_no) FROM quote").fetchone()[0]
    rows: list[Row] = []
    for end in ends:
        if len(rows) < limit:
            rows += connection.execute(
                "SELECT quote_no, share_hash, quote_id, amount, updated_at, ledger_no, seq FROM quote"
                " WHERE ledger_no = ? AND seq <= ? AND amount_issued = amount AND share_hash IS NOT NULL"
                " AND quote_no < ? ORDER BY seq LIMIT ?",
                (end["ledger_no"], end["last"], newest, limit - len(rows)),
            ).fetchall()
    return rows


def _quote(row: Row) -> Quote:
    return Quote(
        quote_id=str(UUID(bytes=bytes(row["quote_id"]))),
        method=METHOD,
        unit=row["unit"],
        request=bytes(row["share_hash"]).hex(),
        amount=row["amount"],
        amount_paid=row["amount"],
        amount_issued=row["amount"],
        updated_at=row["updated_at"],
        pubkey=row["pubkey"],
    )
