"""An SV1 miner's connection that costs next to nothing: what miners of several benchmarks have in common.

The kernel notes when bytes arrive, so that the time of whoever reads them is no part of a measurement.
"""

import asyncio
import socket
import time
from fractions import Fraction
from hashlib import sha256
from itertools import count
from struct import Struct
from typing import Final

from benchmarks.errors import EdgeRefused
from protocols.bitcoin.target import from_difficulty
from protocols.sv1.line import UPSTREAM_LIMIT, LineSplitter, Overlong
from protocols.sv1.messages import Call, Reply, parse, request
from protocols.sv1.notifications import Notify, read_notify, read_set_difficulty
from protocols.sv1.results import Subscription, read_subscription
from roles.cpu_miner.work import Piece, Work
from shared_config.address import Address

SUBSCRIBE: Final = 1
AUTHORIZE: Final = 2
FIRST_SUBMIT: Final = 3
WORK_S: Final = 30.0
READ_SIZE: Final = 1 << 16
SO_TIMESTAMPNS: Final = 35

_NONCE = Struct("<I")
_STAMP = Struct("@ll")
_ROOM = socket.CMSG_SPACE(_STAMP.size)


class Sv1Link:
    """One miner's connection: introduces itself, keeps difficulty and newest job, counts answers.

    A subclass hears of work and answers. `arrived` is when what is being heard came, in Unix seconds.
    """

    def __init__(self, user: str, sock: socket.socket) -> None:
        self.user = user
        self.sent = 0
        """Shares."""
        self.answered = 0
        self.arrived = 0.0
        self.subscription: Subscription | None = None
        self.difficulty = Fraction(1)
        self.job: Notify | None = None
        self.failure: EdgeRefused | None = None
        """Why the connection is of no use any more."""
        self._socket = sock
        self._lines = LineSplitter(UPSTREAM_LIMIT)
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._write(
            request(SUBSCRIBE, "mining.subscribe", ["benchmark"])
            + request(AUTHORIZE, "mining.authorize", [user, "x"])
        )
        self.listen()

    @property
    def unanswered(self) -> int:
        """Shares whose verdict has not come."""
        return self.sent - self.answered

    async def until_work(self) -> None:
        """Wait for the first job; raises EdgeRefused, TimeoutError."""
        async with asyncio.timeout(WORK_S):
            await self._ready

    def listen(self) -> None:
        """Hear what comes, from now on."""
        if self.failure is None:
            self._loop.add_reader(self._socket, self._read)

    def pause(self) -> None:
        """Leave what comes to the kernel until `listen`."""
        self._loop.remove_reader(self._socket)

    def submit(self, params: list[str]) -> None:
        """Send a share: job id, extranonce2, ntime, nonce; raises EdgeRefused when the connection is gone."""
        if self.failure is not None:
            raise self.failure
        number = FIRST_SUBMIT + self.sent
        self.sent += 1
        self._write(request(number, "mining.submit", [self.user, *params]))

    def close(self) -> None:
        """Leave."""
        self._end(EdgeRefused("closed here"))

    def work(self) -> Work:
        """The present job, to be mined on; raises EdgeRefused where there is none."""
        job, subscription = self.job, self.subscription
        if job is None or subscription is None:
            raise EdgeRefused("the translator has given no work")
        return Work(
            job_id=job.job_id,
            previous=job.previous,
            version=job.version,
            bits=job.bits,
            ntime=job.ntime,
            target=from_difficulty(self.difficulty),
            mask=0,
            coinbase1=job.coinbase1 + subscription.extranonce1,
            coinbase2=job.coinbase2,
            merkle_path=job.branches,
            extranonce_size=subscription.extranonce2_size,
        )

    # What a subclass may want to hear

    def worked(self) -> None:
        """There is a new job."""

    def judged(self, number: int, refusal: str) -> None:
        """The answer to a share, counted from 0; `refusal` is empty for success."""

    # The rest

    def _write(self, line: bytes) -> None:
        try:
            self._socket.sendall(line)
        except OSError as error:
            self._end(EdgeRefused(f"the translator reads no more: {error}"))

    def _read(self) -> None:
        try:
            data, notes, _, _ = self._socket.recvmsg(READ_SIZE, _ROOM)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(EdgeRefused(f"the translator closed the connection: {error}"))
            return
        if not data:
            self._end(EdgeRefused("the translator closed the connection"))
            return
        self.arrived = _moment(notes)
        for line in self._lines.receive(data):
            if isinstance(line, Overlong):
                continue
            message = parse(line)
            if isinstance(message, Reply):
                self._hear(message)
            elif isinstance(message, Call):
                self._heed(message)

    def _hear(self, answer: Reply) -> None:
        number = int(answer.id)
        if number >= FIRST_SUBMIT:
            self.answered += 1
            self.judged(number - FIRST_SUBMIT, "" if answer.error is None else answer.error.text)
        elif answer.error is not None:
            self._end(EdgeRefused(f"request {number} is refused: {answer.error.text}"))
        elif number == SUBSCRIBE:
            self.subscription = read_subscription(answer.result)

    def _heed(self, call: Call) -> None:
        if call.method == "mining.set_difficulty":
            self.difficulty = read_set_difficulty(call.params)
        elif call.method == "mining.notify":
            self.job = read_notify(call.params)
            if not self._ready.done():
                self._ready.set_result(None)
            self.worked()

    def _end(self, failure: EdgeRefused) -> None:
        if self.failure is not None:
            return
        self.failure = failure
        self._loop.remove_reader(self._socket)
        self._socket.close()
        if not self._ready.done():
            self._ready.set_exception(failure)


async def dial(address: Address) -> socket.socket:
    """A connection whose bytes carry the time of their arrival; raises OSError."""
    sock = socket.socket()
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        await asyncio.get_running_loop().sock_connect(sock, (address.host, address.port))
    except OSError:
        sock.close()
        raise
    return sock


def said(piece: Piece, nonce: int) -> list[str]:
    """A share as `submit` takes it."""
    return [str(piece.work.job_id), piece.extranonce.hex(), f"{piece.ntime:08x}", f"{nonce:08x}"]


def first_nonce(piece: Piece) -> int:
    """The first nonce that meets the target."""
    target, begun, pack, read = piece.work.target, sha256(piece.head), _NONCE.pack, int.from_bytes
    zeros = bytes(32 - (target.bit_length() + 7) // 8)
    for nonce in count():
        first = begun.copy()
        first.update(pack(nonce))
        digest = sha256(first.digest()).digest()
        if digest.endswith(zeros) and read(digest, "little") <= target:
            return nonce
    raise AssertionError("count ends never")


def _moment(notes: list[tuple[int, int, bytes]]) -> float:
    for level, kind, note in notes:
        if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
            seconds, nanoseconds = _STAMP.unpack(note)
            return float(seconds + nanoseconds / 1e9)
    return time.time()
