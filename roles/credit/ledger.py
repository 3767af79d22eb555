"""The share ledger: what the pool owes, durable before it is acknowledged, numbered without gaps.

A batch of shares is one write: one look at the last row, one executemany, one result. Shares of the same tip
and hash are the same share, whichever channel or process brings them.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from itertools import takewhile
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Gauge

from protocols.ehash.amount import Valuation
from protocols.ehash.errors import CreditCode
from protocols.ehash.shift import FIRST_SHIFT
from roles.credit.errors import LedgerUnusable
from roles.runtime.storage import Connection, Database, Row

STORE_ID_SIZE = 16
_PREVIOUS = slice(4, 36)
_INSERT = (
    "INSERT INTO share (time, shift, minimum, valuation, tip_no, hash, header, target, amount, key, block)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (tip_no, hash) DO NOTHING"
)
_INSERT_UNATTRIBUTED = (
    "INSERT INTO unattributed (time, tip_no, hash, amount, block) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT (tip_no, hash) DO NOTHING"
)


class Entry(NamedTuple):
    """An accepted share worth at least one ehash, on its way into the ledger; `key` None if it names none."""

    share_hash: bytes
    header: bytes
    target: int
    amount: int
    key: bytes | None
    block: bool


class Fate(Enum):
    """What became of an entry."""

    RECORDED = auto()
    REPEATED = auto()
    """It stands there already, for the same key: to be answered with success, and credited once."""
    DUPLICATE = auto()
    """It stands there already, for another key or for none."""


class Record(NamedTuple):
    """The fate of an entry, and the number of its row, 0 for an unattributed share."""

    fate: Fate
    seq: int


@dataclass(frozen=True, slots=True)
class Pricing:
    """The units of a shift: `minimum` in bits, and the valuation."""

    minimum: int
    valuation: Valuation


class LedgerRow(NamedTuple):
    """An attributed share as it stands in the ledger; `time` in Unix milliseconds."""

    seq: int
    time: int
    shift: int
    pricing: Pricing
    share_hash: bytes
    header: bytes
    target: int
    amount: int
    key: bytes
    block: bool


class LedgerMetrics:
    """Gauges of a ledger."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.seq = Gauge("hashpool_ledger_seq", "Last row of the ledger.", registry=registry)
        self.acked = Gauge("hashpool_ledger_acked_seq", "Last row that the mint settled.", registry=registry)
        self.refused = Gauge("hashpool_ledger_refused", "Rows that the mint refused.", registry=registry)
        self.unattributed = Gauge(
            "hashpool_ledger_unattributed", "Accepted shares without a key.", registry=registry
        )


class Ledger:
    """The ledger of one issuer; made by `open`, on a store that holds the tables of schema.LEDGER."""

    def __init__(
        self,
        database: Database,
        pricing: Pricing,
        opened: "_Opened",
        *,
        metrics: LedgerMetrics,
        clock: Callable[[], float],
    ) -> None:
        self.store_id = opened.store_id
        self.shift = opened.shift
        self.pricing = pricing
        self.metrics = metrics
        self.last_seq = opened.last.seq if opened.last else 0
        """The number of the last durable row that this process has been told of."""
        self.grown = asyncio.Event()
        """Set when rows have been added; whoever waits for it clears it."""
        metrics.seq.set(self.last_seq)
        metrics.refused.set(opened.refused)
        metrics.unattributed.set(opened.unattributed)
        self._database = database
        self._clock = clock

    @classmethod
    async def open(
        cls,
        database: Database,
        identity: bytes,
        pricing: Pricing,
        *,
        metrics: LedgerMetrics | None = None,
        clock: Callable[[], float] = time.time,
    ) -> "Ledger":
        """The ledger of `identity` (33 bytes), begun if it is new.

        Raises LedgerUnusable when it is another issuer's, or its open shift has another price.
        """
        opened = await database.write(lambda connection: _open(connection, identity))
        if opened.identity != identity:
            raise LedgerUnusable(
                "the ledger belongs to another identity key",
                hint="restore identity.key, or move the ledger away: a new key is a new issuer",
            )
        if opened.last is not None and (opened.last.shift, opened.last.pricing) != (opened.shift, pricing):
            minimum, valuation = opened.last.pricing.minimum, opened.last.pricing.valuation.name.lower()
            raise LedgerUnusable(
                f"the open shift counts in units of 2^{minimum} hashes, valued by {valuation}",
                hint="set ehash.minimum_difficulty and ehash.valuation as they were",
            )
        gauges = metrics or LedgerMetrics(CollectorRegistry())
        return cls(database, pricing, opened, metrics=gauges, clock=clock)

    async def append(self, entries: Sequence[Entry]) -> list[Record]:
        """Make entries durable, in their order, and tell their fates in the same order.

        Raises StorageError when nothing of them was stored.
        """
        now = int(self._clock() * 1000)
        records = await self._database.write(
            lambda connection: _append(connection, entries, now, self.shift, self.pricing)
        )
        last = max((record.seq for record in records), default=0)
        if last > self.last_seq:
            self.last_seq = last
            self.metrics.seq.set(last)
            self.grown.set()
        new = sum(record.seq == 0 and record.fate is Fate.RECORDED for record in records)
        if new:
            self.metrics.unattributed.inc(new)
        return records

    async def rows_after(self, seq: int, limit: int) -> list[LedgerRow]:
        """The rows that follow `seq`, at most `limit` and all of one shift and price."""
        return await self._database.read(lambda connection: _rows_after(connection, seq, limit))

    async def refuse(self, refusals: Iterable[tuple[int, CreditCode]]) -> None:
        """Keep which rows the mint refused; a row that is known to be refused stays as it is."""
        now = int(self._clock() * 1000)
        rows = [(seq, int(code), now) for seq, code in refusals]
        added = await self._database.write(lambda connection: _refuse(connection, rows))
        self.metrics.refused.inc(added)

    async def begin_in(self, shift: int) -> None:
        """Move a ledger of which the mint has nothing yet into the shift where the mint wants it to begin."""
        await self._database.write(lambda connection: _begin_in(connection, shift))
        self.shift = max(self.shift, shift)


