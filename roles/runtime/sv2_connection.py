"""Stratum V2 over TCP: the Noise handshake, then frames both ways, as a client or as a server.

connection = await connect(Address("127.0.0.1", 34254), authority, limit=FrameLimits(MINING))
connection.send(encode(message))
frame = await connection.receive()

server = serve(address, authority_secret, handler, limit=FrameLimits(MINING), setting="[pool] listen", …)
task_group.create_task(server.run())
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Never

from prometheus_client import CollectorRegistry

from protocols.noise.errors import CertificateOutOfDate, HandshakeForged, NoiseError, WrongAuthority
from protocols.noise.frame_cipher import FrameCipher
from protocols.noise.handshake import ACT1_SIZE, ACT2_SIZE, Initiator, Session
from protocols.sv2.errors import Sv2Error
from protocols.sv2.frame import Frame, frame_from
from roles.runtime.dial import CONNECT_S, dial
from roles.runtime.errors import AuthorityRequired, ConnectFailed, ConnectionLost
from roles.runtime.kernel import kernel
from roles.runtime.listen import listen
from roles.runtime.noise_identity import CERTIFICATE_S, NoiseIdentity, fresh_secret
from roles.runtime.peer_server import PeerServer, ServerLimits, ServerMetrics
from roles.runtime.peer_stream import PeerStream, StreamLimits, StreamOwner
from shared_config.address import Address

_log = logging.getLogger(__name__)

Limit = Callable[[bytes], None]
Opener = Callable[[FrameCipher, bytes], Sequence["Plain"]]
"""Opens sealed bytes that came alone, does by itself what it can, and returns the frames that are left; it
raises what the cipher does."""
Plain = tuple[bytes, bytes]
"""A frame's 6 header bytes and its payload, not encrypted."""
Tell = Callable[[int, float, tuple[Any, ...]], None]
"""Hears of a batch that lanes have had: shares that passed or were accepted, seconds that a peer has to wait
which comes too fast, the owners of lanes on the other side that have something to send.
"""
TURN = 256
"""Frames handed over before other connections have their turn."""
SMALL = 8192
"""Sealed bytes that hold no more frames than are handed over at once."""
_NO_FRAMES: Sequence[Plain] = ()


