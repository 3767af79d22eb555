"""An SV1 miner that costs next to nothing: its shares are mined before they are timed."""

import asyncio
import time
from fractions import Fraction
from itertools import count, islice
from struct import Struct
from typing import Final, cast

from benchmarks.errors import EdgeRefused
from protocols.bitcoin.hashing import sha256d
from protocols.bitcoin.target import from_difficulty
from protocols.sv1.line import UPSTREAM_LIMIT, LineSplitter, Overlong
from protocols.sv1.messages import Call, Reply, parse, request
from protocols.sv1.notifications import Notify, read_notify, read_set_difficulty
from protocols.sv1.results import Subscription, read_subscription
from roles.cpu_miner.work import Piece, Work, pieces
from shared_config.address import Address

SUBSCRIBE: Final = 1
AUTHORIZE: Final = 2
FIRST_SUBMIT: Final = 3
WORK_S: Final = 30.0
STALL_S: Final = 60.0

_NONCE = Struct("<I")


class Sv1Miner(asyncio.Protocol):
    """One miner's connection; made by `connect`."""

    def __init__(self, user: str) -> None:
        self._user = user
        self._lines = LineSplitter(UPSTREAM_LIMIT)
        self._wire: asyncio.Transport | None = None
        self._subscription: Subscription | None = None
        self._difficulty = Fraction(1)
        self._job: Notify | None = None
        self._shares: list[bytes] = []
        self._sent = 0
        self._wanted = 0
        self._asked = 0.0
        self._waiter: asyncio.Future[None] | None = None
        self.latencies: list[float] = []
        """Seconds from each share to the answer."""
        self.noticed_at = 0.0
        """When the newest work that makes all earlier stale came, by the performance counter."""

    async def until_work(self) -> None:
        """Wait for the first job; raises EdgeRefused, TimeoutError."""
        if self._job is None:
            await self._wait(WORK_S)

    async def until_other_work(self) -> None:
        """Wait for the next clean job; raises EdgeRefused, TimeoutError."""
        await self._wait(WORK_S)

    def prepare(self, shares: int) -> None:
        """Mine so many shares on the present job."""
        work = self._work()
        first = FIRST_SUBMIT + len(self._shares)
        for number, piece in enumerate(islice(pieces(work, first), shares), first):
            params = [self._user, work.job_id, piece.extranonce.hex(), f"{piece.ntime:08x}", _nonce(piece)]
            self._shares.append(request(number, "mining.submit", params))

    async def submit(self, shares: int) -> None:
        """Send prepared shares, each after the answer to the one before; raises EdgeRefused, TimeoutError."""
        self._wanted = self._sent + shares
        self._send_next()
        await self._wait(STALL_S)

    def close(self) -> None:
        """Leave."""
        if self._wire is not None:
            self._wire.abort()

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = cast("asyncio.Transport", transport)
        self._wire.write(
            request(SUBSCRIBE, "mining.subscribe", ["benchmark"])
            + request(AUTHORIZE, "mining.authorize", [self._user, "x"])
        )

    def data_received(self, data: bytes) -> None:
        for line in self._lines.receive(data):
            if isinstance(line, Overlong):
                continue
            message = parse(line)
            if isinstance(message, Reply):
                self._hear(message)
            elif isinstance(message, Call):
                self._heed(message)

    def connection_lost(self, exc: Exception | None) -> None:
        self._settle(EdgeRefused(f"the translator closed the connection{f': {exc}' if exc else ''}"))

    # The rest

    def _hear(self, answer: Reply) -> None:
        number = int(answer.id)
        if answer.error is not None:
            self._settle(EdgeRefused(f"request {number} is refused: {answer.error.text}"))
        elif number == SUBSCRIBE:
            self._subscription = read_subscription(answer.result)
        elif number >= FIRST_SUBMIT:
            self.latencies.append(time.perf_counter() - self._asked)
            if self._sent < self._wanted:
                self._send_next()
            else:
                self._settle()

    def _heed(self, call: Call) -> None:
        if call.method == "mining.set_difficulty":
            self._difficulty = read_set_difficulty(call.params)
        elif call.method == "mining.notify":
            had_work, self._job = self._job is not None, read_notify(call.params)
            self.noticed_at = time.perf_counter()
            if not had_work or self._job.clean:
                self._settle()

    def _send_next(self) -> None:
        assert self._wire is not None
        self._asked = time.perf_counter()
        self._wire.write(self._shares[self._sent])
        self._sent += 1

    def _settle(self, error: EdgeRefused | None = None) -> None:
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)

    async def _wait(self, seconds: float) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        async with asyncio.timeout(seconds):
            await self._waiter

    def _work(self) -> Work:
        job, subscription = self._job, self._subscription
        if job is None or subscription is None:
            raise EdgeRefused("the translator has given no work")
        return Work(
            job_id=job.job_id,
            previous=job.previous,
            version=job.version,
            bits=job.bits,
            ntime=job.ntime,
            target=from_difficulty(self._difficulty),
            mask=0,
            coinbase1=job.coinbase1 + subscription.extranonce1,
            coinbase2=job.coinbase2,
            merkle_path=job.branches,
            extranonce_size=subscription.extranonce2_size,
        )


async def connect(address: Address, user: str) -> Sv1Miner:
    """A miner that has its first work; raises EdgeRefused, TimeoutError and OSError."""
    loop = asyncio.get_running_loop()
    _, miner = await loop.create_connection(lambda: Sv1Miner(user), address.host, address.port)
    await miner.until_work()
    return miner


def _nonce(piece: Piece) -> str:
    """The first nonce that meets the target, in the hex of the wire."""
    for nonce in count():
        share_hash = sha256d(piece.head + _NONCE.pack(nonce))
        if int.from_bytes(share_hash, "little") <= piece.work.target:
            return f"{nonce:08x}"
    raise AssertionError("count ends never")
