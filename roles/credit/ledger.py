"""The share ledger: what the pool owes, durable before it is acknowledged, numbered without gaps.

Entries that come while the disk is busy go into one write: one look at the last row, one executemany, one
result. Shares of the same tip and hash are the same share, whoever brings them.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry, Gauge

from protocols.ehash.errors import CreditCode
from protocols.ehash.shift import ShiftRule
from roles.credit import batch, ledger_rows
from roles.credit.errors import LedgerUnusable
from roles.credit.ledger_rows import Entry, Fate, LedgerRow, Opened, Outcome, Record
from roles.credit.register import Register
from roles.credit.shift_roll import Pricing, ShiftRoll
from roles.runtime.errors import StorageError
from roles.runtime.storage import Connection, Database, IntegrityError

_log = logging.getLogger(__name__)

GATHER_S = 0.004
"""How long entries wait for others to share their write with: a commit costs as much as many rows."""
AT_ONCE = batch.PLACES
"""So many do not wait: a commit of more costs each of them hardly less, and idleness cold caches."""


class LedgerMetrics:
    """Gauges of a ledger."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.seq = Gauge("hashpool_ledger_seq", "Last row of the ledger.", registry=registry)
        self.shift = Gauge("hashpool_ledger_shift", "Shift of the last row.", registry=registry)
        self.acked = Gauge("hashpool_ledger_acked_seq", "Last row that the mint settled.", registry=registry)
        self.refused = Gauge("hashpool_ledger_refused", "Rows that the mint refused.", registry=registry)
        self.unattributed = Gauge(
            "hashpool_ledger_unattributed", "Accepted shares without a key.", registry=registry
        )


Told = Callable[[Any, Outcome | BaseException, int], None]
"""What is called when entries are durable: with what the caller gave about them, with what became of them and
others or the reason why they are not durable, and with the place of the first of them among those.
"""


@dataclass(slots=True)
class _Gathered:
    """Entries of several callers that share a write; each waits with the place where its entries begin."""

    entries: list[Entry] = field(default_factory=list)
    waiters: list[tuple[Told, Any, int]] = field(default_factory=list)

    def settle(self, outcome: Outcome) -> None:
        """Tell each caller of its entries."""
        waiters = iter(self.waiters)
        try:
            for told, about, start in waiters:
                told(about, outcome, start)
        finally:
            # One caller's fault does not keep the others waiting.
            for told, about, start in waiters:
                asyncio.get_running_loop().call_soon(told, about, outcome, start)

    def fail(self, error: BaseException) -> None:
        """Tell each caller that nothing was stored."""
        call_soon = asyncio.get_running_loop().call_soon
        for told, about, _ in self.waiters:
            call_soon(told, about, error, 0)

    def apart(self) -> "Iterator[_Gathered]":
        """The same for each caller alone."""
        ends = [*(start for _, _, start in self.waiters[1:]), len(self.entries)]
        for (told, about, start), end in zip(self.waiters, ends, strict=True):
            yield _Gathered(self.entries[start:end], [(told, about, 0)])


