"""Fake SV1 miners, each with the manners of a firmware; they hash for themselves."""

import asyncio
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from tests.roles.translator.scripted_proxy import DIFFICULTY_ONE, PATIENCE, twice


@dataclass
class Job:
    """A mining.notify as a miner keeps it, with the difficulty that counts for it."""

    params: list[Any]
    difficulty: Fraction
    mask: int

    @property
    def id(self) -> str:
        return str(self.params[0])


class FakeMiner:
    """An SV1 client that believes what it is told and hashes for itself."""

    user = "alice.rig"
    password = "x"
    agent = "fake/1.0"

    def __init__(self) -> None:
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter
        self.lines: list[dict[str, Any]] = []
        self.raw: list[bytes] = []
        self.replies: dict[str, dict[str, Any]] = {}
        self.jobs: list[Job] = []
        self.difficulty = Fraction(1)
        self.mask = 0
        self.extranonce1 = b""
        self.extranonce2_size = 0
        self.counter = 0
        self.is_gone = False
        self.last_id = 0
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()

    # Wire

    async def connect(self, port: int) -> "FakeMiner":
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port)
        return self

    def write(self, *messages: dict[str, Any] | bytes) -> None:
        """All in one segment."""
        self.writer.write(
            b"".join(
                message if isinstance(message, bytes) else json.dumps(message).encode() + b"\n"
                for message in messages
            )
        )

    async def line(self) -> dict[str, Any]:
        """The next line, read one by one as simple firmware does, before `listen`."""
        async with asyncio.timeout(PATIENCE):
            raw = await self.reader.readline()
        assert raw, "the server closed"
        self._take(raw)
        return self.lines[-1]

    def listen(self) -> None:
        """Read everything from now on."""
        self._task = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        try:
            while raw := await self.reader.readline():
                self._take(raw)
        except ConnectionError:
            pass
        self.is_gone = True
        self._news.set()

    def _take(self, raw: bytes) -> None:
        self.raw.append(raw)
        message = json.loads(raw)
        self.lines.append(message)
        params = message.get("params")
        match message.get("method"):
            case "mining.notify":
                if params[-1]:
                    self.jobs.clear()
                self.jobs.append(Job(params, self.difficulty, self.mask))
            case "mining.set_difficulty":
                self.difficulty = Fraction(params[0])
            case "mining.set_version_mask":
                self.mask = int(params[0], 16)
            case None:
                self.heard(message)
        self._news.set()

    def heard(self, reply: dict[str, Any]) -> None:
        """Firmware that matches replies by id."""
        self.replies[json.dumps(reply["id"])] = reply

    async def until(self, condition: Callable[[], Any]) -> Any:
        async with asyncio.timeout(PATIENCE):
            while not (found := condition()):
                self._news.clear()
                await self._news.wait()
        return found

    async def reply(self, id: Any) -> dict[str, Any]:
        found: dict[str, Any] = await self.until(lambda: self.replies.get(json.dumps(id)))
        return found

    async def job(self) -> Job:
        found: Job = await self.until(lambda: self.jobs and self.jobs[-1])
        return found

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            pass

    # Handshake

    async def start(self) -> None:
        """Subscribe and authorize, and wait for work."""
        self.write(
            {"id": 1, "method": "mining.subscribe", "params": [self.agent]},
            {"id": 2, "method": "mining.authorize", "params": [self.user, self.password]},
        )
        self.listen()
        self.subscribed(await self.reply(1))
        assert (await self.reply(2))["result"] is True
        self.last_id = 2
        await self.job()

    def subscribed(self, reply: dict[str, Any]) -> None:
        assert reply["error"] is None
        subscriptions, extranonce1, self.extranonce2_size = reply["result"]
        assert [name for name, _ in subscriptions] == ["mining.set_difficulty", "mining.notify"]
        self.extranonce1 = bytes.fromhex(extranonce1)

    # Work

    def header_hash(self, job: Job, extranonce2: bytes, ntime: int, nonce: int, version: int) -> int:
        _, previous, coinbase1, coinbase2, branches, _, bits, _, _ = job.params
        coinbase = bytes.fromhex(coinbase1) + self.extranonce1 + extranonce2 + bytes.fromhex(coinbase2)
        root = twice(coinbase)
        for branch in branches:
            assert len(branch) == 64
            root = twice(root + bytes.fromhex(branch))
        words = bytes.fromhex(previous)
        previous_hash = b"".join(words[i : i + 4][::-1] for i in range(0, 32, 4))
        header = struct.pack("<I32s32sIII", version, previous_hash, root, ntime, int(bits, 16), nonce)
        return int.from_bytes(twice(header), "little")

    def find(
        self, job: Job, *, bits: int = 0, good: bool = True, difficulty: Fraction | None = None
    ) -> list[Any]:
        """The parameters of a share that meets the job's difficulty, or of one that misses it."""
        version = int(job.params[5], 16)
        ntime = int(job.params[7], 16)
        limit = DIFFICULTY_ONE / (difficulty or job.difficulty)
        self.counter += 1
        extranonce2 = self.counter.to_bytes(self.extranonce2_size, "big")
        for nonce in range(1 << 20):
            found = self.header_hash(job, extranonce2, ntime, nonce, version | bits)
            if (found <= limit) is good:
                return self.params(job, extranonce2, ntime, nonce, bits)
        raise AssertionError("no share found")

    def params(self, job: Job, extranonce2: bytes, ntime: int, nonce: int, bits: int) -> list[Any]:
        fields = [self.user, job.id, extranonce2.hex(), f"{ntime:08x}", f"{nonce:08x}"]
        return [*fields, f"{bits:08x}"] if self.mask else fields

    def next_id(self) -> Any:
        self.last_id += 1
        return self.last_id

    async def submit(self, params: list[Any]) -> dict[str, Any]:
        id = self.next_id()
        self.write({"id": id, "method": "mining.submit", "params": params})
        return await self.reply(id)

    async def mine(self) -> dict[str, Any]:
        """Find and submit one share on the newest job."""
        return await self.submit(self.find(await self.job()))


