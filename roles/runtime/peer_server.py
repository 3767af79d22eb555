"""A listener that gives each peer a task, and bounds their number and the time they take to begin."""

import asyncio
import logging
import socket
from collections import Counter as Counts
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge

from protocols.sv1.errors import Sv1Error
from protocols.sv2.errors import Sv2Error
from roles.runtime.errors import ConnectionLost
from roles.runtime.listen import BACKLOG, bound
from roles.runtime.peer_stream import PeerStream, StreamOwner
from roles.runtime.subnet import subnet_of
from shared_config.address import Address
from shared_config.limits import ConnectionLimits

ORDINARY = frozenset({"peer-closed", "closed", "reset"})

_log = logging.getLogger(__name__)

S = TypeVar("S", bound=PeerStream[Any])


SERVER_LIMITS = (
    "limits.connections",
    "limits.connections_per_host",
    "limits.connections_per_subnet",
    "limits.handshakes_at_once",
    "limits.handshake_s",
)
"""The settings of which `ServerLimits` are made."""


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """How many peers, how many from one host and one subnet, how many that have not begun, seconds to begin.

    A subnet is a /24 of IPv4 or a /64 of IPv6: a customer of a network has all of the latter. Where more than
    `beginners` have not begun, those that have had `patience_s` go first, so that a crowd that comes back at
    once is let in and silent peers stand in nobody's way.
    """

    connections: int = 10_000
    per_host: int = 1_000
    beginners: int = 64
    begin_s: float = 10.0
    patience_s: float = 1.0
    per_subnet: int = 4_000

    @classmethod
    def of(cls, limits: ConnectionLimits) -> "ServerLimits":
        """As the configuration has them."""
        return cls(
            connections=limits.connections,
            per_host=limits.connections_per_host,
            per_subnet=limits.connections_per_subnet,
            beginners=limits.handshakes_at_once,
            begin_s=limits.handshake_s,
        )


class ServerMetrics:
    """Gauges and counters of one listener, named ``hashpool_<name>_…``."""

    def __init__(self, registry: CollectorRegistry, name: str) -> None:
        self.open = Gauge(f"hashpool_{name}_connections", "Peers connected", registry=registry)
        self.opened = Counter(f"hashpool_{name}_connections_opened", "Peers that began", registry=registry)
        self.ended = Counter(
            f"hashpool_{name}_connections_ended", "Peers gone, by reason", ["reason"], registry=registry
        )


