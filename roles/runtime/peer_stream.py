"""One TCP peer, bounded in both directions: what it may make us hold, and how long it may not read.

A subclass turns bytes into items (frames, lines) in `_arrived` and hands them over by `_deliver`; a consumer
takes them with `receive` or `receive_batch`. When too much is unread the socket is no longer read from, so
that the peer waits and nobody else. When too much is unsent the peer is cut.
"""

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, cast

from roles.runtime.errors import ConnectionLost
from shared_config.address import Address
from shared_config.limits import ConnectionLimits

ITEM_COST = 256
LINGER_S = 3.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """Bytes of items received and not taken, each counted with 256 more; bytes written and not yet sent; how
    many seconds a peer may take nothing of them once they are many.
    """

    unread: int = 1 << 18
    unsent: int = 1 << 22
    stall_s: float = 30.0

    @classmethod
    def of(cls, limits: ConnectionLimits) -> "StreamLimits":
        """As the configuration has them."""
        return cls(unsent=limits.send_buffer_bytes, stall_s=limits.send_stall_s)


class StreamOwner(Protocol):
    """Who made a stream and wants to know what becomes of it."""

    def made(self, stream: "PeerStream[Any]", /) -> None:
        """The socket is connected."""

    def opened(self, stream: "PeerStream[Any]", /) -> None:
        """The peer has said what it must say first; items may follow."""

    def lost(self, stream: "PeerStream[Any]", /) -> None:
        """The socket is gone; `stream.reason` tells why."""


