"""A fake SV1 pool on a real socket: it hashes for itself, and does what a test has it do."""

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from hashlib import sha256
from typing import Any, Final

from shared_config.address import Address

PATIENCE: Final = 30.0
DIFFICULTY_ONE: Final = 0xFFFF << 208
COINBASE1: Final = bytes.fromhex("02000000" + "01" + "00" * 32 + "ffffffff" + "1c" + "0352414e" + "14")
COINBASE2: Final = bytes.fromhex("feffffff" + "01" + "00f2052a01000000" + "0151" + "00000000")
NTIME: Final = 1_700_000_000
ANYWHERE: Final = Address("127.0.0.1", 1)

Params = list[Any]
Answer = Callable[["Peer", int, Params], None]


def twice(data: bytes) -> bytes:
    return sha256(sha256(data).digest()).digest()


def swapped(hash32: bytes) -> str:
    return b"".join(hash32[i : i + 4][::-1] for i in range(0, 32, 4)).hex()


@dataclass
class Given:
    """A job as it was given, with what was in force then."""

    previous: bytes
    coinbase: tuple[bytes, bytes]
    extranonce1: bytes
    extranonce2_size: int
    version: int
    mask: int
    bits: int
    difficulty: Fraction


@dataclass
class Share:
    """A share as it came, and what the pool finds wrong with it, if anything."""

    id: int
    user: str
    job_id: str
    extranonce2: bytes
    fault: str


