"""One server that a client may use, and how it has done so far; how it is reached and set up is its opener's
business, as SV2's mining client and SV1's trunks do that each in its way.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from protocols.sv2.errors import Sv2Error
from roles.runtime.backoff import Backoff
from roles.runtime.errors import ConnectionLost
from roles.stratum.client_metrics import ConnectionMetrics
from roles.stratum.errors import UpstreamUnusable
from roles.stratum.pulse import Habits
from roles.stratum.upstream_meters import UpstreamMeters, UpstreamState

__all__ = ["LOSSES", "Closable", "Link", "PreferenceTiming", "Upstream"]

MOST_CAUTION = 16
SHORT_PAUSE_S = 0.2
PASSED_OVER_S = 3_600.0

LOSSES = (ConnectionLost, Sv2Error, UpstreamUnusable, OSError, TimeoutError)
"""What ends a connection with an upstream or keeps it from being made; reported, then retried."""

_log = logging.getLogger(__name__)


class Closable(Protocol):
    """A connection that has been set up, in whatever protocol."""

    def close(self) -> None:
        """End it; harmless when it has ended."""


C = TypeVar("C", bound=Closable)


@dataclass(slots=True)
class PreferenceTiming:
    """In seconds: how long a connection lives at least that is called stable; and of several upstreams: how
    much later the next one is tried while one does not answer, how long one is watched that is back before it
    is used again (None: it is not), and how often it is looked at meanwhile.
    """

    stable: float = 10.0
    head_start: float = 1.0
    failback: float | None = 120.0
    check: float = 5.0


@dataclass(frozen=True, slots=True)
class Link(Generic[C]):
    """A connection that has been set up with one of several upstreams."""

    upstream: "Upstream[C]"
    opened: C

    def close(self) -> None:
        """End it."""
        self.opened.close()


class Upstream(Generic[C]):
    """A server, and what is remembered of it; `open` connects and sets up, or raises one of LOSSES.

    `failure` says for people why there is no connection. `suspect_since` is when it was last lost soon, or
    for giving no channels, so that others are tried before it; 0 if it did well. `caution` is by how much
    longer it has to prove itself. Passed over is one that grants too little for miners that are here.
    """

    def __init__(
        self,
        name: str,
        open: Callable[[], Awaitable[C]],
        *,
        backoff: Backoff,
        timing: PreferenceTiming,
        metrics: ConnectionMetrics,
        meters: UpstreamMeters | None,
    ) -> None:
        self.name = name
        self.failure = "not connected yet"
        self.state = UpstreamState.IDLE
        self.since = time.time()
        """When it came into its state, in Unix seconds."""
        self.turns = 0
        """Times that it became the one mined at."""
        self.suspect_since = 0.0
        self.caution = 1
        self.habits = Habits()
        self._open = open
        self._backoff = backoff
        self._timing = timing
        self._metrics = metrics
        self._meters = meters
        self._not_before = 0.0
        self._passed_over_until = 0.0
        if meters is not None:
            meters.enter(self.name, self.state)

    @property
    def is_passed_over(self) -> bool:
        """Whether it grants too little for miners that are here."""
        return asyncio.get_running_loop().time() < self._passed_over_until

    def pass_over(self) -> None:
        """Try it last for the next hour."""
        self._passed_over_until = asyncio.get_running_loop().time() + PASSED_OVER_S

    def enter(self, state: UpstreamState) -> None:
        """Note what it is to us now."""
        if state is not self.state:
            self.state = state
            self.since = time.time()
            self.turns += state is UpstreamState.ACTIVE
            if self._meters is not None:
                self._meters.enter(self.name, state)

    def active(self) -> None:
        """It is mined at from now on."""
        self.failure = ""
        self._metrics.connects.inc()
        self._metrics.connected.set(1)
        self.enter(UpstreamState.ACTIVE)
        _log.info("the upstream is there", extra={"upstream": self.name})

    def shares(self, result: str, count: int) -> None:
        """Count shares that it accepted or rejected, or whose fate is unknown."""
        if self._meters is not None and count:
            self._meters.shares.labels(self.name, result).inc(count)

    def failed(self, error: Exception) -> None:
        """A connection was lost or could not be made."""
        reason = str(error) or type(error).__name__
        # Said once; a hundred attempts that fail alike are no news.
        level = logging.DEBUG if reason == self.failure else logging.WARNING
        self.failure = reason
        self._not_before = asyncio.get_running_loop().time() + self._backoff.next()
        cause = type(error).__name__
        self._metrics.failures.labels(cause).inc()
        if self._meters is not None:
            self._meters.failures.labels(self.name, cause).inc()
        self.enter(UpstreamState.AWAY)
        _log.log(level, "the upstream is away", extra={"reason": reason, "upstream": self.name})

    def lost(self, error: Exception, lived_s: float) -> None:
        """It was mined at for so long, and is no more."""
        is_stable = lived_s >= self._timing.stable
        if is_stable:
            self._backoff.reset()
        self.failed(error)
        is_suspect = not is_stable or isinstance(error, UpstreamUnusable)
        self.suspect_since = asyncio.get_running_loop().time() if is_suspect else 0.0
        self.caution = min(MOST_CAUTION, self.caution * 2) if is_suspect else 1

    async def reach(self, gives_way: Callable[[], None], failed: Callable[[], None]) -> Link[C]:
        """Connect, as often as it takes, with growing pauses; `failed` is called after each failure.

        `gives_way` is called where it failed so often that others need not wait for it.
        """
        while True:
            pause = self._not_before - asyncio.get_running_loop().time()
            if pause > SHORT_PAUSE_S:
                gives_way()
            if pause > 0:
                await asyncio.sleep(pause)
            try:
                return await self.connect()
            except LOSSES as error:
                self.failed(error)
                failed()

    async def connect(self) -> Link[C]:
        """Connect once; raises one of LOSSES."""
        return Link(self, await self._open())