class Sv2Connection(PeerStream[Frame]):
    """Frames over an encrypted connection; `limit` refuses frame headers, `limits` bound what is held."""

    __slots__ = (
        "_act", "_backlog", "_consumer", "_holds", "_inlet", "_limit", "_noise", "_outlet",
        "handshake_hash", "peer_static",
    )  # fmt: skip

    def __init__(self, owner: StreamOwner, limits: StreamLimits, limit: Limit) -> None:
        super().__init__(owner, limits)
        self._limit = limit
        self._consumer: Consumer | None = None
        self._backlog = _NO_FRAMES
        self._holds = 0
        self._noise: FrameCipher | None = None
        self._inlet: Any = None
        self._outlet: Any = None
        self._act = b""
        self.handshake_hash = b""
        """The transcript's hash, 32 bytes, the same on both sides and in no other session."""
        self.peer_static: bytes | None = None
        """The server's x-only static key, 32 bytes, where we are the client."""

    def send(self, *frames: Frame) -> None:
        """Write frames in one piece; raise ConnectionLost, and cut a peer that has too much unread."""
        noise = self._noise
        if noise is None or self.reason:
            self._check()
            raise RuntimeError("frames are sent after the handshake")
        if len(frames) == 1:
            frame = frames[0]
            self._write(noise.send(frame.header(), frame.payload))
        else:
            self._write(noise.send_many([(frame.header(), frame.payload) for frame in frames]))

    def send_plain(self, frames: Sequence[Plain]) -> None:
        """The same for frames as header and payload."""
        noise = self._noise
        if noise is None or self.reason:
            self._check()
            raise RuntimeError("frames are sent after the handshake")
        self._write(noise.send(*frames[0]) if len(frames) == 1 else noise.send_many(frames))

    def send_one(self, header: bytes, payload: bytes) -> None:
        """The same for one frame."""
        noise, transport = self._noise, self._transport
        if noise is None or transport is None or self.reason or self._is_full:
            self.send_plain(((header, payload),))
            return
        # What `_write` comes to; a call more would be felt.
        data = noise.send(header, payload)
        self._written += len(data)
        transport.write(data)

    def send_sealed(self, seal: Callable[[FrameCipher], bytes]) -> None:
        """The same for frames that wait elsewhere, and are sealed there; nothing where there are none."""
        noise = self._noise
        if noise is None or self.reason:
            self._check()
            raise RuntimeError("frames are sent after the handshake")
        data, transport = seal(noise), self._transport
        if not data:
            return
        if transport is None or self._is_full:
            self._write(data)
        else:
            # What `_write` comes to; a call more would be felt.
            self._written += len(data)
            transport.write(data)

    def outlet(self) -> Any:
        """What sends frames that the native kernel has made, as long as the connection lasts and the event
        loop has nothing unsent; None where there is none.
        """
        maker, transport = kernel().outlet, self._transport
        if self._outlet is None and maker is not None and transport is not None and not self.reason:
            socket = transport.get_extra_info("socket").fileno()
            with suppress(OSError):
                # Without a number more for the socket the event loop sends.
                self._outlet = maker(self._noise, socket, transport.get_write_buffer_size, self._send_rest)
        return self._outlet

    def _send_rest(self, sealed: bytes) -> None:
        with suppress(ConnectionLost):
            # Whoever reads hears of that, too.
            self._write(sealed)

    def read_plain(self, lanes: Any, tell: Tell, *, settles: bool) -> None:
        """Have the native kernel read from now on, if it can: lanes have the plain frames, be they shares or,
        if that `settles` them, successes, and `tell` hears what they need done. What is left, and all behind
        it, is handed over as ever.
        """
        maker, transport = kernel().inlet, self._transport
        if maker is None or transport is None or self._inlet is not None or self.reason:
            return
        if self._consumer is None or transport.is_closing():
            return
        socket = transport.get_extra_info("socket").fileno()
        with suppress(OSError):
            # Without a number more for the socket the event loop reads.
            self._inlet = maker(
                self._noise, socket, lanes, settles, partial(self._guard, tell), self._rest, self._read_ended
            )
            if self._is_reading:
                transport.pause_reading()
                self._loop.add_reader(self._inlet.fileno(), self._inlet.look)

    def _guard(self, act: Callable[..., None], *arguments: Any) -> None:
        """Do something, and end the connection if that fails, as the event loop does."""
        try:
            act(*arguments)
        except Exception as error:
            self.abort(f"the connection broke: {error}", code="reset")
            raise

    def _rest(self, frames: Sequence[Plain]) -> None:
        if not self.reason:
            self._guard(self._pass_on, frames)

    def _read_ended(self, error: Exception | None) -> None:
        if isinstance(error, NoiseError | Sv2Error):
            self.abort(str(error), code=error.code)
        elif isinstance(error, OSError) and not self.reason:
            # The socket's own, of which no event loop hears any more.
            self.abort(f"the connection broke: {error}", code="reset")
        elif error is not None:
            self.abort(f"the connection broke: {error}", code="reset")
            raise error
        else:
            # The event loop finds out how it has ended.
            self._close_inlet()
            transport = self._transport
            if transport is not None and self._is_reading and not self.reason:
                transport.resume_reading()

    def _close_inlet(self) -> None:
        inlet, self._inlet = self._inlet, None
        if inlet is not None:
            self._loop.remove_reader(inlet.fileno())
            inlet.close()

    def _stop_reading(self) -> None:
        if self._inlet is None:
            super()._stop_reading()
        elif self._is_reading:
            self._is_reading = False
            self._loop.remove_reader(self._inlet.fileno())

    def _read_on(self) -> None:
        if self._inlet is None:
            super()._read_on()
        elif not self._is_reading:
            self._is_reading = True
            self._loop.add_reader(self._inlet.fileno(), self._inlet.look)

    async def hand_over(self, take: Callable[[Sequence[Plain]], int], opener: Opener | None = None) -> Never:
        """Give `take` all frames from now on as they arrive, without a task's turn in between.

        It returns how many it has taken; the rest it is given later. Raises what it raises, and
        ConnectionLost when the connection has ended and all that came before is taken. An `opener` comes
        before it where nothing waits.
        """
        self._consumer = consumer = Consumer(take, self._loop.create_future(), opener)
        self._backlog = tuple((frame.header(), frame.payload) for frame in self._take_queue())
        try:
            if self._backlog or self.reason:
                self._go_on()
            await consumer.ended
        finally:
            self._consumer = None
            # The error that ends it knows this frame: a circle for each of thousands that go.
            del consumer
        raise ConnectionLost("nothing more to hand over")

    def hold(self) -> None:
        """Hand nothing over, and read nothing, until `release` has been called as often."""
        self._holds += 1
        self._stop_reading()

    def release(self) -> None:
        """What has been held may go on, in a later turn of the event loop."""
        self._holds -= 1
        if not self._holds:
            self._loop.call_soon(self._go_on)

    def data_received(self, data: bytes) -> None:
        consumer, noise = self._consumer, self._noise
        if consumer is None or noise is None or self._backlog or self._holds or self.reason:
            super().data_received(data)
            return
        opener = consumer.opener
        try:
            frames = noise.receive(data) if opener is None or len(data) > SMALL else opener(noise, data)
        except (NoiseError, Sv2Error) as error:
            self.abort(str(error), code=error.code)
            return
        if not frames:
            return
        if len(frames) > TURN:
            self._give(consumer, frames)
            return
        # What `_give` comes to; the calls would be felt.
        try:
            taken = consumer.take(frames)
        except (Sv2Error, ConnectionLost) as error:
            consumer.end(error)
            return
        if taken < len(frames):
            self._keep(frames[taken:])

    def _arrived(self, data: bytes) -> None:
        try:
            if self._noise is None:
                data = self._shake_hands(data)
            if data and self._noise is not None:
                frames = self._noise.receive(data)
                if self._consumer is not None:
                    self._pass_on(frames)
                    return
                for header, payload in frames:
                    self._deliver(frame_from(header, payload), len(payload))
        except (NoiseError, Sv2Error) as error:
            self.abort(str(error), code=error.code)
        self._delivered()

    def _pass_on(self, frames: Sequence[Plain]) -> None:
        if self._backlog or self._holds:
            # What came behind what is held; no more is read meanwhile.
            self._backlog = [*self._backlog, *frames]
            return
        consumer = self._consumer
        if consumer is None:
            return
        self._give(consumer, frames)

    def _give(self, consumer: "Consumer", frames: Sequence[Plain]) -> None:
        taken = consumer.give(frames if len(frames) <= TURN else frames[:TURN])
        if taken < len(frames):
            self._keep(frames[taken:])

    def _keep(self, frames: Sequence[Plain]) -> None:
        """What is not taken yet waits, and with it whatever follows."""
        self._backlog = frames
        self._stop_reading()
        if not self._holds:
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        if self._holds or self._consumer is None:
            return
        frames, self._backlog = self._backlog, _NO_FRAMES
        if frames:
            self._pass_on(frames)
        if self._backlog or self._holds:
            return
        if self.reason:
            self._consumer.end(self._lost())
        else:
            self._read_on()

    def _end(self, code: str, text: str) -> bool:
        is_first = super()._end(code, text)
        if is_first:
            self._close_inlet()
        if is_first and self._outlet is not None:
            self._outlet.close()
        if is_first and self._consumer is not None:
            self._loop.call_soon(self._go_on)
        return is_first

    def _shake_hands(self, data: bytes) -> bytes:
        """Take bytes of the peer's act; return what follows it."""
        raise NotImplementedError

    def _complete(self, session: Session) -> None:
        self._noise = kernel().cipher(session, self._limit)
        self.handshake_hash = session.handshake_hash
        self.peer_static = session.peer_static
        self._opened()


