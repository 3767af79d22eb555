"""A miner's connection that costs next to nothing: what it sends is sealed beforehand, what it hears is
counted.
"""

import asyncio
import secrets
import time
from collections.abc import Iterable
from struct import Struct
from typing import Final, TypeVar, cast

from benchmarks.errors import PoolRefused
from benchmarks.share_maker import MinerWork
from protocols.bitcoin.target import MAX_TARGET
from protocols.noise.handshake import ACT2_SIZE, Initiator
from protocols.noise.transport import Transport
from protocols.sv2.codec import MINING, encode
from protocols.sv2.connection import PROTOCOL_MINING, VERSION, SetupConnection, SetupConnectionSuccess
from protocols.sv2.frame import frame_from
from protocols.sv2.layout import Message
from protocols.sv2.limits import FrameLimits
from protocols.sv2.mining import (
    NewExtendedMiningJob,
    OpenExtendedMiningChannel,
    OpenExtendedMiningChannelSuccess,
    SetNewPrevHash,
    SubmitSharesExtended,
    SubmitSharesSuccess,
)
from roles.runtime.noise_identity import fresh_secret
from shared_config.address import Address

ANSWER_S: Final = 30.0
STALL_S: Final = 60.0
SEGMENT: Final = 600
"""Shares of one write in bulk: about 48 KiB."""

M = TypeVar("M", bound=Message)

_LIMIT = FrameLimits(MINING)
_SUCCESS = SubmitSharesSuccess.msg_type
_COUNT = Struct("<8xI")
_SETUP = SetupConnection(PROTOCOL_MINING, VERSION, VERSION, 0, "", 0, "benchmark", "", "", "")


class MinerLink(asyncio.Protocol):
    """One connection with at most one extended channel; made by `connect`."""

    def __init__(self, authority: bytes) -> None:
        self._initiator = Initiator(
            ephemeral_secret=fresh_secret(), ephemeral_aux=secrets.token_bytes(32), authority=authority
        )
        self._noise: Transport | None = None
        self._act = b""
        self._wire: asyncio.Transport | None = None
        self._heard: asyncio.Queue[Message | PoolRefused] = asyncio.Queue()
        self._sealed: list[bytes] = []
        self._sent = 0
        self._accepted = 0
        self._wanted = 0
        self._is_lockstep = False
        self._done: asyncio.Future[None] | None = None
        self._asked = 0.0
        self.latencies: list[float] = []
        """Seconds from each share to its answer, where one waits for the other."""

    async def set_up(self) -> None:
        """Hear that the connection is set up; raises PoolRefused."""
        await self._hear(SetupConnectionSuccess)

    async def open_channel(self, user: str, hashrate: float) -> MinerWork:
        """Open an extended channel and take its first work; raises PoolRefused."""
        self._send(OpenExtendedMiningChannel(1, user, hashrate, MAX_TARGET, 8))
        opened = await self._hear(OpenExtendedMiningChannelSuccess)
        job = await self._hear(NewExtendedMiningJob)
        return MinerWork(opened, job, await self._hear(SetNewPrevHash))

    def seal(self, shares: Iterable[SubmitSharesExtended]) -> None:
        """Make shares ready to be sent; nothing else can be sent before they are."""
        assert self._noise is not None
        for share in shares:
            frame = encode(share)
            self._sealed.append(self._noise.send(frame.header(), frame.payload))

    async def submit(self, shares: int, *, lockstep: bool) -> None:
        """Send the next sealed shares and wait until all are accepted; raises PoolRefused, TimeoutError.

        In lockstep each share is a segment and waits for the answer to the one before.
        """
        assert self._wire is not None
        self._wanted += shares
        self._is_lockstep = lockstep
        self._done = asyncio.get_running_loop().create_future()
        if lockstep:
            self._send_next()
        else:
            for start in range(self._sent, self._wanted, SEGMENT):
                self._wire.write(b"".join(self._sealed[start : min(start + SEGMENT, self._wanted)]))
            self._sent = self._wanted
        async with asyncio.timeout(STALL_S):
            await self._done

    def close(self) -> None:
        """End the connection."""
        if self._wire is not None:
            self._wire.abort()

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = cast("asyncio.Transport", transport)
        self._wire.write(self._initiator.start())

    def data_received(self, data: bytes) -> None:
        if self._noise is None:
            data = self._shake_hands(data)
        if self._noise is None:
            return
        for header, payload in self._noise.receive(data):
            if header[2] == _SUCCESS:
                self._accept(_COUNT.unpack_from(payload)[0])
            else:
                self._take(header, payload)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(PoolRefused(f"the pool closed the connection{f': {exc}' if exc else ''}"))

    # The rest

    def _shake_hands(self, data: bytes) -> bytes:
        self._act += data
        if len(self._act) < ACT2_SIZE:
            return b""
        act, rest = self._act[:ACT2_SIZE], self._act[ACT2_SIZE:]
        self._noise = Transport(self._initiator.receive(act, int(time.time())), _LIMIT)
        self._send(_SETUP)
        return rest

    def _take(self, header: bytes, payload: bytes) -> None:
        message, _ = MINING.decode(frame_from(header, payload))
        if type(message).__name__.endswith("Error"):
            self._fail(PoolRefused(f"the pool answers {message}"))
        elif self._done is None:
            self._heard.put_nowait(message)

    def _accept(self, shares: int) -> None:
        self._accepted += shares
        if self._is_lockstep:
            self.latencies.append(time.perf_counter() - self._asked)
            if self._sent < self._wanted:
                self._send_next()
        if self._accepted >= self._wanted and self._done is not None and not self._done.done():
            self._done.set_result(None)

    def _send_next(self) -> None:
        assert self._wire is not None
        self._asked = time.perf_counter()
        self._wire.write(self._sealed[self._sent])
        self._sent += 1

    def _send(self, message: Message) -> None:
        assert self._noise is not None
        assert self._wire is not None
        frame = encode(message)
        self._wire.write(self._noise.send(frame.header(), frame.payload))

    def _fail(self, error: PoolRefused) -> None:
        self._heard.put_nowait(error)
        if self._done is not None and not self._done.done():
            self._done.set_exception(error)

    async def _hear(self, kind: type[M]) -> M:
        async with asyncio.timeout(ANSWER_S):
            while True:
                message = await self._heard.get()
                if isinstance(message, PoolRefused):
                    raise message
                if isinstance(message, kind):
                    return message


async def connect(address: Address, authority: bytes) -> MinerLink:
    """A connection that is set up; raises PoolRefused, TimeoutError and OSError."""
    loop = asyncio.get_running_loop()
    _, link = await loop.create_connection(lambda: MinerLink(authority), address.host, address.port)
    await link.set_up()
    return link
