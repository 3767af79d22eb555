"""The SV2 mining client: one upstream at a time, kept alive, with any number of channels on it.

How to use it::

    client = MiningClient(Server(dial, ClientIdentity("127.0.0.1", 34254, device="proxy")),
                          extensions=(0x4548,), catalogue=MINING.with_messages(*MINING_MESSAGES))
    channel = client.open(owner)          # any time, connected or not; owner is a ChannelOwner
    task_group.create_task(client.run())  # connects, sets up, reconnects with backoff, until cancelled

A channel is a wish: the client opens it whenever it has a connection and again after every loss, and asks
the owner each time on which terms. The owner hears `opened`, then the messages for its channel in order,
then `lost` or `refused`, then `opened` again; and each share that it submits is settled exactly once:
accepted, refused with the upstream's code, or lost when channel or connection ended first. Messages to a
group go to each of its members.

With several servers, the best first, the next is turned to when one is lost. One that comes before is taken
back when it has been there for a while, and channels move over one by one, each when it is open there.

What to do with shares during a gap, how long to hold miners and when to give up is the owner's business.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from protocols.mining.lane import Relay
from protocols.sv2.codec import MINING, Catalogue
from roles.runtime.backoff import Backoff
from roles.stratum.client_metrics import ClientMetrics
from roles.stratum.errors import ChannelsFull, UpstreamUnusable
from roles.stratum.mining_opener import (
    GRANT_CHANCES,
    ClientTiming,
    Demands,
    MiningLink,
    MiningOpener,
    Server,
)
from roles.stratum.mining_session import MiningSession
from roles.stratum.preference import Preference, drop
from roles.stratum.pulse import Habits
from roles.stratum.upstream import LOSSES, Link, Upstream
from roles.stratum.upstream_channel import ChannelOwner, OpenTerms, UpstreamChannel
from roles.stratum.upstream_meters import UpstreamMeters, UpstreamState

__all__ = ["GRANT_CHANCES", "ClientTiming", "MiningClient", "Server"]

LOOK_S = 0.02
"""How often it is looked whether channels have moved to another upstream."""


@dataclass(frozen=True, slots=True)
class _Around:
    """What a session knows of the upstream that it is at, and of others."""

    upstream: Upstream[MiningLink]
    server: Server
    preference: Preference[MiningLink]

    def adapt(self, terms: OpenTerms, extensions: frozenset[int]) -> OpenTerms:
        return self.server.adapt(terms, extensions)

    def has_others(self) -> bool:
        return self.preference.has_others(self.upstream)

    def pass_over(self) -> bool:
        return self.preference.pass_over(self.upstream)

    @property
    def name(self) -> str:
        return self.upstream.name

    @property
    def habits(self) -> Habits:
        return self.upstream.habits

    def shares(self, result: str, count: int) -> None:
        self.upstream.shares(result, count)


@dataclass(frozen=True, slots=True)
class _Stay:
    """A session at an upstream, and its reader."""

    link: Link[MiningLink]
    session: MiningSession
    reading: asyncio.Task[None]

    def check(self) -> Exception | None:
        """Why it was lost, None if it was not; raises whatever else has ended it."""
        if self.reading.cancelled() or not self.reading.done():
            return None
        error = self.reading.exception()
        if error is not None and not isinstance(error, LOSSES):
            raise error
        return error


class MiningClient:
    """Keeps one mining connection and its channels; see the module's text.

    `extensions` are asked for; with `insist` a
    server that does not grant all of them counts as failed. Else it is used without, though not at once if it
    granted them before: a server in trouble must not cost its miners what hangs on them. `on_change` is
    called with True when the connection is set up, before channels are opened, and with False after each
    failed attempt or loss, when the channels' owners have heard and `failure` says why.
    """

    def __init__(
        self,
        *servers: Server,
        extensions: tuple[int, ...] = (),
        insist: bool = False,
        catalogue: Catalogue = MINING,
        flags: int = 0,
        metrics: ClientMetrics | None = None,
        meters: UpstreamMeters | None = None,
        timing: ClientTiming | None = None,
        backoff: Backoff | None = None,
        on_change: Callable[[bool], None] | None = None,
        channel_limit: int = 10_000,
        submission_limit: int = 1_024,
        relay: Relay | None = None,
    ) -> None:
        self._catalogue = catalogue
        self._metrics = metrics or ClientMetrics(CollectorRegistry())
        self._timing = timing or ClientTiming()
        self._on_change = on_change
        self._channel_limit = channel_limit
        self._submission_limit = submission_limit
        self._relay = relay
        self._channels: dict[UpstreamChannel, None] = {}
        self._forgets = self._forget
        self._session: MiningSession | None = None
        self._upstream: Upstream[MiningLink] | None = None
        self._before: Upstream[MiningLink] | None = None
        self.failovers = 0
        """Times that another upstream than before was turned to."""
        demands, pauses = Demands(extensions, insist, flags), backoff or Backoff(first_s=0.1, limit_s=1.0)
        self._preference = Preference(
            [
                Upstream(
                    server.label,
                    MiningOpener(server, demands, self._timing).open,
                    backoff=pauses.another(),
                    timing=self._timing,
                    metrics=self._metrics,
                    meters=meters,
                )
                for server in servers
            ],
            self._timing,
        )

    @property
    def is_connected(self) -> bool:
        """Whether a connection is set up."""
        return self._session is not None

    @property
    def extensions(self) -> frozenset[int]:
        """What the present connection has granted."""
        return self._session.extensions if self._session else frozenset()

    @property
    def upstream(self) -> str:
        """The name of the upstream that is mined at, empty while there is none."""
        return self._upstream.name if self._upstream else ""

    @property
    def open_channels(self) -> int:
        """Channels that are open upstream."""
        return len(self._session.channels) if self._session else 0

    @property
    def failure(self) -> str:
        """Why there is no connection, for people; empty while there is one."""
        return "" if self._session else self._preference.failure

    @property
    def upstreams(self) -> Sequence[Upstream[MiningLink]]:
        """All of them, the best first."""
        return self._preference.upstreams

    def failback(self, seconds: float | None) -> None:
        """A better upstream has to be back for so long (None: for ever), from the next turn to another on."""
        self._timing.failback = seconds

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
            link = await self._preference.first(self._away)
            await self._mine(link)

    def _away(self) -> None:
        if self._on_change:
            self._on_change(False)

    async def _mine(self, link: Link[MiningLink]) -> None:
        """Mine there, and wherever is better from then on, until the connection is lost."""
        stay = self._begin(link)
        try:
            self._settle_at(stay)
            for channel in tuple(self._channels):
                stay.session.want(channel)
            while not stay.reading.done():
                search = asyncio.ensure_future(self._preference.better(stay.link.upstream))
                found: Link[MiningLink] | None = None
                try:
                    await asyncio.wait({stay.reading, search}, return_when=asyncio.FIRST_COMPLETED)
                    if not stay.reading.done():
                        found = search.result()
                finally:
                    await drop([search], found)
                if found is not None:
                    stay = await self._move(stay, found)
            stay.check()
        finally:
            await self._end(stay)

    def _begin(self, link: Link[MiningLink]) -> _Stay:
        session = MiningSession(
            link.opened.connection,
            link.opened.extensions,
            self._catalogue,
            self._timing.session,
            self._metrics,
            around=_Around(link.upstream, link.opened.server, self._preference),
            relay=self._relay,
        )
        return _Stay(link, session, asyncio.ensure_future(self._read(link, session)))

    async def _end(self, stay: _Stay) -> None:
        """Close a connection and tell the owners of channels that are left on it."""
        stay.reading.cancel()
        await asyncio.wait({stay.reading})
        # A reader that was cancelled before its first turn has ended nothing.
        self._leave(stay.link, stay.session)

    async def _read(self, link: Link[MiningLink], session: MiningSession) -> None:
        """Serve a session to its end, of which everybody hears in the same turn of the loop."""
        since = asyncio.get_running_loop().time()
        try:
            await session.run()
        except LOSSES as error:
            if self._leave(link, session):
                link.upstream.lost(error, asyncio.get_running_loop().time() - since)
                self._away()
            raise
        finally:
            self._leave(link, session)

    def _leave(self, link: Link[MiningLink], session: MiningSession) -> bool:
        """A connection is over; returns whether it was the one that is mined on."""
        link.close()
        is_present = self._session is session
        if is_present:
            self._session = self._upstream = None
            self._metrics.connected.set(0)
        session.end()
        return is_present

    def _settle_at(self, stay: _Stay) -> None:
        if self._upstream is not None:
            self._upstream.enter(UpstreamState.IDLE)
        self._session, self._upstream = stay.session, stay.link.upstream
        self.failovers += self._before not in {None, self._upstream}
        self._before = self._upstream
        self._upstream.active()
        if self._on_change:
            self._on_change(True)

    async def _move(self, old: _Stay, link: Link[MiningLink]) -> _Stay:
        """Take all channels to a better upstream, or none if it opens none; returns where they are."""
        new = self._begin(link)
        try:
            new.session.takes_over = True
            asked = tuple(self._channels)
            for channel in asked:
                new.session.want(channel)
            await self._trial(old, new)
            new.session.takes_over = False
            is_better = new.session.channels and new.session.has_work
            if new.reading.done() or not (is_better or old.reading.done() or not asked):
                return await self._stay_put(old, new, asked)
            self._settle_at(new)
            for channel in self._channels.keys() - set(asked):
                new.session.want(channel)
            await self._end(old)
            self._metrics.channels.set(len(new.session.channels))
            return new
        except BaseException:
            await self._end(new)
            raise

    async def _trial(self, old: _Stay, new: _Stay) -> None:
        """Wait until the new upstream has answered for every channel, or has had its time."""
        both = {old.reading, new.reading}
        with suppress(TimeoutError):
            async with asyncio.timeout(self._timing.trial):
                while not (new.session.is_settled and (new.session.has_work or not new.session.channels)):
                    done, _ = await asyncio.wait(both, timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED)
                    if done:
                        break

    async def _stay_put(self, old: _Stay, new: _Stay, asked: Sequence[UpstreamChannel]) -> _Stay:
        """Nothing came of it: channels that had moved are wanted back."""
        await self._end(new)
        lack = "gives no work" if new.session.channels else "opens no channel"
        error = new.check() or UpstreamUnusable(f"the upstream {lack}")
        new.link.upstream.lost(error, 0.0)
        self._metrics.channels.set(len(old.session.channels))
        for channel in asked:
            if not (channel.is_open or channel.is_closed):
                old.session.want(channel)
        return old
