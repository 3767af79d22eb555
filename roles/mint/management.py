"""Carries out what is ordered at the mint's local socket.

Each change is journaled in the write that makes it, and logged.
"""

import logging
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, assert_never

from protocols.cashu.subscription import mint_quote_kind
from roles.mint import journal, repair, rotation
from roles.mint.errors import PauseRefused, RepairRefused
from roles.mint.halts import WATCHDOG, Halts
from roles.mint.info import version_text
from roles.mint.melting.resolution import Resolution
from roles.mint.notice_board import NoticeBoard
from roles.mint.orders import (
    AnyOrder,
    Backup,
    BackupTold,
    Clear,
    CorrectQuote,
    DoneTold,
    EntryTold,
    HaltTold,
    JournalTold,
    Keysets,
    KeysetsTold,
    KeysetTold,
    LookAtQuote,
    LookAtWatchdog,
    MeltTold,
    Pause,
    QuoteTold,
    ReadJournal,
    Recount,
    ResolveMelt,
    Resume,
    Rotate,
    RotateTold,
    Status,
    StatusTold,
    Told,
    WatchdogTold,
    read_order,
)
from roles.mint.seed import MintSeed
from roles.mint.store import SEED_NAME
from roles.mint.watchdog import Watchdog
from roles.runtime.local_socket import Tell
from roles.runtime.readiness import Readiness
from roles.runtime.storage import Connection, Database

SOCKET_NAME: Final = "control.sock"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Bench:
    """The parts of a mint that an operator can reach; `book_changed` has the keysets read again,
    `quotes_changed` lets go of quotes that are known without the store.
    """

    database: Database
    seed: MintSeed
    halts: Halts
    watchdog: Watchdog
    readiness: Readiness
    url: str
    directory: Path
    methods: Sequence[str]
    board: NoticeBoard
    melts: Resolution | None
    book_changed: Callable[[], Awaitable[None]]
    clock: Callable[[], float] = time.time
    quotes_changed: Callable[[Sequence[str]], None] | None = None


