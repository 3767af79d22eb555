"""The SV2 mining client: one connection to an upstream, kept alive, with any number of channels on it.

How to use it::

    client = MiningClient(dial, ClientIdentity("127.0.0.1", 34254, device="proxy"), extensions=(0x4548,),
                          catalogue=MINING.with_messages(*MINING_MESSAGES))
    channel = client.open(owner)          # any time, connected or not; owner is a ChannelOwner
    task_group.create_task(client.run())  # connects, sets up, reconnects with backoff, until cancelled

A channel is a wish: the client opens it whenever it has a connection and again after every loss, and asks
the owner each time on which terms. The owner hears `opened`, then the messages for its channel in order,
then `lost` or `refused`, then `opened` again; and each share that it submits is settled exactly once:
accepted, refused with the upstream's code, or lost when channel or connection ended first. Messages to a
group go to each of its members.

What to do with shares during a gap, how long to hold miners and when to give up is the owner's business.
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry

from protocols.sv2.codec import MINING, Catalogue
from protocols.sv2.errors import Sv2Error
from protocols.sv2.setup import ClientSetup
from roles.runtime.backoff import Backoff
from roles.runtime.errors import ConnectionLost
from roles.stratum.client_metrics import ClientMetrics
from roles.stratum.connection import FrameConnection
from roles.stratum.errors import ChannelsFull, UpstreamUnusable
from roles.stratum.mining_session import MiningSession, SessionTiming
from roles.stratum.mining_setup import ClientIdentity, negotiate_extensions, set_up
from roles.stratum.upstream_channel import ChannelOwner, UpstreamChannel

__all__ = ["ClientTiming", "MiningClient"]

GRANT_CHANCES = 3
"""Connections on which an upstream may fail to grant what it granted before, until it is used without."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ClientTiming:
    """Bounds on waiting, in seconds."""

    connect: float = 10.0
    setup: float = 10.0
    extensions: float = 2.0
    stable: float = 10.0
    session: SessionTiming = field(default_factory=SessionTiming)


class MiningClient:
    """Keeps one mining connection and its channels; see the module's text.

    `dial` makes a connection with the Noise handshake done. `extensions` are asked for; with `insist` a
    server that does not grant all of them counts as failed. Else it is used without, though not at once if it
    granted them before: a server in trouble must not cost its miners what hangs on them. `on_change` is
    called with True when the connection is set up, before channels are opened, and with False after each
    failed attempt or loss, when the channels' owners have heard and `failure` says why.
    """

    def __init__(
        self,
        dial: Callable[[], Awaitable[FrameConnection]],
        identity: ClientIdentity,
        *,
        extensions: tuple[int, ...] = (),
        insist: bool = False,
        catalogue: Catalogue = MINING,
        flags: int = 0,
        metrics: ClientMetrics | None = None,
        timing: ClientTiming | None = None,
        backoff: Backoff | None = None,
        on_change: Callable[[bool], None] | None = None,
        channel_limit: int = 10_000,
        submission_limit: int = 1_024,
    ) -> None:
        self._dial = dial
        self._identity = identity
        self._extensions = extensions
        self._needed = frozenset(extensions if insist else ())
        self._catalogue = catalogue
        self._flags = flags
        self._metrics = metrics or ClientMetrics(CollectorRegistry())
        self._timing = timing or ClientTiming()
        self._backoff = backoff or Backoff(first_s=0.1, limit_s=2.0)
        self._on_change = on_change
        self._channel_limit = channel_limit
        self._submission_limit = submission_limit
        self._channels: dict[UpstreamChannel, None] = {}
        self._forgets = self._forget
        self._session: MiningSession | None = None
        self._plain_once = False
        self._granted: frozenset[int] = frozenset()
        self._ungranted = 0
        self._since = math.inf
        self.failure = "not connected yet"
        """Why there is no connection, for people."""

    @property
    def is_connected(self) -> bool:
        """Whether a connection is set up."""
        return self._session is not None

    @property
    def extensions(self) -> frozenset[int]:
        """What the present connection has granted."""
        return self._session.extensions if self._session else frozenset()

    def open(self, owner: ChannelOwner) -> UpstreamChannel:
        """Want a channel from now on until its `close`; raises ChannelsFull."""
        if len(self._channels) >= self._channel_limit:
            raise ChannelsFull(f"{self._channel_limit} channels are open or wanted")
        channel = UpstreamChannel(owner, self._forgets, self._submission_limit)
        self._channels[channel] = None
        if self._session:
            self._session.want(channel)
        return channel

    def _forget(self, channel: UpstreamChannel) -> None:
        self._channels.pop(channel, None)

    async def run(self) -> None:
        """Connect, serve and reconnect until cancelled; errors of the peer are counted and retried."""
        while True:
            self._since = math.inf
            try:
                await self._serve()
            except (ConnectionLost, Sv2Error, UpstreamUnusable, OSError, TimeoutError) as error:
                reason = str(error) or type(error).__name__
                # Said once; a hundred attempts that fail alike are no news.
                level = logging.DEBUG if reason == self.failure else logging.WARNING
                self.failure = reason
                self._metrics.failures.labels(type(error).__name__).inc()
                fields = {"reason": reason, "upstream": self._identity.where}
                _log.log(level, "the upstream is away", extra=fields)
                if self._on_change:
                    self._on_change(False)
            if asyncio.get_running_loop().time() - self._since >= self._timing.stable:
                self._backoff.reset()
            await self._backoff.wait()

    async def _serve(self) -> None:
        async with asyncio.timeout(self._timing.connect):
            connection = await self._dial()
        try:
            granted = await self._set_up(connection)
            session = MiningSession(connection, granted, self._catalogue, self._timing.session, self._metrics)
            self._session = session
            self._since = asyncio.get_running_loop().time()
            self.failure = ""
            self._metrics.connects.inc()
            self._metrics.connected.set(1)
            _log.info("the upstream is there", extra={"upstream": self._identity.where})
            if self._on_change:
                self._on_change(True)
            for channel in tuple(self._channels):
                session.want(channel)
            await session.run()
        finally:
            connection.close()
            self._release()

    async def _set_up(self, connection: FrameConnection) -> frozenset[int]:
        wanted = () if self._plain_once else self._extensions
        needed = self._needed | (self._granted if self._ungranted < GRANT_CHANCES else frozenset())
        self._plain_once = False
        setup = ClientSetup(self._identity.setup(self._flags), extensions=wanted)
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

    def _release(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            self._metrics.connected.set(0)
            session.end()
