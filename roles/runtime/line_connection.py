"""Stratum V1 over TCP: bounded lines both ways, as a client or as a server.

    connection = await connect(Address("127.0.0.1", 34255))
    connection.send(request(1, "mining.subscribe", []))
    line = await connection.receive()

    server = serve(address, handler, setting="listen_address")
    task_group.create_task(server.run())

An item is a line without its end, or `Overlong` where one was skipped. A served peer begins with its first
bytes: one that only connects is never handed to the handler.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Never

from prometheus_client import CollectorRegistry

from protocols.sv1.errors import WrongProtocolError
from protocols.sv1.line import DOWNSTREAM_LIMIT, UPSTREAM_LIMIT, LineSplitter, Overlong
from roles.runtime.dial import CONNECT_S, dial
from roles.runtime.errors import ConnectionLost, TlsFailed
from roles.runtime.listen import listen
from roles.runtime.peer_server import PeerServer, ServerLimits, ServerMetrics
from roles.runtime.peer_stream import PeerStream, StreamLimits, StreamOwner
from roles.runtime.tls_client import TlsClient
from roles.runtime.tls_identity import TlsIdentity
from roles.runtime.tls_layer import CLIENT_HELLO, TlsLayer
from shared_config.address import Address

Line = bytes | Overlong


class LineConnection(PeerStream[Line]):
    """Lines of at most `line_limit` bytes; a peer that speaks another protocol is cut."""

    __slots__ = ("_ended", "_holds", "_lines", "_take")

    def __init__(self, owner: StreamOwner, limits: StreamLimits, line_limit: int) -> None:
        super().__init__(owner, limits)
        self._lines = LineSplitter(line_limit)
        self._take: Callable[[Line], None] | None = None
        self._ended: asyncio.Future[None] | None = None
        self._holds = 0

    def send(self, *lines: bytes) -> None:
        """Write lines, each ended by LF, in one piece; raise ConnectionLost, and cut who does not read."""
        self._write(lines[0] if len(lines) == 1 else b"".join(lines))

    @property
    def is_within_line(self) -> bool:
        """Whether the peer has begun a line and not ended it."""
        return self._lines.is_within_line

    async def hand_over(self, take: Callable[[Line], None]) -> Never:
        """Give `take` every line from now on as it arrives, without a task's turn in between.

        Raises ConnectionLost when the connection has ended and all that came before is taken.
        """
        self._take, self._ended = take, self._loop.create_future()
        try:
            self._give()
            await self._ended
        finally:
            self._take = None
        raise ConnectionLost("nothing more to hand over")

    def hold(self) -> None:
        """Hand nothing over, and read nothing, until `release` has been called as often."""
        self._holds += 1
        self._stop_reading()

    def release(self) -> None:
        """What has been held may go on, in a later turn of the event loop."""
        self._holds -= 1
        if not self._holds:
            self._loop.call_soon(self._give)

    def _arrived(self, data: bytes) -> None:
        try:
            lines = self._lines.receive(data)
        except WrongProtocolError as error:
            self.abort(str(error), code="wrong-protocol")
            lines = []
        take, taken = self._take, 0
        if take is not None and not self._queue:
            for line in lines:
                if self._holds:
                    break
                taken += 1
                take(line)
            if taken == len(lines):
                return
        for line in lines[taken:]:
            self._deliver(line, len(line) if isinstance(line, bytes) else 0)
        if take is not None:
            self._give()
        self._delivered()

    def _give(self) -> None:
        if self._take is None:
            return
        while self._queue and not self._holds:
            line, cost = self._queue.popleft()
            self._took(cost)
            self._take(line)
        if self._queue or self._holds:
            return
        self._queue = None
        if not self.reason:
            self._read_on()
        elif self._ended is not None and not self._ended.done():
            self._ended.set_exception(self._lost())

    def _end(self, code: str, text: str) -> bool:
        is_first = super()._end(code, text)
        if is_first and self._take is not None:
            self._loop.call_soon(self._give)
        return is_first


@dataclass(frozen=True, slots=True)
class Door:
    """Which peers a port takes: those that begin with TLS, where there is an identity, and plain ones unless
    they `must_encrypt`.
    """

    identity: TlsIdentity | None = None
    must_encrypt: bool = False


class Lent(NamedTuple):
    """A socket whose lines somebody else reads: its number, the longest line, and what tells how many bytes
    the event loop has yet to send.
    """

    socket: int
    line_limit: int
    unsent: Callable[[], int]


class ServedLines(LineConnection):
    """The server's end; the peer may have begun with TLS."""

    __slots__ = ("_door", "_has_spoken", "_recall", "_tls")

    def __init__(self, owner: StreamOwner, limits: StreamLimits, line_limit: int, door: Door) -> None:
        super().__init__(owner, limits, line_limit)
        self._has_spoken = False
        self._door = door
        self._tls: TlsLayer | None = None
        self._recall: Callable[[], None] | None = None

    def close(self, text: str = "closed by us", *, code: str = "closed") -> None:
        """End the connection after what was sent, or after three seconds; harmless when it has ended."""
        if self._tls is not None and self.is_open:
            self._write_raw(self._tls.end())
        super().close(text, code=code)

    def send(self, *lines: bytes) -> None:
        transport = self._transport
        if self._tls is not None or transport is None or self.reason or self._is_full:
            super().send(*lines)
            return
        # What it comes to; calls more would be felt.
        data = lines[0] if len(lines) == 1 else b"".join(lines)
        self._written += len(data)
        transport.write(data)

    def data_received(self, data: bytes) -> None:
        take = self._take
        if take is not None and self._tls is None and not (self._queue or self._holds or self.reason):
            # A share most often comes alone.
            line = self._lines.lone(data)
            if line is not None:
                take(line)
                return
        super().data_received(data)

    def lend(self, recall: Callable[[], None]) -> Lent | None:
        """Leave reading to somebody else until `take_back`, and writing, too, as long as nothing is unsent
        here; None where that cannot be now. `recall` is called before the socket goes.
        """
        transport = self._transport
        is_plain = self._has_spoken and self._tls is None and self._lines.is_between_lines
        is_idle = self._is_reading and not (self._queue or self._holds or self.reason)
        if transport is None or transport.is_closing() or self._recall is not None:
            return None
        if not (is_plain and is_idle):
            return None
        transport.pause_reading()
        self._recall = recall
        socket = transport.get_extra_info("socket").fileno()
        return Lent(socket, self._lines.limit, transport.get_write_buffer_size)

    def take_back(self) -> None:
        """Read again."""
        self._recall = None
        transport = self._transport
        if transport is not None and not self.reason and not transport.is_closing():
            transport.resume_reading()

    def _end(self, code: str, text: str) -> bool:
        is_first = super()._end(code, text)
        if is_first and self._recall is not None:
            self._recall()
        return is_first

    def _begin(self) -> None:
        """The miner speaks first."""

    def _arrived(self, data: bytes) -> None:
        if self._has_spoken:
            if self._tls is None or (data := self._decrypt(self._tls, data)):
                super()._arrived(data)
        else:
            self._first(data)

    def _first(self, data: bytes) -> None:
        """Look at how the peer begins; it is served when it has said something in clear."""
        identity = self._door.identity
        if self._tls is None and identity is not None and data.startswith(CLIENT_HELLO):
            self._tls = TlsLayer(identity.context)
        if self._tls is not None:
            data = self._decrypt(self._tls, data)
        elif self._door.must_encrypt:
            self.abort("the peer does not speak TLS", code="tls-required")
        if data and self.is_open:
            super()._arrived(data)
            if self.is_open:
                self._has_spoken = True
                self._opened()

    def _decrypt(self, tls: TlsLayer, data: bytes) -> bytes:
        assert self._door.identity is not None
        handshakes = self._door.identity.metrics.handshakes
        was_established = tls.is_established
        try:
            clear = tls.receive(data)
        except TlsFailed as error:
            if not was_established:
                handshakes.labels("failed").inc()
            self._write_raw(tls.outgoing())
            self.close(f"TLS with the peer failed: {error}", code="tls-failed")
            return b""
        if tls.is_established and not was_established:
            handshakes.labels("made").inc()
        self._write_raw(tls.outgoing())
        if tls.has_ended:
            # Behind what it has said in clear.
            self._loop.call_soon(partial(self.close, "the peer ended TLS", code="peer-closed"))
        return clear

    def _write(self, data: bytes) -> None:
        if self._tls is None:
            super()._write(data)
            return
        self._check()
        try:
            sealed = self._tls.send(data)
        except TlsFailed as error:
            self.abort(f"TLS with the peer failed: {error}", code="tls-failed")
            self._check()
        else:
            super()._write(sealed)

    def _write_raw(self, data: bytes) -> None:
        if data and self.is_open:
            # Whoever reads hears that the peer is gone.
            with suppress(ConnectionLost):
                super()._write(data)