class Consumer:
    """Who is given frames as they arrive; `ended` is done when there are no more for it.

    `take` tells how many of the frames are taken: all when it has ended.
    """

    __slots__ = ("ended", "opener", "take")

    def __init__(
        self,
        take: Callable[[Sequence[Plain]], int],
        ended: asyncio.Future[None],
        opener: Opener | None = None,
    ) -> None:
        self.take = take
        self.ended = ended
        self.opener = opener

    def give(self, frames: Sequence[Plain]) -> int:
        """Have frames taken; what taking them raises is its end."""
        try:
            return self.take(frames)
        except (Sv2Error, ConnectionLost) as error:
            self.end(error)
            return len(frames)

    def end(self, error: BaseException) -> None:
        """There is no more."""
        self.take, self.opener = len, None
        if not self.ended.done():
            self.ended.set_exception(error)


class ServedConnection(Sv2Connection):
    """The server's end."""

    __slots__ = ("_identity",)

    def __init__(
        self, owner: StreamOwner, limits: StreamLimits, limit: Limit, identity: NoiseIdentity
    ) -> None:
        super().__init__(owner, limits, limit)
        self._identity = identity

    def _begin(self) -> None:
        """The client speaks first."""

    def _shake_hands(self, data: bytes) -> bytes:
        act = self._act = self._act + data
        if len(act) < ACT1_SIZE:
            return b""
        self._act = b""
        act2, session = self._identity.responder().receive(act[:ACT1_SIZE])
        self._write(act2)
        self._complete(session)
        return act[ACT1_SIZE:]