class PeerServer(Generic[S]):
    """Serves a listening socket: `handler` runs once for each peer that has begun, until either ends.

    A handler that raises ends its own connection only. Cancel `run` to close the socket and all connections.
    Both `limits` and `bars`, which says whether a host is turned away, may be others from one moment on.
    """

    def __init__(
        self,
        sock: socket.socket,
        make: Callable[[StreamOwner], S],
        handler: Callable[[S], Awaitable[None]],
        *,
        limits: ServerLimits,
        metrics: ServerMetrics,
    ) -> None:
        self._sock = sock
        self._make = make
        self._handler = handler
        self.limits = limits
        self.bars: Callable[[str], bool] = _nobody
        self._metrics = metrics
        self._streams: set[PeerStream[Any]] = set()
        self._hosts: Counts[str] = Counts()
        self._subnets: Counts[str] = Counts()
        self._served: set[PeerStream[Any]] = set()
        self._beginners: dict[PeerStream[Any], tuple[float, asyncio.TimerHandle]] = {}
        self._tasks: dict[asyncio.Task[None], PeerStream[Any]] = {}
        self._done = self._handled

    @property
    def address(self) -> Address:
        """Where peers are awaited."""
        return bound(self._sock)

    @property
    def connections(self) -> int:
        """How many peers are connected, beginners included."""
        return len(self._streams)

    async def run(self) -> None:
        """Serve until cancelled."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: self._make(self), sock=self._sock, backlog=BACKLOG)
        try:
            await loop.create_future()
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks)
            streams = tuple(self._streams)
            for stream in streams:
                stream.close("the service stops")
            await asyncio.gather(*(stream.wait_closed() for stream in streams))

    def close(self) -> None:
        """Listen no more, where `run` has not begun; it closes the socket itself."""
        self._sock.close()

    def cut_barred(self) -> None:
        """End the connections of hosts that are turned away by now."""
        for stream in tuple(self._streams):
            self._bar(stream)

    def made(self, stream: PeerStream[Any]) -> None:
        self._streams.add(stream)
        self._metrics.open.inc()
        subnet = subnet_of(stream.host)
        self._hosts[stream.host] += 1
        self._subnets[subnet] += 1
        if self._bar(stream):
            return
        if len(self._streams) > self.limits.connections:
            stream.abort("too many connections", code="too-many-connections")
            return
        if self._hosts[stream.host] > self.limits.per_host:
            stream.abort("too many connections from this host", code="too-many-of-host")
            return
        if self._subnets[subnet] > self.limits.per_subnet:
            stream.abort("too many connections from this subnet", code="too-many-of-subnet")
            return
        loop = asyncio.get_running_loop()
        self._make_room(loop.time() - self.limits.patience_s)
        timer = loop.call_later(self.limits.begin_s, self._too_late, stream)
        self._beginners[stream] = (loop.time(), timer)

    def opened(self, stream: Any) -> None:
        self._begun(stream)
        self._served.add(stream)
        self._metrics.opened.inc()
        task = asyncio.get_running_loop().create_task(self._handle(stream))
        self._tasks[task] = stream
        task.add_done_callback(self._done)

    def lost(self, stream: PeerStream[Any]) -> None:
        code, text = stream.reason or ("lost", "")
        # Port scanners, readiness probes and silent peers are counted, and are no news.
        is_news = stream in self._served and code not in ORDINARY
        self._begun(stream)
        self._served.discard(stream)
        self._streams.discard(stream)
        _take_off(self._hosts, stream.host)
        _take_off(self._subnets, subnet_of(stream.host))
        self._metrics.open.dec()
        self._metrics.ended.labels(code).inc()
        _log.log(
            logging.INFO if is_news else logging.DEBUG,
            "a peer is gone",
            extra={"peer": stream.peer, "reason": text},
        )

    def _bar(self, stream: PeerStream[Any]) -> bool:
        is_barred = self.bars(stream.host)
        if is_barred:
            stream.abort("the operator turns this host away", code="banned")
        return is_barred

    def _begun(self, stream: PeerStream[Any]) -> None:
        entry = self._beginners.pop(stream, None)
        if entry:
            entry[1].cancel()

    def _make_room(self, before: float) -> None:
        while len(self._beginners) >= self.limits.beginners:
            slowest, (since, _) = next(iter(self._beginners.items()))
            if since > before:
                return
            slowest.abort("others are waiting to begin", code="slow-to-begin")
            self._begun(slowest)

    def _too_late(self, stream: PeerStream[Any]) -> None:
        stream.abort(f"nothing to serve within {self.limits.begin_s:g} s", code="begin-timeout")

    async def _handle(self, stream: S) -> None:
        try:
            await self._handler(stream)
        except ConnectionLost:
            _log.debug("a peer went while it was served", extra={"peer": stream.peer})
        except Sv2Error as error:
            stream.close(str(error), code=error.code)
        except Sv1Error as error:
            stream.close(str(error), code="protocol-error")
        else:
            stream.close()

    def _handled(self, task: asyncio.Task[None]) -> None:
        """Close what is left open; a peer that finds a fault of ours must not end the service for others."""
        stream = self._tasks.pop(task)
        error = None if task.cancelled() else task.exception()
        if error:
            _log.error("serving a peer failed", exc_info=error, extra={"peer": stream.peer})
            stream.close("serving the peer failed", code="fault")
        stream.close()


def _nobody(_host: str) -> bool:
    return False


def _take_off(counts: Counts[str], name: str) -> None:
    counts[name] -= 1
    if not counts[name]:
        del counts[name]
