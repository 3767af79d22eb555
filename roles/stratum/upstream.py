"""One server that the mining client may use: how it is reached and set up, and how it has done so far."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from protocols.sv2.errors import Sv2Error
from protocols.sv2.setup import ClientSetup
from roles.runtime.backoff import Backoff
from roles.runtime.errors import ConnectionLost
from roles.stratum.client_metrics import ClientMetrics
from roles.stratum.connection import FrameConnection
from roles.stratum.errors import UpstreamUnusable
from roles.stratum.mining_session import SessionTiming
from roles.stratum.mining_setup import ClientIdentity, negotiate_extensions, set_up
from roles.stratum.pulse import Habits
from roles.stratum.upstream_channel import Adapt, OpenTerms
from roles.stratum.upstream_meters import UpstreamMeters, UpstreamState

__all__ = ["GRANT_CHANCES", "LOSSES", "ClientTiming", "Demands", "Link", "Server", "Upstream"]

GRANT_CHANCES = 3
"""Connections on which an upstream may fail to grant what it granted before, until it is used without."""
MOST_CAUTION = 16
SHORT_PAUSE_S = 0.2
PASSED_OVER_S = 3_600.0

LOSSES = (ConnectionLost, Sv2Error, UpstreamUnusable, OSError, TimeoutError)
"""What ends a connection with an upstream or keeps it from being made; reported, then retried."""

Dial = Callable[[], Awaitable[FrameConnection]]

_log = logging.getLogger(__name__)


def _as_it_is(terms: OpenTerms, _extensions: frozenset[int]) -> OpenTerms:
    return terms


@dataclass(slots=True)
class ClientTiming:
    """Bounds on waiting, in seconds; how long a connection lives at least that is called stable; and of
    several upstreams: how much later the next one is tried while one does not answer, how long one is watched
    that is back before it is used again (None: it is not), and how often it is looked at meanwhile.
    """

    connect: float = 10.0
    setup: float = 10.0
    extensions: float = 2.0
    stable: float = 10.0
    head_start: float = 1.0
    failback: float | None = 120.0
    check: float = 5.0
    trial: float = 5.0
    session: SessionTiming = field(default_factory=SessionTiming)


@dataclass(frozen=True, slots=True)
class Server:
    """Where an upstream is; `dial` makes a connection with the Noise handshake done, `name` tells it from
    others in metrics. `adapt` says what it is to be asked for instead of what the owner of a channel wants.
    """

    dial: Dial
    identity: ClientIdentity
    name: str = ""
    adapt: Adapt = _as_it_is


@dataclass(frozen=True, slots=True)
class Demands:
    """What is asked of every upstream; with `insist` one that lacks an extension counts as failed."""

    extensions: tuple[int, ...]
    insist: bool
    flags: int


@dataclass(frozen=True, slots=True)
class Link:
    """A connection that has been set up, and the extensions that it has."""

    upstream: "Upstream"
    connection: FrameConnection
    extensions: frozenset[int]


class Upstream:
    """A server, and what is remembered of it.

    `failure` says for people why there is no connection. `suspect_since` is when it was last lost soon, or
    for giving no channels, so that others are tried before it; 0 if it did well. `caution` is by how much
    longer it has to prove itself. Passed over is one that grants too little for miners that are here.
    """

    def __init__(
        self,
        server: Server,
        demands: Demands,
        *,
        backoff: Backoff,
        timing: ClientTiming,
        metrics: ClientMetrics,
        meters: UpstreamMeters | None,
    ) -> None:
        self.name = server.name or server.identity.where
        self.failure = "not connected yet"
        self.state = UpstreamState.IDLE
        self.since = time.time()
        """When it came into its state, in Unix seconds."""
        self.turns = 0
        """Times that it became the one mined at."""
        self.suspect_since = 0.0
        self.caution = 1
        self.habits = Habits()
        self.server = server
        self._demands = demands
        self._backoff = backoff
        self._timing = timing
        self._metrics = metrics
        self._meters = meters
        self._not_before = 0.0
        self._plain_once = False
        self._granted: frozenset[int] = frozenset()
        self._ungranted = 0
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

    async def reach(self, gives_way: Callable[[], None], failed: Callable[[], None]) -> Link:
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

    async def connect(self) -> Link:
        """Connect once; raises one of LOSSES."""
        async with asyncio.timeout(self._timing.connect):
            connection = await self.server.dial()
        try:
            granted = await self._set_up(connection)
        except BaseException:
            connection.close()
            raise
        return Link(self, connection, granted)

    async def _set_up(self, connection: FrameConnection) -> frozenset[int]:
        wanted = () if self._plain_once else self._demands.extensions
        needed = frozenset(self._demands.extensions) if self._demands.insist else frozenset()
        if self._ungranted < GRANT_CHANCES:
            needed |= self._granted
        self._plain_once = False
        setup = ClientSetup(self.server.identity.setup(self._demands.flags), extensions=wanted)
        await set_up(connection, setup, self._timing.setup)
        try:
            granted = await negotiate_extensions(connection, setup, needed, self._timing.extensions)
        except (ConnectionLost, Sv2Error, UpstreamUnusable):
            self._ungranted += 1
            # Some servers hang up on a message that they do not know, or answer with something else.
            self._plain_once = not needed
            raise
        self._granted, self._ungranted = granted, 0
        return granted