class Management:
    """Answers orders."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._started = time.monotonic()

    async def answer(self, line: bytes, _tell: Tell = lambda _: None) -> bytes:
        """The answer to a line; raises OperatorError."""
        order = read_order(line)
        told = await self._carry_out(order)
        return told.model_dump_json().encode()

    async def _carry_out(self, order: AnyOrder) -> Told:
        bench = self._bench
        match order:
            case Status():
                return await self._status()
            case Keysets():
                return await bench.database.read(lambda c: _keysets(c, order.unit, order.limit))
            case Rotate():
                return await self._rotate(order)
            case Pause():
                await self._check_scope(order.scope)
                return DoneTold(changed=await bench.halts.stop(order.scope, order.reason))
            case Resume():
                released = await bench.halts.release(order.scope, order.reason)
                if not released:
                    await self._check_scope(order.scope)
                return DoneTold(changed=released)
            case LookAtQuote():
                return await self._look(order.quote)
            case ResolveMelt():
                return await self._resolve(order)
            case CorrectQuote():
                return await self._correct(order)
            case Backup():
                return await self._backup(Path(order.path))
            case LookAtWatchdog():
                return self._watchdog()
            case Recount():
                await bench.watchdog.recount()
                return self._watchdog()
            case Clear():
                return DoneTold(changed=await bench.watchdog.clear(order.reason))
            case ReadJournal():
                entries = await bench.database.read(lambda c: journal.latest(c, order.limit))
                return JournalTold(entries=[EntryTold.model_validate(entry) for entry in entries])
            case _:
                assert_never(order)

    async def _status(self) -> StatusTold:
        bench = self._bench
        await bench.halts.refresh()
        counts = await bench.database.read(_counts)
        return StatusTold(
            version=version_text(),
            pid=os.getpid(),
            uptime_s=round(time.monotonic() - self._started, 3),
            url=bench.url,
            store=bench.database.name,
            ready=bench.readiness.ready,
            reasons=bench.readiness.reasons,
            notes=bench.readiness.notes,
            halts=[HaltTold.model_validate(halt) for halt in bench.halts.current],
            keysets=counts[0],
            active_keysets=counts[1],
        )

    async def _check_scope(self, scope: str) -> None:
        """A name that is nobody's would stop nothing, or let nothing go on, and seem to."""
        kind, _, name = scope.partition(":")
        bench = self._bench
        if kind == "method" and name not in bench.methods:
            raise PauseRefused(
                f"there is no method {name!r} here", hint=f"there are {', '.join(bench.methods)}"
            )
        if kind == "unit" and not (await bench.database.read(lambda c: _keysets(c, name, 1))).keysets:
            raise PauseRefused(f"there is no unit {name!r} here", hint="`keysets` lists them")

    async def _backup(self, path: Path) -> BackupTold:
        bench = self._bench
        began = time.monotonic()
        size = await bench.database.backup(path)
        took_s = round(time.monotonic() - began, 3)
        detail = f"{size} bytes in {took_s} s"
        await bench.database.write(
            lambda c: journal.record(c, int(bench.clock()), "backup", str(path), detail)
        )
        _log.info("the store was copied", extra={"path": str(path), "bytes": size, "took_s": took_s})
        return BackupTold(
            path=str(path), size_bytes=size, took_s=took_s, secret=str(bench.directory / SEED_NAME)
        )

    def _watchdog(self) -> WatchdogTold:
        watchdog = self._bench.watchdog
        stops = [halt for halt in self._bench.halts.current if halt.scope == WATCHDOG]
        return WatchdogTold(
            on=watchdog.is_on,
            checked_at=watchdog.checked_at,
            recounted_at=watchdog.recounted_at,
            differences=[str(each) for each in watchdog.differences],
            stopped=HaltTold.model_validate(stops[0]) if stops else None,
        )

    async def _rotate(self, order: Rotate) -> RotateTold:
        bench = self._bench
        unit = order.unit.lower()
        fresh = await bench.database.write(
            lambda c: rotation.rotate(
                c,
                bench.seed,
                unit,
                fee_ppk=order.fee_ppk,
                final_expiry=order.final_expiry,
                now=int(bench.clock()),
            )
        )
        await bench.book_changed()
        _log.warning("a keyset was rotated", extra={"unit": unit, "keyset": fresh.keyset_id})
        return RotateTold(
            unit=unit,
            keyset_id=fresh.keyset_id,
            input_fee_ppk=fresh.input_fee_ppk,
            final_expiry=order.final_expiry,
        )

    async def _look(self, quote_id: str) -> QuoteTold | MeltTold:
        melts = self._bench.melts
        melt = None if melts is None else await melts.look(quote_id)
        if melt is None:
            return await self._bench.database.read(lambda c: repair.look(c, quote_id))
        return MeltTold(
            quote=melt.quote_id,
            kind="melt",
            method=melt.method,
            unit=melt.unit,
            state=melt.state,
            amount=melt.amount,
            fee_reserve=melt.fee_reserve,
            payment_hash=melt.payment_hash.hex(),
            sent_at=melt.sent_at,
            updated_at=melt.updated_at,
        )

    async def _resolve(self, order: ResolveMelt) -> DoneTold:
        melts = self._bench.melts
        if melts is None:
            raise RepairRefused("nothing is paid by this mint", hint="[bolt11] is off")
        changed = await melts.resolve(
            order.quote,
            order.outcome,
            order.reason,
            preimage=None if order.preimage is None else bytes.fromhex(order.preimage),
            routing_msat=order.routing_msat,
            unasked=order.unasked,
        )
        return DoneTold(changed=changed)

    async def _correct(self, order: CorrectQuote) -> DoneTold:
        bench = self._bench
        if bench.quotes_changed is not None:
            bench.quotes_changed([order.quote])
        changed = await bench.database.write(
            lambda c: repair.correct(c, order.quote, order.amount_paid, order.reason, int(bench.clock()))
        )
        if changed:
            _log.warning("a quote was corrected", extra={"reason": order.reason})
            told = await self._look(order.quote)
            bench.board.post(mint_quote_kind(told.method), [told.quote])
        return DoneTold(changed=changed)


def _counts(connection: Connection) -> tuple[int, int]:
    row = connection.execute("SELECT count(*) AS total, sum(active) AS active FROM keyset").fetchone()
    return int(row["total"]), int(row["active"] or 0)


def _keysets(connection: Connection, unit: str | None, limit: int) -> KeysetsTold:
    rows = connection.execute(
        "SELECT keyset_id, unit, active, input_fee_ppk, final_expiry, created_at, issued, redeemed"
        " FROM keyset WHERE unit = coalesce(?, unit) ORDER BY keyset_no DESC LIMIT ?",
        (unit, limit),
    ).fetchall()
    total = connection.execute(
        "SELECT count(*) AS total FROM keyset WHERE unit = coalesce(?, unit)", (unit,)
    ).fetchone()["total"]
    told = [
        KeysetTold(
            keyset_id=row["keyset_id"],
            unit=row["unit"],
            active=bool(row["active"]),
            input_fee_ppk=row["input_fee_ppk"],
            final_expiry=row["final_expiry"],
            created_at=row["created_at"],
            issued=row["issued"],
            redeemed=row["redeemed"],
        )
        for row in rows
    ]
    return KeysetsTold(keysets=told, more=total - len(told))
