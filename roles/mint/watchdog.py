"""Compares the ledger's counters with its rows while the mint serves, and stops issuing when they differ.

Every `every_s` seconds what is new is counted and compared; every `recount_h` hours all rows are counted
again, in small batches with pauses between them, so that nobody notices. A difference is looked at once more
from the first row on before it counts. A stop stays, over restarts, until the operator clears it.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge

from roles.mint.accounts import ACCOUNTS, AUDITS, Difference, Inspection, Tally
from roles.mint.errors import StillDifferent
from roles.mint.halts import WATCHDOG, Halts
from roles.mint.stocktaking import Stocktaking
from roles.runtime.errors import StorageError
from roles.runtime.storage import Database
from shared_config.mint import WatchdogSettings

_HASTE = 0.5
"""The part of the time that a recount may take which somebody waits for."""
_SHOWN = 5

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Meter:
    registry: CollectorRegistry
    rows: Counter = field(init=False)
    differences: Gauge = field(init=False)
    checked: Gauge = field(init=False)
    recounted: Gauge = field(init=False)

    def __post_init__(self) -> None:
        self.rows = Counter(
            "hashpool_mint_watchdog_rows", "Rows, or numbers of rows, counted.", registry=self.registry
        )
        self.differences = Gauge(
            "hashpool_mint_watchdog_differences",
            "Counters that are not the sum of their rows, at the last check.",
            registry=self.registry,
        )
        self.checked = Gauge(
            "hashpool_mint_watchdog_checked", "Unix time of the last check.", registry=self.registry
        )
        self.recounted = Gauge(
            "hashpool_mint_watchdog_recounted",
            "Unix time at which all rows had been counted again.",
            registry=self.registry,
        )


@dataclass(slots=True)
class _Count:
    """All accounts and audits as far as they have been counted."""

    tallies: list[Tally] = field(default_factory=lambda: [Tally(account) for account in ACCOUNTS])
    inspections: list[Inspection | Stocktaking] = field(
        default_factory=lambda: [*(Inspection(audit) for audit in AUDITS), Stocktaking()]
    )


class Watchdog:
    """Watches one store; `clock` gives Unix seconds."""

    def __init__(
        self,
        database: Database,
        halts: Halts,
        settings: WatchdogSettings,
        registry: CollectorRegistry,
        alarm: Callable[[str, str], None],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._halts = halts
        self._settings = settings
        self._meter = _Meter(registry)
        self._alarm = alarm
        self._clock = clock
        self._count = _Count()
        self.differences: tuple[Difference, ...] = ()
        """What the last check found."""
        self.checked_at: int | None = None
        """When that was."""
        self.recounted_at: int | None = None
        """When all rows had been counted again."""

    @property
    def is_on(self) -> bool:
        """Whether it watches at all."""
        return self._settings.every_s > 0

    async def run(self) -> None:
        """Check again and again, until cancelled."""
        if not self.is_on:
            _log.warning("the watchdog is off", extra={"setting": "watchdog.every_s"})
            return
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._repeat(self.check, self._settings.every_s))
            if self._settings.recount_h:
                tasks.create_task(self._recount_now_and_then())

    async def check(self) -> Sequence[Difference]:
        """Count what is new and compare; stops the mint where something differs. Raises StorageError."""
        found = await self._compare(self._count, self._settings.duty)
        if found:
            # Counted afresh it may agree: what was remembered of former rows is no proof.
            return await self.recount()
        if not self.differences:
            # What was found before stays until all is counted again.
            self._conclude(found)
        return self.differences

    async def recount(self, duty: float = _HASTE) -> Sequence[Difference]:
        """Count all rows from the first on and compare, as `check` does; `duty` is the part of the time that
        it takes. Raises StorageError.
        """
        count = _Count()
        found = await self._compare(count, duty)
        self._count = count
        self.recounted_at = int(self._clock())
        self._meter.recounted.set(self.recounted_at)
        self._conclude(found)
        if found:
            await self._stop(found)
        return found

    async def clear(self, reason: str) -> bool:
        """Let the mint go on after a stop; False when there is none. Raises StillDifferent, StorageError."""
        if self.is_on and (found := await self.recount()):
            raise StillDifferent(
                f"the books still differ: {_text(found)}",
                hint="restore the store from a backup, or mend the rows; then clear again",
            )
        return await self._halts.release(WATCHDOG, reason, "clear")

    async def _recount_now_and_then(self) -> None:
        pause_s = self._settings.recount_h * 3600
        await asyncio.sleep(pause_s)
        await self._repeat(lambda: self.recount(self._settings.duty), pause_s)

    async def _repeat(self, work: Callable[[], Awaitable[object]], pause_s: float) -> None:
        while True:
            try:
                await work()
            except StorageError as error:
                _log.warning("the books cannot be checked now", extra={"reason": str(error)})
            await asyncio.sleep(pause_s)

    async def _compare(self, count: _Count, duty: float) -> list[Difference]:
        found: list[Difference] = []
        for inspection in count.inspections:
            passed = 1
            while passed:
                began = time.perf_counter()
                passed, faults = await self._database.read(inspection.advance)
                found += faults
                await self._pause(passed, began, duty)
        for tally in count.tallies:
            differences = None
            while differences is None:
                passed = 1
                while passed:
                    began = time.perf_counter()
                    passed = await self._database.read(tally.advance)
                    await self._pause(passed, began, duty)
                differences = await self._database.read(tally.differences)
            found += differences
        return found

    async def _pause(self, passed: int, began: float, duty: float) -> None:
        if passed:
            self._meter.rows.inc(passed)
            await asyncio.sleep((time.perf_counter() - began) * (1 / duty - 1))

    def _conclude(self, found: Sequence[Difference]) -> None:
        self.differences = tuple(found)
        self.checked_at = int(self._clock())
        self._meter.checked.set(self.checked_at)
        self._meter.differences.set(len(found))

    async def _stop(self, found: Sequence[Difference]) -> None:
        if await self._halts.stop(WATCHDOG, f"the books differ: {_text(found)}", "stop"):
            hint = "docs/mint-operations.md says how to find out why; `hashpool mint watchdog clear` goes on"
            self._alarm("watchdog", f"the books differ, issuing is stopped: {_text(found)} ({hint})")


def _text(found: Sequence[Difference]) -> str:
    shown = "; ".join(str(each) for each in found[:_SHOWN])
    return shown if len(found) <= _SHOWN else f"{shown}; and {len(found) - _SHOWN} more"
