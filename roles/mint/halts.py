"""What the mint does not do for now: all issuing, a method or a unit, by an operator or by the watchdog.

A halt is a row, so it holds over restarts and in every process of the mint; each looks once a second. Tokens
are still checked and restored, rows of pools still become quotes, and a request that was carried out before
is still answered as it was.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from protocols.cashu.errors import MintingDisabledError
from roles.mint import journal
from roles.runtime.errors import StorageError
from roles.runtime.readiness import Readiness
from roles.runtime.storage import Connection, Database

ISSUING: Final = "issuing"
WATCHDOG: Final = "watchdog"
LOOK_S: Final = 1.0

_ALL: Final = (WATCHDOG, ISSUING)
_log = logging.getLogger(__name__)


def method_scope(method: str) -> str:
    """The scope that is one method: its quotes, and minting and melting by it."""
    return f"method:{method}"


def unit_scope(unit: str) -> str:
    """The scope that is one unit: nothing of it is signed."""
    return f"unit:{unit.lower()}"


@dataclass(frozen=True, slots=True)
class Halt:
    """One thing that is stopped, why, and since when in Unix seconds."""

    scope: str
    reason: str
    since: int


class Halts:
    """The halts of a mint as they stand in its store; empty until `refresh`."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock
        self._halts: Mapping[str, Halt] = {}

    @property
    def current(self) -> tuple[Halt, ...]:
        """All that is stopped, the oldest first."""
        return tuple(sorted(self._halts.values(), key=lambda halt: (halt.since, halt.scope)))

    @property
    def stops_all(self) -> Halt | None:
        """Why nothing at all is signed; None when something may be."""
        return next((self._halts[scope] for scope in _ALL if scope in self._halts), None)

    def check(self, unit: str, method: str | None = None) -> None:
        """Raises MintingDisabledError where tokens of a unit, or quotes of a method, are not to be made."""
        if not self._halts:
            return
        if self.stops_all is not None:
            raise MintingDisabledError("the mint issues nothing at the moment")
        if unit_scope(unit) in self._halts:
            raise MintingDisabledError("the mint issues nothing of this unit at the moment")
        if method is not None and method_scope(method) in self._halts:
            raise MintingDisabledError("the mint has paused this method")

    async def refresh(self) -> None:
        """See what stands in the store; raises StorageError."""
        self._take(await self._database.read(_load))

    async def stop(self, scope: str, reason: str, action: str = "pause") -> bool:
        """Stop something, here at once; False, and the old reason stays, when it was stopped already."""
        now = int(self._clock())
        self._take({**self._halts, scope: self._halts.get(scope, Halt(scope, reason, now))})
        begun = await self._database.write(lambda c: _begin(c, scope, reason, now, action))
        await self.refresh()
        return begun

    async def release(self, scope: str, reason: str, action: str = "resume") -> bool:
        """Let something go on; False when it was not stopped."""
        now = int(self._clock())
        ended = await self._database.write(lambda c: _end(c, scope, reason, now, action))
        await self.refresh()
        return ended

    def declare(self, readiness: Readiness) -> None:
        """Name the conditions that `follow` keeps."""
        for condition in _ALL:
            readiness.declare(condition)

    async def follow(self, readiness: Readiness) -> None:
        """Keep up with the store, and say in `readiness` what is stopped, until cancelled."""
        while True:
            try:
                await self.refresh()
            except StorageError as error:
                _log.debug("halts cannot be read: %s", error)
            self._tell(readiness)
            await asyncio.sleep(LOOK_S)

    def _tell(self, readiness: Readiness) -> None:
        for condition in _ALL:
            halt = self._halts.get(condition)
            if halt is None:
                readiness.met(condition)
            else:
                readiness.unmet(condition, f"stopped: {halt.reason}")
        parts = [halt for halt in self.current if halt.scope not in _ALL]
        readiness.note(ISSUING, "; ".join(f"{halt.scope} is paused: {halt.reason}" for halt in parts))

    def _take(self, halts: Mapping[str, Halt]) -> None:
        for scope in halts.keys() - self._halts.keys():
            _log.warning("stopped", extra={"scope": scope, "reason": halts[scope].reason})
        for scope in self._halts.keys() - halts.keys():
            _log.warning("going on", extra={"scope": scope})
        self._halts = halts


def _load(connection: Connection) -> dict[str, Halt]:
    rows = connection.execute("SELECT scope, reason, since FROM halt").fetchall()
    return {row["scope"]: Halt(row["scope"], row["reason"], row["since"]) for row in rows}


def _begin(connection: Connection, scope: str, reason: str, now: int, action: str) -> bool:
    row = connection.execute(
        "INSERT INTO halt (scope, reason, since) VALUES (?, ?, ?) ON CONFLICT DO NOTHING RETURNING scope",
        (scope, reason, now),
    ).fetchone()
    if row is not None:
        journal.record(connection, now, action, scope, reason)
    return row is not None


def _end(connection: Connection, scope: str, reason: str, now: int, action: str) -> bool:
    row = connection.execute("DELETE FROM halt WHERE scope = ? RETURNING scope", (scope,)).fetchone()
    if row is not None:
        journal.record(connection, now, action, scope, reason)
    return row is not None