async def connect(
    address: Address,
    *,
    timeout: float = CONNECT_S,
    line_limit: int = UPSTREAM_LIMIT,
    limits: StreamLimits | None = None,
    tls: TlsClient | None = None,
) -> LineConnection:
    """Connect within `timeout` seconds, by TLS if that is given.

    Raises ConnectFailed with code ``unreachable``, ``timeout``, ``tls-failed`` or ``wrong-certificate``.
    """
    bounds = limits or StreamLimits()
    return await dial(address, lambda owner: LineConnection(owner, bounds, line_limit), timeout, tls)


def serve(
    address: Address,
    handler: Callable[[LineConnection], Awaitable[None]],
    *,
    setting: str,
    metrics: ServerMetrics | None = None,
    line_limit: int = DOWNSTREAM_LIMIT,
    server_limits: ServerLimits | None = None,
    stream_limits: StreamLimits | None = None,
    door: Door | None = None,
) -> PeerServer[ServedLines]:
    """Listen at once, and serve while `run` of the result runs.

    `door` says who may come in; without it those that speak no TLS. `setting` names the configuration key of
    the address. Raises PortInUse or ListenFailed.
    """
    streams, entrance = stream_limits or StreamLimits(), door or Door()
    return PeerServer(
        listen(address, setting),
        lambda owner: ServedLines(owner, streams, line_limit, entrance),
        handler,
        limits=server_limits or ServerLimits(),
        metrics=metrics or ServerMetrics(CollectorRegistry(), "sv1"),
    )
