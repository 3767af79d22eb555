"""Fake miners, named after the firmware whose habits they have, and a scripted proxy, all hashing for
themselves.

Nothing of the code under test is used to mine or to judge: both sides follow what stands on the wire.
"""

import asyncio
import hashlib
import json
import socket
import struct
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from protocols.sv2.codec import MINING, encode
from protocols.sv2.mining import (
    CloseChannel,
    NewExtendedMiningJob,
    OpenExtendedMiningChannel,
    OpenExtendedMiningChannelSuccess,
    OpenMiningChannelError,
    SetNewPrevHash,
    SetTarget,
    SubmitSharesError,
    SubmitSharesExtended,
    SubmitSharesSuccess,
    UpdateChannel,
)
from roles.runtime.backoff import Backoff
from roles.runtime.line_connection import serve
from roles.runtime.peer_server import ServerLimits
from roles.stratum.client_metrics import ClientMetrics
from roles.stratum.miner_session import SessionLimits
from roles.stratum.mining_client import MiningClient
from roles.stratum.mining_setup import ClientIdentity
from roles.translator.metrics import TranslatorMetrics
from roles.translator.miner import MinerTerms
from roles.translator.translator import Translator
from shared_config.address import Address

PATIENCE = 20.0
EASY = (1 << 252) - 1
DIFFICULTY_ONE = 0xFFFF << 208
NTIME = 1_700_000_000
BITS = 0x207FFFFF
PREFIX = bytes.fromhex("02000000" + "01" + "00" * 32 + "ffffffff" + "1c" + "0352414e" + "14")
SUFFIX = bytes.fromhex("feffffff" + "01" + "00f2052a01000000" + "0151" + "00000000")