@dataclass(frozen=True, slots=True)
class _Opened:
    store_id: bytes
    identity: bytes
    shift: int
    last: LedgerRow | None
    unattributed: int
    refused: int


def _open(connection: Connection, identity: bytes) -> _Opened:
    connection.execute(
        "INSERT INTO ledger VALUES (1, ?, ?, ?) ON CONFLICT (one) DO NOTHING",
        (secrets.token_bytes(STORE_ID_SIZE), identity, FIRST_SHIFT),
    )
    state = connection.execute("SELECT store_id, identity, shift FROM ledger").fetchone()
    last = connection.execute("SELECT * FROM share ORDER BY seq DESC LIMIT 1").fetchone()
    return _Opened(
        state["store_id"],
        state["identity"],
        state["shift"],
        _row(last) if last else None,
        connection.execute("SELECT count(*) FROM unattributed").fetchone()[0],
        connection.execute("SELECT count(*) FROM refusal").fetchone()[0],
    )


def _append(
    connection: Connection, entries: Sequence[Entry], now: int, shift: int, pricing: Pricing
) -> list[Record]:
    last = connection.execute("SELECT seq, time FROM share ORDER BY seq DESC LIMIT 1").fetchone()
    before, earliest = (last["seq"], last["time"]) if last else (0, 0)
    moment = max(now, earliest)
    tips = {tip: _tip_number(connection, tip) for tip in {entry.header[_PREVIOUS] for entry in entries}}
    attributed = [entry for entry in entries if entry.key is not None]
    price = (moment, shift, pricing.minimum, int(pricing.valuation))
    inserted = connection.executemany(
        _INSERT,
        [
            (
                *price,
                tips[entry.header[_PREVIOUS]],
                entry.share_hash,
                entry.header,
                entry.target.to_bytes(32, "little"),
                entry.amount,
                entry.key,
                entry.block,
            )
            for entry in attributed
        ],
    ).rowcount
    if len(attributed) == len(entries) == inserted:
        return [Record(Fate.RECORDED, seq) for seq in range(before + 1, before + inserted + 1)]
    return [*_settle(connection, entries, tips, before, moment)]


def _settle(
    connection: Connection, entries: Sequence[Entry], tips: dict[bytes, int], before: int, moment: int
) -> Iterable[Record]:
    """The slow way, for batches with repetitions or unattributed shares: each entry is looked up."""
    fresh: set[int] = set()
    for entry in entries:
        tip = tips[entry.header[_PREVIOUS]]
        if entry.key is None:
            values = (moment, tip, entry.share_hash, entry.amount, entry.block)
            inserted = connection.execute(_INSERT_UNATTRIBUTED, values).rowcount
            yield Record(Fate.RECORDED if inserted else Fate.DUPLICATE, 0)
            continue
        row = connection.execute(
            "SELECT seq, key FROM share WHERE tip_no = ? AND hash = ?", (tip, entry.share_hash)
        ).fetchone()
        if row["seq"] > before and row["seq"] not in fresh:
            fresh.add(row["seq"])
            yield Record(Fate.RECORDED, row["seq"])
        else:
            yield Record(Fate.REPEATED if row["key"] == entry.key else Fate.DUPLICATE, row["seq"])


def _tip_number(connection: Connection, tip: bytes) -> int:
    row = connection.execute("SELECT tip_no FROM tip WHERE hash = ?", (tip,)).fetchone()
    if row is None:
        row = connection.execute("INSERT INTO tip (hash) VALUES (?) RETURNING tip_no", (tip,)).fetchone()
    number: int = row[0]
    return number


def _rows_after(connection: Connection, seq: int, limit: int) -> list[LedgerRow]:
    found = connection.execute("SELECT * FROM share WHERE seq > ? ORDER BY seq LIMIT ?", (seq, limit))
    rows = [_row(row) for row in found]
    return list(takewhile(lambda row: (row.shift, row.pricing) == (rows[0].shift, rows[0].pricing), rows))


def _row(row: Row) -> LedgerRow:
    return LedgerRow(
        row["seq"],
        row["time"],
        row["shift"],
        Pricing(row["minimum"], Valuation(row["valuation"])),
        row["hash"],
        row["header"],
        int.from_bytes(row["target"], "little"),
        row["amount"],
        row["key"],
        bool(row["block"]),
    )


def _refuse(connection: Connection, rows: list[tuple[int, int, int]]) -> int:
    return connection.executemany(
        "INSERT INTO refusal (seq, code, time) VALUES (?, ?, ?) ON CONFLICT (seq) DO NOTHING", rows
    ).rowcount


def _begin_in(connection: Connection, shift: int) -> None:
    connection.execute("UPDATE ledger SET shift = max(shift, ?)", (shift,))
    connection.execute("UPDATE share SET shift = ? WHERE shift < ?", (shift, shift))
