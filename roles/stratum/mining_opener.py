"""How the SV2 mining client opens a connection with a server: dials, sets up, and is granted extensions."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from protocols.sv2.errors import Sv2Error
from protocols.sv2.setup import ClientSetup
from roles.runtime.errors import ConnectionLost
from roles.stratum.connection import FrameConnection
from roles.stratum.errors import UpstreamUnusable
from roles.stratum.mining_session import SessionTiming
from roles.stratum.mining_setup import ClientIdentity, negotiate_extensions, set_up
from roles.stratum.upstream import PreferenceTiming
from roles.stratum.upstream_channel import Adapt, OpenTerms

__all__ = ["GRANT_CHANCES", "ClientTiming", "Demands", "MiningLink", "MiningOpener", "Server"]

GRANT_CHANCES = 3
"""Connections on which an upstream may fail to grant what it granted before, until it is used without."""

Dial = Callable[[], Awaitable[FrameConnection]]


def _as_it_is(terms: OpenTerms, _extensions: frozenset[int]) -> OpenTerms:
    return terms


@dataclass(slots=True)
class ClientTiming(PreferenceTiming):
    """Further bounds on waiting, in seconds: for a connection, its set-up, its extensions, and for channels
    that move to another upstream.
    """

    connect: float = 10.0
    setup: float = 10.0
    extensions: float = 2.0
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

    @property
    def label(self) -> str:
        """What it is called."""
        return self.name or self.identity.where


@dataclass(frozen=True, slots=True)
class Demands:
    """What is asked of every upstream; with `insist` one that lacks an extension counts as failed."""

    extensions: tuple[int, ...]
    insist: bool
    flags: int


@dataclass(frozen=True, slots=True)
class MiningLink:
    """A connection that has been set up, the extensions that it has, and whose it is."""

    server: Server
    connection: FrameConnection
    extensions: frozenset[int]

    def close(self) -> None:
        """End it."""
        self.connection.close()


class MiningOpener:
    """Opens connections with one server, and remembers what it granted before."""

    def __init__(self, server: Server, demands: Demands, timing: ClientTiming) -> None:
        self._server = server
        self._demands = demands
        self._timing = timing
        self._plain_once = False
        self._granted: frozenset[int] = frozenset()
        self._ungranted = 0

    async def open(self) -> MiningLink:
        """Connect once; raises one of LOSSES."""
        async with asyncio.timeout(self._timing.connect):
            connection = await self._server.dial()
        try:
            granted = await self._set_up(connection)
        except BaseException:
            connection.close()
            raise
        return MiningLink(self._server, connection, granted)

    async def _set_up(self, connection: FrameConnection) -> frozenset[int]:
        wanted = () if self._plain_once else self._demands.extensions
        needed = frozenset(self._demands.extensions) if self._demands.insist else frozenset()
        if self._ungranted < GRANT_CHANCES:
            needed |= self._granted
        self._plain_once = False
        setup = ClientSetup(self._server.identity.setup(self._demands.flags), extensions=wanted)
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