class DialledConnection(Sv2Connection):
    """The client's end."""

    __slots__ = ("_clock", "_initiator")

    def __init__(
        self,
        owner: StreamOwner,
        limits: StreamLimits,
        limit: Limit,
        authority: bytes | None,
        clock: Callable[[], float],
    ) -> None:
        super().__init__(owner, limits, limit)
        self._clock = clock
        self._initiator = Initiator(
            ephemeral_secret=fresh_secret(), ephemeral_aux=secrets.token_bytes(32), authority=authority
        )

    def _begin(self) -> None:
        self._write(self._initiator.start())

    def _shake_hands(self, data: bytes) -> bytes:
        act = self._act = self._act + data
        if len(act) < ACT2_SIZE:
            return b""
        self._act = b""
        self._complete(self._initiator.receive(act[:ACT2_SIZE], int(self._clock())))
        return act[ACT2_SIZE:]


async def connect(
    address: Address,
    authority: bytes | None,
    *,
    limit: Limit,
    timeout: float = CONNECT_S,
    limits: StreamLimits | None = None,
    allow_unauthenticated: bool = False,
    clock: Callable[[], float] = time.time,
) -> Sv2Connection:
    """Connect and shake hands within `timeout` seconds.

    `authority` is the x-only key that vouches for the server; without one AuthorityRequired is raised
    unless `allow_unauthenticated`. Raises ConnectFailed, whose code is ``unreachable``, ``timeout`` or the
    handshake's.
    """
    if authority is None and not allow_unauthenticated:
        raise AuthorityRequired(
            f"no authority key is set for {address}",
            hint="set its authority_key, or allow the connection to be unauthenticated",
        )
    bounds = limits or StreamLimits()
    try:
        connection = await dial(
            address, lambda owner: DialledConnection(owner, bounds, limit, authority, clock), timeout
        )
    except ConnectFailed as error:
        if error.code not in _CURES:
            raise
        raise ConnectFailed(f"{error} ({_CURES[error.code]})", code=error.code) from error
    if authority is None:
        level = logging.INFO if address.is_loopback else logging.WARNING
        _log.log(level, "nobody vouches for the peer: no authority key", extra={"peer": str(address)})
    return connection


_CURES = {
    WrongAuthority.code: "authority_key here must be the key that `hashpool keys show` prints there",
    CertificateOutOfDate.code: "see that the clocks of both machines are right",
    HandshakeForged.code: "is it the port of a Stratum V2 server?",
}
"""What a person can do about a handshake that failed."""


def serve(
    address: Address,
    authority_secret: bytes,
    handler: Callable[[Sv2Connection], Awaitable[None]],
    *,
    limit: Limit,
    setting: str,
    metrics: ServerMetrics | None = None,
    server_limits: ServerLimits | None = None,
    stream_limits: StreamLimits | None = None,
    certificate_s: int = CERTIFICATE_S,
    has_siblings: bool = False,
    clock: Callable[[], float] = time.time,
) -> PeerServer[ServedConnection]:
    """Listen at once, and serve while `run` of the result runs.

    `setting` names the configuration key of the address, `certificate_s` is a certificate's lifetime in
    seconds; processes that listen `has_siblings` share the peers. Raises PortInUse or ListenFailed.
    """
    sock = listen(address, setting, has_siblings=has_siblings)
    identity = NoiseIdentity(authority_secret, clock=clock, lifetime_s=certificate_s)
    streams = stream_limits or StreamLimits()
    return PeerServer(
        sock,
        lambda owner: ServedConnection(owner, streams, limit, identity),
        handler,
        limits=server_limits or ServerLimits(),
        metrics=metrics or ServerMetrics(CollectorRegistry(), "sv2"),
    )