def twice(data: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


# The proxy


@dataclass
class OpenChannel:
    """What the scripted proxy knows of a channel."""

    id: int
    identity: str
    prefix: bytes
    target: int
    max_target: int
    jobs: dict[int, NewExtendedMiningJob] = field(default_factory=dict)
    targets: dict[int, int] = field(default_factory=dict)
    tip: SetNewPrevHash | None = None
    shares: list[SubmitSharesExtended] = field(default_factory=list)
    updates: list[UpdateChannel] = field(default_factory=list)


class ScriptedProxy:
    """Answers one connection at a time of the translator's client.

    `verdict` decides about a good share: None accepts it, a text refuses with that code, "silence" says
    nothing.
    """

    def __init__(self, upstream: Any) -> None:
        self.upstream = upstream
        self.target = EASY
        self.size = 12
        self.refusal = ""
        self.rolling = True
        self.version = 0x20000000
        self.verdict: Callable[[SubmitSharesExtended], str | None] = lambda share: None
        self.channels: dict[int, OpenChannel] = {}
        self.opened: list[OpenChannel] = []
        self.hashes: set[bytes] = set()
        self.bad: list[str] = []
        self.closed: list[CloseChannel] = []
        self.tips = 0
        self.jobs = 0
        self.connection: Any = None
        self.connections = 0

    async def run(self) -> None:
        while True:
            self.connection = await self.upstream.dialled.get()
            self.connections += 1
            self.channels = {}
            await self.connection.greet(extensions=(0x4548,))
            while not self.connection.is_closed:
                frame = await self.connection.from_client.get()
                message, self.connection.tlvs = MINING.decode(frame)
                self._take(message)

    def restart(self) -> None:
        """Hang up; the client comes back as soon as it is let."""
        self.connection.hang_up()
        # The reader below looks at the connection only when a frame comes.
        self.connection.from_client.put_nowait(encode(CloseChannel(0, "bye")))

    def new_tip(self) -> None:
        self.tips += 1
        for channel in self.channels.values():
            self.connection.say(*self._fresh(channel))

    def new_job(self, target: int | None = None) -> None:
        """Other work on the same tip, with a new target or the old one."""
        for channel in self.channels.values():
            messages: list[Any] = []
            if target is not None:
                channel.target = target
                messages.append(SetTarget(channel.id, target))
            self.connection.say(*messages, self._job(channel, NTIME + self.tips))

    def _take(self, message: Any) -> None:
        match message:
            case OpenExtendedMiningChannel():
                self._open(message)
            case SubmitSharesExtended():
                self._judge(message)
            case UpdateChannel():
                self.channels[message.channel_id].updates.append(message)
            case CloseChannel():
                self.closed.append(message)
                self.channels.pop(message.channel_id, None)

    def _open(self, message: OpenExtendedMiningChannel) -> None:
        if self.refusal:
            self.connection.say(OpenMiningChannelError(message.request_id, self.refusal))
            return
        number = len(self.opened) + 1
        target = min(self.target, message.max_target)
        channel = OpenChannel(
            number, message.user_identity, struct.pack(">Q", number), target, message.max_target
        )
        self.channels[number] = channel
        self.opened.append(channel)
        answer = OpenExtendedMiningChannelSuccess(
            message.request_id, number, target, self.size, channel.prefix, 1
        )
        self.connection.say(answer, *self._fresh(channel))

    def _fresh(self, channel: OpenChannel) -> tuple[Any, Any]:
        channel.jobs.clear()
        job = self._job(channel, None)
        channel.tip = SetNewPrevHash(
            channel.id, job.job_id, twice(b"%d" % self.tips), NTIME + self.tips, BITS
        )
        return job, channel.tip

    def _job(self, channel: OpenChannel, min_ntime: int | None) -> NewExtendedMiningJob:
        self.jobs += 1
        job = NewExtendedMiningJob(
            channel.id,
            self.jobs,
            min_ntime,
            self.version,
            self.rolling,
            (twice(b"a"), twice(b"%d" % self.jobs)),
            PREFIX,
            SUFFIX,
        )
        channel.jobs[job.job_id] = job
        channel.targets[job.job_id] = channel.target
        return job

    def _judge(self, share: SubmitSharesExtended) -> None:
        channel = self.channels[share.channel_id]
        channel.shares.append(share)
        code = self._fault(channel, share) or self.verdict(share)
        if code == "silence":
            return
        if code is None:
            self.connection.say(SubmitSharesSuccess(channel.id, share.sequence_number, 1, 1))
        else:
            self.connection.say(SubmitSharesError(channel.id, share.sequence_number, code))

    def _fault(self, channel: OpenChannel, share: SubmitSharesExtended) -> str | None:
        """What a careful pool would object to; noted in `bad`, since the translator should have seen it."""
        job = channel.jobs.get(share.job_id)
        fault = None
        if job is None or channel.tip is None:
            fault = "invalid-job-id"
        elif len(share.extranonce) != self.size:
            fault = "bad-extranonce-size"
        elif (share.version ^ job.version) & ~(0x1FFFFFE0 if self.rolling else 0):
            fault = "invalid-non-rollable-version-bit"
        elif share.ntime < channel.tip.min_ntime:
            fault = "invalid-share"
        else:
            root = twice(job.coinbase_tx_prefix + channel.prefix + share.extranonce + job.coinbase_tx_suffix)
            for branch in job.merkle_path:
                root = twice(root + branch)
            header = struct.pack(
                "<I32s32sIII", share.version, channel.tip.prev_hash, root, share.ntime, BITS, share.nonce
            )
            hash32 = twice(header)
            if int.from_bytes(hash32, "little") > channel.targets[share.job_id]:
                fault = "difficulty-too-low"
            elif hash32 in self.hashes:
                fault = "duplicate-share"
            self.hashes.add(hash32)
        if fault:
            self.bad.append(fault)
        return fault


# The miners


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


class House:
    """A translator on a real port, its scripted proxy, and the fake miners that connect to it."""

    def __init__(self, upstream: Any, **limits: Any) -> None:
        self.proxy = ScriptedProxy(upstream)
        self.registry = CollectorRegistry()
        self.client = MiningClient(
            upstream.dial,
            ClientIdentity("127.0.0.1", 1, device="translator"),
            extensions=(0x4548,),
            metrics=ClientMetrics(self.registry),
            backoff=Backoff(0.001, 0.002),
        )
        hold = limits.pop("hold_s", 60.0)
        open_s = limits.pop("open_s", 2.0)
        size = limits.pop("extranonce2_size", 8)
        self.translator = Translator(
            self.client,
            extranonce2_size=size,
            terms=MinerTerms(1e6, open_s, hold),
            limits=SessionLimits(**{"verdict_s": 2.0, **limits}),
        )
        self.registry.register(TranslatorMetrics(self.translator))
        self.server = serve(
            Address("127.0.0.1", 0),
            self.translator.serve,
            setting="listen_address",
            server_limits=ServerLimits(begin_s=1.0),
        )
        self.port = self.server.address.port
        self.miners: list[FakeMiner] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        runs = (self.client.run(), self.server.run(), self.proxy.run())
        self._tasks = [asyncio.create_task(run) for run in runs]
        async with asyncio.timeout(PATIENCE):
            while not self.client.is_connected:
                await asyncio.sleep(0.001)

    async def close(self) -> None:
        for miner in self.miners:
            await miner.close()
        for task in self._tasks:
            assert not task.done(), task
            task.cancel()
            await asyncio.wait({task})

    async def connect(self, kind: type[FakeMiner] = FakeMiner, **attributes: Any) -> Any:
        """A miner with its socket connected, and nothing said."""
        miner = kind()
        for name, value in attributes.items():
            setattr(miner, name, value)
        self.miners.append(miner)
        return await miner.connect(self.port)

    async def miner(self, kind: type[FakeMiner] = FakeMiner, **attributes: Any) -> Any:
        """A miner at work."""
        miner = await self.connect(kind, **attributes)
        await miner.start()
        return miner

    def count(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"hashpool_{name}", labels) or 0.0


@pytest.fixture
async def build(upstream: Any) -> AsyncIterator[Callable[..., Any]]:
    """Makes houses with limits of one's own, and takes them down."""
    houses: list[House] = []

    async def make(**limits: Any) -> House:
        house = House(upstream, **limits)
        houses.append(house)
        await house.open()
        return house

    yield make
    for house in houses:
        await house.close()


@pytest.fixture
async def house(build: Callable[..., Any]) -> Any:
    return await build()


@pytest.fixture(params=[Bitaxe, Minerd, Cgminer, NerdMiner], ids=lambda kind: kind.__name__.lower())
def profile(request: pytest.FixtureRequest) -> type[FakeMiner]:
    kind: type[FakeMiner] = request.param
    return kind


@pytest.fixture
def bitaxe() -> type[FakeMiner]:
    return Bitaxe


@pytest.fixture
def minerd() -> type[FakeMiner]:
    return Minerd


@pytest.fixture
def fake_miner() -> type[FakeMiner]:
    return FakeMiner


@pytest.fixture
def scripted_proxy(upstream: Any) -> ScriptedProxy:
    return ScriptedProxy(upstream)


@pytest.fixture
def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
