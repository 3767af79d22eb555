"""SV1 pools in order of preference, one in use, with as many connections as its miners take.

How to use it::

    trunks = Trunks(pools, listener, terms=terms, metrics=TrunkMetrics(registry), meters=meters)
    task_group.create_task(trunks.run())    # connects, reconnects, fails over and back, until cancelled
    extranonce1 = trunk.seat(layout)        # for each miner, on any of the trunks; or on trunks.more()
    trunk.authorize(user, password, told)
    trunk.submit(user, job, share, submit, settle)
    trunk.give_back(layout, extranonce1)

The first trunk decides which pool is in use; further ones follow it there. Where a better pool is back the
old connection goes on until there is work from the new one, so no miner is without.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count
from typing import Final

from protocols.mining.prover import ProverMaker, PythonProver
from roles.runtime.backoff import Backoff
from roles.runtime.errors import ConnectionLost
from roles.runtime.task_group import TaskGroup
from roles.stratum.errors import UpstreamUnusable
from roles.stratum.latencies import Latencies
from roles.stratum.pool_line import PoolLine
from roles.stratum.preference import Preference, drop
from roles.stratum.sv1_opener import AGENT, REDIRECTED, PoolTerms, Sv1Link, Sv1Opener, Sv1Pool
from roles.stratum.trunk import Trunk, TrunkKit, TrunkListener
from roles.stratum.trunk_metrics import TrunkMetrics
from roles.stratum.upstream import LOSSES, Link, PreferenceTiming, Upstream
from roles.stratum.upstream_meters import UpstreamMeters, UpstreamState

__all__ = ["Trunks"]

IDLE_TRUNK_S: Final = 60.0
TOO_SMALL: Final = "the pool grants too little extranonce for miners that are here"


class Trunks:
    """`on_change` is called with True when the first trunk is connected, and with False after each failed
    attempt or loss, when the listener has heard and `failure` says why.
    """

    def __init__(
        self,
        pools: Sequence[Sv1Pool],
        listener: TrunkListener,
        *,
        terms: PoolTerms,
        metrics: TrunkMetrics,
        meters: UpstreamMeters,
        maker: ProverMaker = PythonProver,
        agent: str = AGENT,
        backoff: Backoff | None = None,
        stable_s: float = 10.0,
        on_change: Callable[[bool], None] | None = None,
    ) -> None:
        self.latencies = Latencies()
        self.idle_trunk_s = IDLE_TRUNK_S
        """How long a further connection is kept on which nobody sits."""
        self.least_extranonce2: int | None = None
        """The least that any of the pools has granted when it was last asked, None before any was."""
        self._sizes: dict[str, int] = {}
        self.failovers = 0
        """Times that another pool than before was turned to."""
        self._terms = terms
        self._metrics = metrics
        self._agent = agent
        self._pauses = backoff or Backoff(first_s=0.1, limit_s=5.0)
        self._on_change = on_change
        self._timing = PreferenceTiming(
            stable_s, terms.times.head_start_s, terms.times.failback_s, terms.times.check_s
        )
        self._kit = TrunkKit(
            listener,
            terms.limits,
            metrics,
            meters,
            self.latencies,
            count(1).__next__,
            maker,
            self._has_others,
            self._too_small,
        )
        self._preference = Preference(
            [
                Upstream(
                    pool.name,
                    Sv1Opener(pool, terms, agent).open,
                    backoff=self._pauses.another(),
                    timing=self._timing,
                    metrics=metrics,
                    meters=meters,
                )
                for pool in pools
            ],
            self._timing,
        )
        self._first = Trunk(self._kit)
        self._further: dict[Trunk, None] = {}
        self._upstream: Upstream[Sv1Link] | None = None
        self._before: Upstream[Sv1Link] | None = None
        self._source: Sv1Pool | None = None
        self._moved = asyncio.Event()
        self._tasks: TaskGroup | None = None
        self._reading: set[asyncio.Task[None]] = set()
        metrics.trunks.set(1)
        metrics.watch(self.latencies)

    def __iter__(self) -> Iterator[Trunk]:
        yield self._first
        yield from self._further

    def __len__(self) -> int:
        return 1 + len(self._further)

    @property
    def is_connected(self) -> bool:
        """Whether a pool is in use."""
        return self._upstream is not None

    @property
    def upstream(self) -> str:
        """The name of the pool in use, empty while there is none."""
        return self._upstream.name if self._upstream else ""

    @property
    def upstreams(self) -> Sequence[Upstream[Sv1Link]]:
        """All pools, the best first."""
        return self._preference.upstreams

    @property
    def pool(self) -> Sv1Pool | None:
        """The pool in use, None while there is none."""
        return self._source if self._upstream else None

    @property
    def failure(self) -> str:
        """Why there is no connection, for people; empty while there is one."""
        return "" if self._upstream else self._preference.failure

    @property
    def extranonce2_size(self) -> int | None:
        """What the pool in use, or the last one, grants; None before any."""
        return self._first.granted.extranonce2_size if self._first.granted else None

    @property
    def pending(self) -> int:
        """Shares that wait for a verdict."""
        return sum(trunk.pending for trunk in self)

    def failback(self, seconds: float | None) -> None:
        """A better pool has to be back for so long (None: for ever), from the next turn to another on."""
        self._timing.failback = seconds

    def more(self) -> Trunk | None:
        """A further connection, where those that there are are full and one more may be: seats may be had on
        it at once.
        """
        if len(self) >= self._terms.limits.connections or self._tasks is None:
            return None
        trunk = Trunk(self._kit)
        trunk.granted = self._first.granted
        self._further[trunk] = None
        self._metrics.trunks.set(len(self))
        self._tasks.create_task(self._follow(trunk))
        return trunk

    async def run(self) -> None:
        """Connect, serve and reconnect until cancelled; errors of pools are counted and retried."""
        try:
            async with TaskGroup() as self._tasks:
                while True:
                    link = await self._preference.first(self._away)
                    if self._suffices(link):
                        await self._mine(link)
                    else:
                        link.close()
                        link.upstream.lost(UpstreamUnusable(TOO_SMALL), 0.0)
                        self._away()
        finally:
            self._tasks = None
            for reading in self._reading:
                reading.cancel()
            if self._reading:
                await asyncio.wait(self._reading)

    # The first trunk, which chooses the pool

    async def _mine(self, link: Link[Sv1Link]) -> None:
        """Be there, and wherever is better from then on, until the connection is lost."""
        reading = self._settle_at(link)
        try:
            while not reading.done():
                search = asyncio.ensure_future(self._preference.better(link.upstream))
                found: Link[Sv1Link] | None = None
                try:
                    await asyncio.wait({reading, search}, return_when=asyncio.FIRST_COMPLETED)
                    if not reading.done():
                        found = search.result()
                finally:
                    await drop([search], found)
                if found is not None and self._suffices(found):
                    link = found
                    reading = self._settle_at(link)
                elif found is not None:
                    found.close()
            reading.result()
        finally:
            if not reading.done():
                reading.cancel()
                await asyncio.wait({reading})

    def _settle_at(self, link: Link[Sv1Link]) -> asyncio.Task[None]:
        upstream = link.upstream
        is_move = self._before not in {None, upstream}
        if self._upstream is not None:
            self._upstream.enter(UpstreamState.IDLE)
        self._upstream, self._before, self._source = upstream, upstream, link.opened.pool
        self.failovers += is_move
        upstream.active()
        line = self._first.take_over(link.opened)
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()
        reading = self._read(self._first, line, upstream)
        if self._on_change:
            self._on_change(True)
        return reading

    def _read(self, trunk: Trunk, line: PoolLine, upstream: Upstream[Sv1Link]) -> asyncio.Task[None]:
        """Serve a connection to its end, of which everybody hears in the same turn of the loop."""
        reading = asyncio.ensure_future(self._serve(trunk, line, upstream))
        self._reading.add(reading)
        reading.add_done_callback(self._reading.discard)
        # Where it is cancelled before its first turn.
        reading.add_done_callback(partial(_end, trunk, line))
        return reading

    async def _serve(self, trunk: Trunk, line: PoolLine, upstream: Upstream[Sv1Link]) -> None:
        loop = asyncio.get_running_loop()
        since = loop.time()
        try:
            await line.run()
        except LOSSES as error:
            lived = loop.time() - since
            if isinstance(error, ConnectionLost) and error.code == REDIRECTED:
                lived = self._timing.stable
            elif lived >= self._timing.stable:
                line.link.opener.stayed()
            is_present = trunk.is_on(line)
            if is_present and trunk is self._first:
                self._upstream = None
                self._metrics.connected.set(0)
            trunk.ended(line, str(error))
            if is_present and trunk is self._first:
                upstream.lost(error, lived)
                self._away()
            elif is_present:
                self._metrics.failures.labels(type(error).__name__).inc()
        finally:
            line.link.close()

    def _away(self) -> None:
        if self._on_change:
            self._on_change(False)

    def _suffices(self, link: Link[Sv1Link]) -> bool:
        """Whether a pool grants enough for the miners that are here, or is all that is left."""
        self._sizes[link.upstream.name] = link.opened.granted.extranonce2_size
        self.least_extranonce2 = min(self._sizes.values())
        needed = max(trunk.needed for trunk in self)
        return needed <= link.opened.granted.extranonce2_size or not self._preference.pass_over(link.upstream)

    def _too_small(self, trunk: Trunk) -> bool:
        if self._upstream is None or not self._preference.pass_over(self._upstream):
            return False
        trunk.fail(UpstreamUnusable(TOO_SMALL))
        return True

    def _has_others(self) -> bool:
        return self._upstream is not None and self._preference.has_others(self._upstream)

    # Further trunks, which follow

    async def _follow(self, trunk: Trunk) -> None:
        """Keep a further trunk at the pool in use, until nobody has sat on it for a while."""
        openers: dict[str, Sv1Opener] = {}
        pauses = self._pauses.another()
        reading: asyncio.Task[None] | None = None
        try:
            while self._is_wanted(trunk):
                moved, upstream, source = self._moved, self._upstream, self._source
                if upstream is None or source is None:
                    await _wait(moved)
                    continue
                opener = openers.get(source.name)
                if opener is None:
                    openers = {source.name: Sv1Opener(source, self._terms, self._agent)}
                    opener = openers[source.name]
                try:
                    link = await opener.open()
                except LOSSES as error:
                    self._metrics.failures.labels(type(error).__name__).inc()
                    await pauses.wait()
                    continue
                if source is not self._source:
                    link.close()
                    continue
                reading = self._read(trunk, trunk.take_over(link), upstream)
                pauses.reset()
                await self._stay(trunk, reading, moved)
                while not reading.done() and self._source is source and self._is_wanted(trunk):
                    # The first trunk was lost alone, and has come back to the same pool.
                    await self._stay(trunk, reading, self._moved)
                if reading.done():
                    reading.result()
        finally:
            if reading is not None and not reading.done():
                reading.cancel()
                await asyncio.wait({reading})
            del self._further[trunk]
            self._metrics.trunks.set(len(self))
            trunk.close()

    def _is_wanted(self, trunk: Trunk) -> bool:
        """Whether somebody sits on a further trunk, or did lately."""
        return bool(len(trunk)) or asyncio.get_running_loop().time() - trunk.idle_since < self.idle_trunk_s

    async def _stay(self, trunk: Trunk, reading: asyncio.Task[None], moved: asyncio.Event) -> None:
        """Wait until the connection has ended, another pool is in use, or nobody has sat here for long."""
        moving = asyncio.ensure_future(moved.wait())
        try:
            while not reading.done() and not moved.is_set():
                if not self._is_wanted(trunk):
                    return
                await asyncio.wait(
                    {reading, moving}, timeout=self.idle_trunk_s / 4, return_when=asyncio.FIRST_COMPLETED
                )
        finally:
            moving.cancel()


def _end(trunk: Trunk, line: PoolLine, reading: asyncio.Task[None]) -> None:
    """A reader has ended, perhaps before its first turn."""
    del reading
    line.link.close()
    trunk.ended(line, "closed by us")


async def _wait(event: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(IDLE_TRUNK_S / 4):
            await event.wait()
