"""An SV1 miner that finds real shares at a pace of its own, on whatever work it was given last."""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from hashlib import sha256
from itertools import count
from struct import Struct
from typing import Final, cast

from benchmarks.errors import EdgeRefused
from protocols.bitcoin.target import from_difficulty
from protocols.sv1.line import UPSTREAM_LIMIT, LineSplitter, Overlong
from protocols.sv1.messages import Call, Reply, parse, request
from protocols.sv1.notifications import Notify, read_notify, read_set_difficulty
from protocols.sv1.results import Subscription, read_subscription
from roles.cpu_miner.work import Work, pieces
from shared_config.address import Address

SUBSCRIBE: Final = 1
AUTHORIZE: Final = 2
FIRST_SUBMIT: Final = 3
WORK_S: Final = 30.0

_NONCE = Struct("<I")


class PacedMiner(asyncio.Protocol):
    """One miner's connection, made by `connect`; `mine` submits until it is cancelled."""

    def __init__(self, user: str, chance: random.Random) -> None:
        self.user = user
        self.sent = 0
        self.answered = 0
        self.refused: Counter[str] = Counter()
        """Answers other than success, by their text."""
        self._chance = chance
        self._lines = LineSplitter(UPSTREAM_LIMIT)
        self._wire: asyncio.Transport | None = None
        self._subscription: Subscription | None = None
        self._difficulty = Fraction(1)
        self._job: Notify | None = None
        self._found: Iterator[list[str]] = iter(())
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def unanswered(self) -> int:
        """Shares whose verdict has not come."""
        return self.sent - self.answered

    async def mine(self, per_s: float) -> None:
        """Submit so many shares a second on average, at random moments as shares are found; raises
        EdgeRefused when the connection is gone.
        """
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due += self._chance.expovariate(per_s)
            await asyncio.sleep(due - loop.time())
            if self._wire is None or self._wire.is_closing():
                raise EdgeRefused("the translator closed the connection")
            number = FIRST_SUBMIT + self.sent
            self.sent += 1
            self._wire.write(request(number, "mining.submit", [self.user, *next(self._found)]))

    def close(self) -> None:
        """Leave."""
        if self._wire is not None:
            self._wire.abort()

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = cast("asyncio.Transport", transport)
        self._wire.write(
            request(SUBSCRIBE, "mining.subscribe", ["benchmark"])
            + request(AUTHORIZE, "mining.authorize", [self.user, "x"])
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

    async def until_work(self) -> None:
        """Wait for the first job; raises EdgeRefused, TimeoutError."""
        async with asyncio.timeout(WORK_S):
            await self._ready

    def _hear(self, answer: Reply) -> None:
        number = int(answer.id)
        if number >= FIRST_SUBMIT:
            self.answered += 1
            if answer.error is not None:
                self.refused[answer.error.text] += 1
        elif answer.error is not None:
            self._settle(EdgeRefused(f"request {number} is refused: {answer.error.text}"))
        elif number == SUBSCRIBE:
            self._subscription = read_subscription(answer.result)

    def _heed(self, call: Call) -> None:
        if call.method == "mining.set_difficulty":
            self._difficulty = read_set_difficulty(call.params)
        elif call.method == "mining.notify":
            self._job = read_notify(call.params)
            self._found = self._shares(self._job)
            self._settle()

    def _settle(self, error: EdgeRefused | None = None) -> None:
        if self._ready.done():
            return
        if error is None:
            self._ready.set_result(None)
        else:
            self._ready.set_exception(error)

    def _shares(self, job: Notify) -> Iterator[list[str]]:
        """What is said of each share of a job: job id, extranonce2, ntime, nonce. Hashes when it is asked."""
        subscription = self._subscription
        if subscription is None:
            return
        target = from_difficulty(self._difficulty)
        work = Work(
            job_id=job.job_id,
            previous=job.previous,
            version=job.version,
            bits=job.bits,
            ntime=job.ntime,
            target=target,
            mask=0,
            coinbase1=job.coinbase1 + subscription.extranonce1,
            coinbase2=job.coinbase2,
            merkle_path=job.branches,
            extranonce_size=subscription.extranonce2_size,
        )
        piece = next(pieces(work, self._chance.getrandbits(31)))
        said = [job.job_id, piece.extranonce.hex(), f"{piece.ntime:08x}"]
        begun, pack, read = sha256(piece.head), _NONCE.pack, int.from_bytes
        zeros = bytes(32 - (target.bit_length() + 7) // 8)
        for nonce in count():
            first = begun.copy()
            first.update(pack(nonce))
            digest = sha256(first.digest()).digest()
            if digest.endswith(zeros) and read(digest, "little") <= target:
                yield [*said, f"{nonce:08x}"]


async def connect(address: Address, user: str, chance: random.Random) -> PacedMiner:
    """A miner that has its first work; raises EdgeRefused, TimeoutError and OSError."""
    loop = asyncio.get_running_loop()
    _, miner = await loop.create_connection(lambda: PacedMiner(user, chance), address.host, address.port)
    await miner.until_work()
    return miner