class Bitaxe(FakeMiner):
    """Three blind requests in one segment, replies told apart by shape, rolled versions, suggestion
    afterwards.
    """

    agent = "bitaxe/BM1370/v2.15.0"

    async def start(self) -> None:
        self.write(
            b'{"id": 1, "method": "mining.configure", "params": [["version-rolling"], '
            b'{"version-rolling.mask": "ffffffff"}]}\n',
            {"id": 2, "method": "mining.subscribe", "params": [self.agent]},
            {"id": 3, "method": "mining.authorize", "params": [self.user, self.password]},
        )
        self.listen()
        await self.reply(3)
        assert self.mask
        assert self.extranonce1
        self.write({"id": 4, "method": "mining.suggest_difficulty", "params": [1e-12]})
        self.last_id = 4
        await self.job()

    def heard(self, reply: dict[str, Any]) -> None:
        result = reply["result"]
        if isinstance(result, list) and len(result) >= 3:
            self.subscribed(reply)
        elif isinstance(result, dict):
            assert result["version-rolling"] is True
            self.mask = int(result["version-rolling.mask"], 16)
        else:
            assert isinstance(result, bool) or reply["error"][1]
        super().heard(reply)

    def params(self, job: Job, extranonce2: bytes, ntime: int, nonce: int, bits: int) -> list[Any]:
        rolled = (int(job.params[5], 16) | bits) ^ int(job.params[5], 16)
        return [self.user, job.id, extranonce2.hex(), f"{ntime:08x}", f"{nonce:08x}", f"{rolled:08x}"]

    async def mine(self) -> dict[str, Any]:
        job = await self.job()
        return await self.submit(self.find(job, bits=0x2000 << (self.counter % 8)))


class Minerd(FakeMiner):
    """One line after each setup request, id 4 for every share, five parameters, answers by order."""

    agent = "cpuminer/2.5.1"

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[dict[str, Any]] = []
        self.sent = 0

    async def start(self) -> None:
        self.write({"id": 1, "method": "mining.subscribe", "params": [self.agent]})
        first = await self.line()
        assert first["id"] == 1
        self.subscribed(first)
        self.write({"id": 2, "method": "mining.authorize", "params": [self.user, self.password]})
        while (await self.line())["id"] != 2:
            pass
        assert self.lines[-1]["result"] is True
        self.listen()
        await self.job()

    def heard(self, reply: dict[str, Any]) -> None:
        if reply["id"] == 4:
            self.answers.append(reply)

    async def submit(self, params: list[Any]) -> dict[str, Any]:
        job = self.jobs[-1].params
        assert [len(job[1]), len(job[5]), len(job[6]), len(job[7])] == [64, 8, 8, 8]
        self.write({"id": 4, "method": "mining.submit", "params": params[:5]})
        self.sent += 1
        mine = self.sent
        await self.until(lambda: len(self.answers) >= mine)
        return self.answers[mine - 1]


class Cgminer(FakeMiner):
    """Each setup request awaited, a session id on subscribe, process-wide ids, the id key last."""

    agent = "cgminer/4.12"

    def __init__(self) -> None:
        super().__init__()
        self.last_id = 34405

    async def ask(self, method: str, params: list[Any]) -> dict[str, Any]:
        id = self.next_id()
        self.write({"method": method, "params": params, "id": id})
        return await self.reply(id)

    async def start(self) -> None:
        self.listen()
        configured = await self.ask(
            "mining.configure", [["version-rolling"], {"version-rolling.mask": "ffffffff"}]
        )
        assert set(configured["result"]) == {"version-rolling", "version-rolling.mask"}
        self.mask = int(configured["result"]["version-rolling.mask"], 16)
        self.subscribed(await self.ask("mining.subscribe", [self.agent, "deadbeef"]))
        assert 2 <= self.extranonce2_size <= 8
        assert (await self.ask("mining.authorize", [self.user, self.password]))["result"] is True
        await self.job()

    async def submit(self, params: list[Any]) -> dict[str, Any]:
        return await self.ask("mining.submit", params)


class NerdMiner(FakeMiner):
    """One line after subscribe, small buffers, unpadded nonces, suggestions as keep-alive."""

    agent = "NerdMinerV2/1.8.3"

    async def start(self) -> None:
        self.write({"id": 1, "method": "mining.subscribe", "params": [self.agent]})
        first = await self.line()
        assert first["id"] == 1
        assert first["result"][0][0][1]
        self.subscribed(first)
        assert self.extranonce2_size in {2, 4, 8}
        self.write(
            {"id": 2, "method": "mining.authorize", "params": [self.user, self.password]},
            # Its own 0.00015 would take Python half a million hashes.
            {"id": 3, "method": "mining.suggest_difficulty", "params": [1.5e-12]},
        )
        self.listen()
        self.last_id = 3
        job = await self.job()
        assert len(self.raw[-1]) <= 4096
        coinbase = job.params[2] + self.extranonce1.hex() + "00" * self.extranonce2_size + job.params[3]
        assert len(coinbase) <= 511

    def params(self, job: Job, extranonce2: bytes, ntime: int, nonce: int, bits: int) -> list[Any]:
        return [self.user, job.id, extranonce2.hex(), f"{ntime:x}", f"{nonce:x}"]


# Both together