class Peer:
    """One connection."""

    def __init__(self, pool: "FakePool", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.pool = pool
        self.reader, self.writer = reader, writer
        self.extranonce1, self.extranonce2_size = b"", pool.extranonce2_size
        self.difficulty = pool.difficulty
        self.mask = 0
        self.heard: list[tuple[str, Params]] = []
        self.agent = ""
        self.asked_session = ""
        self.names: dict[str, str] = {}
        self.jobs: dict[str, Given] = {}
        self.shares: list[Share] = []
        self.seen: set[tuple[str, bytes, int, int, int]] = set()

    # What a test has it say

    def line(self, text: bytes) -> None:
        self.writer.write(text + b"\n")

    def tell(self, method: str, *params: object) -> None:
        self.line(json.dumps({"id": None, "method": method, "params": params}).encode())

    def answer(self, id: object, result: object, error: object = None, **more: object) -> None:
        self.line(json.dumps({"id": id, "result": result, "error": error, **more}).encode())

    def set_difficulty(self, difficulty: float) -> None:
        self.difficulty = Fraction(difficulty)
        self.tell("mining.set_difficulty", difficulty)

    def set_extranonce(self, extranonce1: bytes, size: int) -> None:
        self.extranonce1, self.extranonce2_size = extranonce1, size
        self.tell("mining.set_extranonce", extranonce1.hex(), size)

    def set_mask(self, mask: int) -> None:
        self.mask = mask
        self.tell("mining.set_version_mask", f"{mask:08x}")

    def notify(self, *, clean: bool = False, version: int = 0x20000000, again: bool = False) -> str:
        """Other work, on another tip where it is `clean`; `again`: the same under another id."""
        pool = self.pool
        if not again:
            pool.tip += clean
            pool.works += 1
        pool.ids += 1
        job_id = pool.job_form.format(pool.ids)
        given = Given(
            twice(b"%d" % pool.tip),
            (COINBASE1, COINBASE2 + pool.works.to_bytes(4, "big")),
            self.extranonce1,
            self.extranonce2_size,
            version,
            self.mask,
            pool.bits,
            self.difficulty,
        )
        self.jobs[job_id] = given
        coinbase1, coinbase2 = given.coinbase
        self.tell(
            "mining.notify",
            job_id,
            swapped(given.previous),
            coinbase1.hex(),
            coinbase2.hex(),
            [],
            f"{version:08x}",
            f"{pool.bits:08x}",
            f"{NTIME:08x}",
            clean,
        )
        return job_id

    def close(self) -> None:
        self.writer.close()

    async def closed(self) -> None:
        """Wait until the other side has gone."""
        await asyncio.wait_for(self.gone.wait(), PATIENCE)

    # What it does by itself

    async def serve(self) -> None:
        self.gone = asyncio.Event()
        try:
            while line := await self.reader.readline():
                message = json.loads(line)
                self._take(message)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.gone.set()
            self.pool.changed.set()
            self.writer.close()

    def _take(self, message: dict[str, Any]) -> None:
        method = message.get("method", "")
        params = message.get("params", [])
        self.heard.append((method, params))
        handle = self.pool.answers.get(method, _ANSWERS.get(method))
        if handle is not None:
            handle(self, message["id"], params)
        self.pool.changed.set()

    def configured(self, id: int, params: Params) -> None:
        self.mask = self.pool.mask & int(params[1]["version-rolling.mask"], 16)
        for given in self.jobs.values():
            # The bits are the connection's, whenever it has asked.
            given.mask = self.mask
        rolling = {"version-rolling": True, "version-rolling.mask": f"{self.mask:08x}"}
        self.answer(id, rolling if self.mask else {"version-rolling": False})

    def subscribed(self, id: int, params: Params) -> None:
        self.agent = params[0] if params else ""
        self.asked_session = params[1] if len(params) > 1 else ""
        self.extranonce1 = self.pool.grant(self.asked_session)
        session = self.extranonce1.hex()
        self.answer(
            id,
            [
                [["mining.set_difficulty", session], ["mining.notify", session]],
                self.extranonce1.hex(),
                self.extranonce2_size,
            ],
        )

    def authorized(self, id: int, params: Params) -> None:
        user, password = params
        is_first = not self.names
        if user in self.pool.refused:
            self.answer(id, None, [24, "Unauthorized worker", None])
            return
        self.names[user] = password
        self.answer(id, True)
        if is_first:
            self.set_difficulty(float(self.difficulty))
            self.notify(clean=not self.pool.keeps_tip)

    def submitted(self, id: int, params: Params) -> None:
        share = self.judge(id, params)
        self.shares.append(share)
        self.pool.verdict(self, share)

    def judge(self, id: int, params: Params) -> Share:
        user, job_id, extranonce2, *texts = params
        bits = texts[2:]
        share = Share(id, user, job_id, bytes.fromhex(extranonce2), "")
        given = self.jobs.get(job_id)
        if given is None:
            share.fault = "no job"
            return share
        rolled = int(bits[0], 16) if bits else 0
        if bool(bits) != bool(given.mask) or rolled & ~given.mask:
            share.fault = "version bits"
        elif user not in self.names:
            share.fault = "name"
        elif len(share.extranonce2) != given.extranonce2_size:
            share.fault = "extranonce2"
        elif not all(len(text) == 8 for text in texts):
            share.fault = "a number of another length"
        version = self.pool.combine(given.version, given.mask, rolled)
        coinbase = given.coinbase[0] + given.extranonce1 + share.extranonce2 + given.coinbase[1]
        numbers = int(texts[0], 16), int(texts[1], 16)
        header = struct.pack(
            "<I32s32sIII", version, given.previous, twice(coinbase), numbers[0], given.bits, numbers[1]
        )
        difficulty = self.difficulty if self.pool.judges_by_present else given.difficulty
        if int.from_bytes(twice(header), "little") > DIFFICULTY_ONE / difficulty:
            share.fault = share.fault or "difficulty"
        key = (job_id, share.extranonce2, *numbers, version)
        if key in self.seen:
            share.fault = share.fault or "duplicate"
        self.seen.add(key)
        return share


def bip310(version: int, mask: int, bits: int) -> int:
    """The version of a header, whose bits in the mask are the miner's."""
    return version & ~mask | bits & mask


def accept(peer: Peer, share: Share) -> None:
    """What a pool says to a good share, and to a bad one."""
    if share.fault:
        peer.answer(share.id, None, [23, f"bad: {share.fault}", None])
    else:
        peer.answer(share.id, True)


_ANSWERS: Final[dict[str, Answer]] = {
    "mining.configure": Peer.configured,
    "mining.subscribe": Peer.subscribed,
    "mining.authorize": Peer.authorized,
    "mining.submit": Peer.submitted,
}


@dataclass
class FakePool:
    """Serves any number of connections; `answers` replaces what it does on a method."""

    extranonce2_size: int = 8
    mask: int = 0x1FFFE000
    difficulty: Fraction = Fraction(1, 1 << 24)
    bits: int = 0x207FFFFF
    answers: dict[str, Answer] = field(default_factory=dict)
    verdict: Callable[[Peer, Share], None] = accept
    combine: Callable[[int, int, int], int] = bip310
    judges_by_present: bool = False
    extranonce1_size: int = 4
    refused: set[str] = field(default_factory=set)
    keeps_tip: bool = False
    resumes: bool = False
    job_form: str = "{:x}"
    peers: list[Peer] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    tip: int = 0
    works: int = 0
    ids: int = 0
    granted: int = 0
    address: Address = ANYWHERE
    server: asyncio.Server | None = None

    def grant(self, session: str) -> bytes:
        """An extranonce1, that of a session where sessions are resumed."""
        if self.resumes and session:
            return bytes.fromhex(session)
        self.granted += 1
        return (0xA0 << 8 * self.extranonce1_size - 8 | self.granted).to_bytes(self.extranonce1_size, "big")

    async def open(self, **more: Any) -> None:
        self.server = await asyncio.start_server(
            self._serve, self.address.host, 0 if self.address.port == 1 else self.address.port, **more
        )
        self.address = Address(*self.server.sockets[0].getsockname()[:2])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.server is None:
            # It was let in while we closed.
            writer.close()
            return
        peer = Peer(self, reader, writer)
        self.peers.append(peer)
        self.changed.set()
        await peer.serve()

    def close(self) -> None:
        """Listen no more, and cut everybody."""
        if self.server is not None:
            self.server.close()
            self.server = None
        for peer in self.peers:
            peer.close()

    async def until(self, true: Callable[[], object]) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(PATIENCE):
            while not true():
                self.changed.clear()
                await self.changed.wait()

    @property
    def last(self) -> Peer:
        return self.peers[-1]

    @property
    def shares(self) -> list[Share]:
        return [share for peer in self.peers for share in peer.shares]


@asynccontextmanager
async def fake_pool(**options: Any) -> AsyncIterator[FakePool]:
    pool = FakePool(**options)
    await pool.open()
    try:
        yield pool
    finally:
        pool.close()
        for peer in pool.peers:
            with suppress(ConnectionError):
                await peer.writer.wait_closed()