class PeerStream(asyncio.Protocol, Generic[T]):
    """A connection as a bounded sequence of items; every call raises ConnectionLost once it has ended.

    Items that arrived before the peer went are still received. There may be thousands that say nothing, so
    nothing is made before it is needed.
    """

    __slots__ = (
        "_drainers", "_goners", "_is_full", "_is_reading", "_limits", "_linger", "_loop", "_owner", "_queue",
        "_receiver", "_stall", "_transport", "_unread", "_written", "host", "peer", "reason",
    )  # fmt: skip

    def __init__(self, owner: StreamOwner, limits: StreamLimits) -> None:
        self._owner = owner
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._queue: deque[tuple[T, int]] | None = None
        self._unread = 0
        self._is_reading = True
        self._receiver: asyncio.Future[None] | None = None
        self._drainers: tuple[asyncio.Future[None], ...] = ()
        self._is_full = False
        self._written = 0
        self._stall: asyncio.TimerHandle | None = None
        self._goners: tuple[asyncio.Future[None], ...] = ()
        self._linger: asyncio.TimerHandle | None = None
        self.reason: tuple[str, str] | None = None
        """Why the connection has ended, as (code, text), or None."""
        self.host = ""
        """The peer's host, empty where it went before it could be asked."""
        self.peer = "a peer that has already gone"
        """The peer's address, for people."""

    # What a subclass brings

    def _begin(self) -> None:
        """The socket is connected; call `_opened` when the peer may be served."""
        self._opened()

    def _arrived(self, data: bytes) -> None:
        """Take bytes as they come."""
        raise NotImplementedError

    # What a consumer uses

    @property
    def peer_certificate(self) -> bytes | None:
        """What the peer has shown by TLS, in DER, where we have dialled it that way."""
        layer = self._transport.get_extra_info("ssl_object") if self._transport else None
        return layer.getpeercert(binary_form=True) if layer else None

    async def receive(self) -> T:
        """Return the next item."""
        item, cost = (self._queue or await self._wait_for_items()).popleft()
        self._took(cost)
        return item

    async def receive_batch(self) -> list[T]:
        """Return all items that are there, at least one."""
        if not self._queue:
            await self._wait_for_items()
        return self._take_queue()

    async def drain(self) -> None:
        """Wait until the peer has taken most of what was sent."""
        while self._is_full and not self.reason:
            drained = self._loop.create_future()
            self._drainers = (*self._drainers, drained)
            await drained
        self._check()

    async def wait_closed(self) -> None:
        """Wait until the socket is gone, at most three seconds after `close`."""
        if self._transport:
            gone = self._loop.create_future()
            self._goners = (*self._goners, gone)
            await gone

    def close(self, text: str = "closed by us", *, code: str = "closed") -> None:
        """End the connection after what was sent, or after three seconds; harmless when it has ended."""
        if self._end(code, text) and self._transport:
            self._transport.close()
            self._linger = self._loop.call_later(LINGER_S, self._transport.abort)

    def abort(self, text: str, *, code: str) -> None:
        """End the connection at once; harmless when it has ended."""
        if self._end(code, text) and self._transport:
            self._transport.abort()

    @property
    def is_open(self) -> bool:
        """Whether the connection has not ended."""
        return self.reason is None

    @property
    def unsent(self) -> int:
        """Bytes written and not yet taken by the operating system."""
        return self._transport.get_write_buffer_size() if self._transport else 0

    # What a subclass uses

    def _opened(self) -> None:
        self._owner.opened(self)

    def _deliver(self, item: T, size: int) -> None:
        cost = size + ITEM_COST
        if self._queue is None:
            self._queue = deque()
        self._queue.append((item, cost))
        self._unread += cost

    def _delivered(self) -> None:
        """Wake the consumer and, if it lags, stop reading; called once after a run of `_deliver`."""
        if self._receiver and not self._receiver.done():
            self._receiver.set_result(None)
        if self._unread >= self._limits.unread:
            self._stop_reading()

    def _write(self, data: bytes) -> None:
        transport = self._transport
        if self.reason or transport is None:
            self._check()
            return
        if self._is_full and transport.get_write_buffer_size() > self._limits.unsent:
            self.abort(f"the peer has not read {transport.get_write_buffer_size()} bytes", code="not-reading")
            self._check()
        # Before the write, which may find the buffer full and look at both.
        self._written += len(data)
        transport.write(data)

    def _check(self) -> None:
        if self.reason:
            raise self._lost()

    def _lost(self) -> ConnectionLost:
        code, text = self.reason or ("lost", "")
        return ConnectionLost(text, code=code)

    def _take_queue(self) -> list[T]:
        """All items that are there, perhaps none."""
        queue, self._queue = self._queue, None
        self._took(self._unread)
        return [item for item, _ in queue] if queue else []

    def _stop_reading(self) -> None:
        if self._is_reading and self._transport and not self.reason:
            self._is_reading = False
            self._transport.pause_reading()

    def _read_on(self) -> None:
        if not self._is_reading:
            self._is_reading = True
            if self._transport and not self.reason:
                self._transport.resume_reading()

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods of asyncio's, not their class.
        self._transport = cast("asyncio.Transport", transport)
        if self.reason:
            self._transport.abort()
            return
        address = transport.get_extra_info("peername")
        if address:
            self.host = address[0]
            self.peer = str(Address(*address[:2]))
        self._owner.made(self)
        if not self.reason:
            self._begin()

    def data_received(self, data: bytes) -> None:
        if not self.reason:
            self._arrived(data)

    def pause_writing(self) -> None:
        self._is_full = True
        self._watch_stall()

    def resume_writing(self) -> None:
        self._is_full = False
        self._no_stall()
        drainers, self._drainers = self._drainers, ()
        _release(drainers)

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is None:
            self._end("peer-closed", "the peer closed the connection")
        else:
            self._end("reset", f"the connection broke: {exc}")
        if self._linger:
            self._linger.cancel()
        self._no_stall()
        self._transport = None
        goners, self._goners = self._goners, ()
        _release(goners)
        self._owner.lost(self)

    # The rest

    async def _wait_for_items(self) -> deque[tuple[T, int]]:
        while not self._queue:
            self._check()
            if self._receiver:
                raise RuntimeError("two tasks receive from one connection")
            self._receiver = self._loop.create_future()
            try:
                await self._receiver
            finally:
                self._receiver = None
        return self._queue

    def _took(self, cost: int) -> None:
        self._unread -= cost
        if self._unread <= self._limits.unread // 2:
            self._read_on()

    def _watch_stall(self) -> None:
        taken = self._written - self.unsent
        self._stall = self._loop.call_later(self._limits.stall_s, self._look_for_stall, taken)

    def _look_for_stall(self, taken: int) -> None:
        if self._written - self.unsent <= taken:
            self.abort(f"the peer has taken nothing for {self._limits.stall_s:g} s", code="not-reading")
        else:
            self._watch_stall()

    def _no_stall(self) -> None:
        if self._stall:
            self._stall.cancel()
            self._stall = None

    def _end(self, code: str, text: str) -> bool:
        if self.reason:
            return False
        self.reason = (code, text)
        if self._receiver and not self._receiver.done():
            self._receiver.set_result(None)
        drainers, self._drainers = self._drainers, ()
        _release(drainers)
        return True


def _release(waiters: Iterable[asyncio.Future[None]]) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)