class Ledger:
    """The ledger of one issuer; made by `open`, on a store that holds the tables of `roles.credit.schema`."""

    def __init__(
        self,
        database: Database,
        roll: ShiftRoll,
        opened: Opened,
        *,
        metrics: LedgerMetrics,
        clock: Callable[[], float],
    ) -> None:
        self.store_id = opened.store_id
        self.shift = opened.shift
        """The shift of the last durable row that this process has been told of."""
        self.metrics = metrics
        self.last_seq = opened.last.seq if opened.last else 0
        """The number of the last durable row that this process has been told of."""
        self.grown = asyncio.Event()
        """Set when rows have been added; whoever waits for it clears it."""
        self.gather_s = GATHER_S
        self.at_once = AT_ONCE
        self.on_write: Callable[[], None] = _nothing
        """Called before each write, for who has something that may share its commit."""
        metrics.seq.set(self.last_seq)
        metrics.shift.set(self.shift)
        metrics.refused.set(opened.refused)
        metrics.unattributed.set(opened.unattributed)
        self._database = database
        self._clock = clock
        self._register = Register()
        self._roll = roll
        self._gathered: _Gathered | None = None
        self._timer: asyncio.Handle | None = None
        self._writing = False

    @classmethod
    async def open(
        cls,
        database: Database,
        identity: bytes,
        pricing: Pricing,
        *,
        rule: ShiftRule | None = None,
        metrics: LedgerMetrics | None = None,
        clock: Callable[[], float] = time.time,
    ) -> "Ledger":
        """The ledger of `identity` (33 bytes), begun if it is new; shifts that open from now on have this
        pricing.

        Raises LedgerUnusable when it is another issuer's.
        """
        opened = await database.write(lambda connection: ledger_rows.open_ledger(connection, identity))
        if opened.identity != identity:
            raise LedgerUnusable(
                "the ledger belongs to another identity key",
                hint="restore identity.key, or move the ledger away: a new key is a new issuer",
            )
        if opened.last is not None and opened.last.pricing != pricing:
            _log.warning(
                "minimum or valuation are not those of the open shift: they count from the next one",
                extra={
                    "shift": opened.shift,
                    "minimum": opened.last.pricing.minimum,
                    "valuation": opened.last.pricing.valuation.name.lower(),
                },
            )
        gauges = metrics or LedgerMetrics(CollectorRegistry())
        roll = ShiftRoll(rule or ShiftRule(), pricing, opened.shift)
        return cls(database, roll, opened, metrics=gauges, clock=clock)

    async def append(self, entries: Sequence[Entry]) -> list[Record]:
        """Make entries durable, in their order, and tell their fates in the same order.

        Raises StorageError when nothing of them was stored.
        """
        waiter: asyncio.Future[list[Record]] = asyncio.get_running_loop().create_future()

        def told(_: Any, outcome: Outcome | BaseException, start: int) -> None:
            # Whoever has left meanwhile is told nothing.
            if waiter.done():
                return
            if isinstance(outcome, BaseException):
                waiter.set_exception(outcome)
            else:
                waiter.set_result([outcome.of(start + place) for place in range(len(entries))])

        self.enter(entries, told)
        return await waiter

    def enter(self, entries: Sequence[Entry], told: Told, about: Any = None) -> None:
        """As `append`, for who cannot wait; callers are told in the order in which they entered, also those
        of nothing.
        """
        gathered = self._gathered
        if gathered is None:
            gathered = self._gathered = _Gathered()
            if not self._writing:
                self._gather()
        together = gathered.entries
        gathered.waiters.append((told, about, len(together)))
        together += entries
        if len(together) >= self.at_once and self._timer is not None:
            self._timer.cancel()
            self._begin()

    def _begin(self) -> None:
        """Write what has come together; meanwhile others gather for the next write."""
        gathered, self._gathered, self._timer = self._gathered, None, None
        if gathered is not None:
            self._writing = True
            self._write(gathered.entries, partial(self._written, gathered))

    def _written(self, gathered: "_Gathered", outcome: Outcome | None, error: BaseException | None) -> None:
        apart: Iterable[_Gathered] = ()
        try:
            if outcome is not None:
                gathered.settle(outcome)
            elif isinstance(error, IntegrityError) and len(gathered.waiters) > 1:
                # One caller's entries cannot be stored, and the others must not suffer for it.
                apart = gathered.apart()
            else:
                gathered.fail(error or asyncio.CancelledError())
        finally:
            self._go_on(iter(apart))

    def _go_on(self, apart: "Iterator[_Gathered]") -> None:
        """Write what is to be written apart, then what has gathered meanwhile."""
        alone = next(apart, None)
        if alone is not None:
            self._write(alone.entries, partial(self._written_apart, alone, apart))
            return
        self._writing = False
        if self._gathered is not None:
            self._gather()

    def _written_apart(
        self,
        alone: "_Gathered",
        others: "Iterator[_Gathered]",
        outcome: Outcome | None,
        error: BaseException | None,
    ) -> None:
        try:
            if outcome is not None:
                alone.settle(outcome)
            else:
                alone.fail(error or asyncio.CancelledError())
        finally:
            self._go_on(others)

    def _gather(self) -> None:
        """Wait for others before what there is is written, unless it is enough."""
        loop = asyncio.get_running_loop()
        if self._gathered is not None and len(self._gathered.entries) >= self.at_once:
            self._timer = loop.call_soon(self._begin)
        else:
            self._timer = loop.call_later(self.gather_s, self._begin)

    def _write(
        self, entries: list[Entry], done: Callable[[Outcome | None, BaseException | None], None]
    ) -> None:
        now = int(self._clock() * 1000)
        register, roll = self._register, self._roll
        self.on_write()

        def write(connection: Connection) -> tuple[Outcome, int]:
            return ledger_rows.append(connection, register, roll, entries, now=now)

        try:
            self._database.submit(write, partial(self._stored, done))
        except BaseException as error:
            asyncio.get_running_loop().call_soon(done, None, error)
            if not isinstance(error, StorageError):
                raise

    def _stored(
        self,
        done: Callable[[Outcome | None, BaseException | None], None],
        result: tuple[Outcome, int] | None,
        error: BaseException | None,
    ) -> None:
        if result is None or error is not None:
            done(None, error)
            return
        outcome, last = result
        self._register.confirm(last)
        self._roll.confirm(last)
        if self._roll.price.shift != self.shift:
            self.shift = self._roll.price.shift
            self.metrics.shift.set(self.shift)
            _log.debug("a shift is open", extra={"shift": self.shift})
        if last > self.last_seq:
            self.last_seq = last
            self.metrics.seq.set(last)
            self.grown.set()
        records = outcome.records or ()
        new = sum(record.seq == 0 and record.fate is Fate.RECORDED for record in records)
        if new:
            self.metrics.unattributed.inc(new)
        done(outcome, None)

    async def rows_after(self, seq: int, limit: int) -> list[LedgerRow]:
        """The rows that follow `seq`, at most `limit` and all of one shift and price."""
        return await self._database.read(lambda connection: ledger_rows.rows_after(connection, seq, limit))

    async def refuse(self, refusals: Iterable[tuple[int, CreditCode]]) -> None:
        """Keep which rows the mint refused; a row that is known to be refused stays as it is."""
        now = int(self._clock() * 1000)
        rows = [(seq, int(code), now) for seq, code in refusals]
        added = await self._database.write(lambda connection: ledger_rows.refuse(connection, rows))
        self.metrics.refused.inc(added)

    async def begin_in(self, shift: int) -> None:
        """Have a ledger of which the mint has nothing yet begin in the shift where the mint wants it to."""
        await self._database.write(lambda connection: ledger_rows.begin_in(connection, self._roll, shift))
        self.shift = await self._database.read(ledger_rows.open_shift)
        self.metrics.shift.set(self.shift)


def _nothing() -> None:
    """Nobody has."""
