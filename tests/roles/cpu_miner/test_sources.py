"""SV1 and SV2 servers, played on real sockets, that check every share by themselves."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from protocols.bitcoin.hashing import sha256d
from protocols.bitcoin.header import Header
from protocols.bitcoin.merkle import root_from_path
from protocols.bitcoin.target import difficulty_of_work, from_work, meets
from protocols.noise.authority import encode_public, public_of
from protocols.sv1 import notifications
from protocols.sv1.errors import Rejection
from protocols.sv1.messages import Call, Reply, error_reply, parse, reply, request
from protocols.sv1.notifications import Notify
from protocols.sv1.requests import Submit, read_submit
from protocols.sv1.results import Subscription, subscription
from protocols.sv2.codec import MINING, encode
from protocols.sv2.connection import PROTOCOL_MINING
from protocols.sv2.layout import Message
from protocols.sv2.limits import FrameLimits
from protocols.sv2.mining import (
    CloseChannel,
    NewExtendedMiningJob,
    NewMiningJob,
    OpenExtendedMiningChannel,
    OpenExtendedMiningChannelSuccess,
    OpenMiningChannelError,
    OpenStandardMiningChannel,
    OpenStandardMiningChannelSuccess,
    SetNewPrevHash,
    SetTarget,
    SubmitSharesError,
    SubmitSharesExtended,
    SubmitSharesStandard,
    SubmitSharesSuccess,
)
from protocols.sv2.setup import REQUIRES_STANDARD_JOBS, ServerSetup
from roles.cpu_miner.__main__ import main
from roles.cpu_miner.service import service
from roles.cpu_miner.work import ROLLED_BITS
from roles.runtime import line_connection, sv2_connection
from roles.runtime.daemon import Daemon
from roles.runtime.line_connection import LineConnection
from roles.runtime.sv2_connection import Sv2Connection
from shared_config.address import Address
from shared_config.cpu_miner import CpuMinerSettings
from shared_config.miner_side import MinerSide

ROOT = Path(__file__).parents[3]
SECRET = b"\x11" * 32
EASY, HARD = 256, 4096
JOB = Notify(
    "job1",
    bytes(range(32)),
    b"coinbase",
    b"end",
    (b"\x01" * 32,),
    0x20000000,
    0x207FFFFF,
    1_800_000_000,
    True,
)


@asynccontextmanager
async def mining(
    address: Address, state: Path, **settings: Any
) -> AsyncIterator[Daemon[CpuMinerSettings, MinerSide]]:
    config = CpuMinerSettings.model_validate(
        {"health_address": "127.0.0.1:0", "address": str(address), "hashes_per_s": 100_000, **settings}
    )
    shared = MinerSide.model_validate(
        {
            "pool": {"address": "127.0.0.1:1"},
            "mint": {"url": "http://127.0.0.1:2"},
            "proxy": {"address": str(address), "authority_key": encode_public(public_of(SECRET))},
        }
    )
    daemon = Daemon("cpu_miner", config, shared, state)
    async with asyncio.timeout(30):
        task = asyncio.create_task(service(daemon))
        try:
            yield daemon
        finally:
            daemon.stopping.set()
            await task


def shares(daemon: Daemon[CpuMinerSettings, MinerSide], verdict: str) -> float:
    return daemon.metrics.get_sample_value("hashpool_miner_shares_total", {"verdict": verdict}) or 0.0


async def until(holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.sleep(0.01)


@dataclass
class Pool:
    """An SV1 server that knows its jobs and judges shares; a test tells what to answer."""

    extranonce: Subscription = field(default_factory=lambda: Subscription(b"\xaa\xbb\xcc\xdd", 8, "s"))
    jobs: dict[str, tuple[Notify, bytes, int, int]] = field(default_factory=dict)
    answer: Callable[[Submit], bool | Rejection | None] = lambda _: True
    heard: list[Submit] = field(default_factory=list)
    methods: list[str] = field(default_factory=list)
    logins: list[list[Any]] = field(default_factory=list)
    connections: list[LineConnection] = field(default_factory=list)
    hashes: set[bytes] = field(default_factory=set)
    greeting: Callable[["Pool", LineConnection], None] = lambda pool, connection: pool.give(
        connection, JOB, EASY
    )
    mask: int = ROLLED_BITS

    def give(self, connection: LineConnection, job: Notify, hashes: int) -> None:
        self.jobs[job.job_id] = (job, self.extranonce.extranonce1, hashes, self.mask)
        connection.send(
            notifications.set_difficulty(float(difficulty_of_work(hashes))), notifications.notify(job)
        )

    async def __call__(self, connection: LineConnection) -> None:
        self.connections.append(connection)
        while True:
            line = await connection.receive()
            assert isinstance(line, bytes)
            message = parse(line)
            if isinstance(message, Call):
                self.methods.append(message.method)
                self.respond(connection, message)
            else:
                assert isinstance(message, Reply)
                self.methods.append(f"reply {message.id.decode()} {message.result}")

    def respond(self, connection: LineConnection, call: Call) -> None:
        match call.method:
            case "mining.configure":
                mask = f"{self.mask:08x}"
                connection.send(reply(call.id, {"version-rolling": True, "version-rolling.mask": mask}))
            case "mining.subscribe":
                connection.send(reply(call.id, subscription(self.extranonce)))
            case "mining.authorize":
                self.logins.append(call.params)
                connection.send(reply(call.id, True))
                self.greeting(self, connection)
            case "mining.submit":
                verdict = self.judge(read_submit(call.params))
                if isinstance(verdict, Rejection):
                    connection.send(error_reply(call.id, verdict))
                elif verdict is not None:
                    connection.send(reply(call.id, verdict))
            case _:
                connection.send(error_reply(call.id, Rejection(-3, "Unknown method")))

    def judge(self, share: Submit) -> bool | Rejection | None:
        job, extranonce1, hashes, mask = self.jobs[share.job_id]
        coinbase = job.coinbase1 + extranonce1 + share.extranonce2 + job.coinbase2
        version = job.version & ~mask | share.version_bits
        assert share.version_bits & ~mask == 0
        root = root_from_path(sha256d(coinbase), job.branches)
        found = Header(version, job.previous, root, share.ntime, job.bits, share.nonce).hash()
        assert meets(found, from_work(hashes))
        assert found not in self.hashes
        self.hashes.add(found)
        self.heard.append(share)
        return self.answer(share)


@asynccontextmanager
async def pool_at(pool: Callable[[LineConnection], Awaitable[None]]) -> AsyncIterator[Address]:
    server = line_connection.serve(Address("127.0.0.1", 0), pool, setting="listen")
    task = asyncio.create_task(server.run())
    try:
        yield server.address
    finally:
        task.cancel()
        await asyncio.wait([task])
        server.close()


async def test_shares_for_an_sv1_pool_are_valid_and_counted(tmp_path: Path) -> None:
    pool = Pool()
    async with (
        pool_at(pool) as address,
        mining(address, tmp_path, user="kim.1", password="k=x", processes=2) as daemon,
    ):
        await until(lambda: shares(daemon, "accepted") >= 10)
        assert daemon.readiness.ready
        assert pool.methods[:4] == [
            "mining.configure",
            "mining.subscribe",
            "mining.authorize",
            "mining.extranonce.subscribe",
        ]
        assert pool.logins == [["kim.1", "k=x"]]
        assert {share.user for share in pool.heard} == {"kim.1"}
        assert any(share.version_bits for share in pool.heard)
        assert shares(daemon, "rejected") == shares(daemon, "unknown") == 0


async def test_difficulty_extranonce_and_mask_hold_from_the_next_job_on(tmp_path: Path) -> None:
    pool = Pool()
    async with pool_at(pool) as address, mining(address, tmp_path) as daemon:
        await until(lambda: len(pool.heard) >= 5)
        (connection,) = pool.connections
        connection.send(notifications.set_difficulty(float(difficulty_of_work(HARD))))
        connection.send(notifications.set_extranonce(b"\x01\x02", 4))
        connection.send(notifications.set_version_mask(0x2000))
        await until(lambda: len(pool.heard) >= 10)
        assert {len(share.extranonce2) for share in pool.heard} == {8}
        pool.extranonce = Subscription(b"\x01\x02", 4, "s")
        pool.mask = 0x2000
        second = Notify("job2", b"\x07" * 32, b"cb", b"x", (), 0x20000000, 0x207FFFFF, 1_800_000_100, True)
        before = len(pool.heard)
        pool.give(connection, second, HARD)
        await until(lambda: any(share.job_id == "job2" for share in pool.heard[before:]))
        await until(lambda: sum(share.job_id == "job2" for share in pool.heard) >= 5)
        later = [share for share in pool.heard if share.job_id == "job2"]
        assert {len(share.extranonce2) for share in later} == {4}
        assert daemon.metrics.get_sample_value("hashpool_miner_jobs_total") == 2.0


async def test_verdicts_are_told_apart(tmp_path: Path) -> None:
    pool = Pool()
    answers: list[bool | Rejection] = [
        True,
        Rejection(23, "Low difficulty share"),
        False,
        Rejection(20, "No verdict from pool"),
    ]
    pool.answer = lambda _: answers[len(pool.heard) % 4]
    async with pool_at(pool) as address, mining(address, tmp_path) as daemon:
        await until(lambda: shares(daemon, "unknown") >= 2)
        assert shares(daemon, "accepted") >= 1
        assert shares(daemon, "rejected") >= 3


async def test_shares_without_an_answer_count_as_unknown_when_the_connection_goes(tmp_path: Path) -> None:
    pool = Pool()
    pool.answer = lambda _: None
    async with pool_at(pool) as address, mining(address, tmp_path) as daemon:
        await until(lambda: len(pool.heard) >= 3)
        assert shares(daemon, "unknown") == 0
        pool.answer = lambda _: True
        pool.connections[0].abort("gone", code="test")
        await until(lambda: shares(daemon, "accepted") >= 3)
        assert shares(daemon, "unknown") >= 3
        assert len(pool.connections) == 2


async def test_a_pool_that_is_away_is_called_again_until_it_is_there(tmp_path: Path) -> None:
    pool = Pool()
    async with pool_at(pool) as address:
        pass
    async with mining(address, tmp_path) as daemon:
        await until(lambda: "cannot reach" in str(daemon.readiness.reasons))
        server = line_connection.serve(address, pool, setting="listen")
        task = asyncio.create_task(server.run())
        await until(lambda: shares(daemon, "accepted") >= 1)
        task.cancel()
        await asyncio.wait([task])
        await until(lambda: not daemon.readiness.ready)


async def test_what_a_pool_asks_is_answered_and_nonsense_is_survived(tmp_path: Path) -> None:
    pool = Pool()
    async with pool_at(pool) as address, mining(address, tmp_path) as daemon:
        await until(lambda: len(pool.heard) >= 1)
        (connection,) = pool.connections
        connection.send(
            notifications.get_version(71),
            request(72, "mining.ping", []),
            request(73, "client.dance", []),
            notifications.show_message("hello"),
            b"not json\n",
            b'{"method":"mining.notify","params":[]}\n',
            b'{"method":"mining.set_difficulty","params":["x"]}\n',
            b"{}\n",
            b"x" * 70_000 + b"\n",
            reply(b"999999", True),
        )
        before = len(pool.heard)
        await until(lambda: len(pool.heard) > before)
        assert pool.methods.count("reply 71 hashpool-cpu_miner") == 1
        assert pool.methods.count("reply 72 pong") == 1
        assert pool.methods.count("reply 73 None") == 1
        assert len(pool.connections) == 1
        assert shares(daemon, "rejected") == 0


async def test_a_pool_that_wants_us_elsewhere_is_left_and_called_again(tmp_path: Path) -> None:
    pool = Pool()
    async with pool_at(pool) as address, mining(address, tmp_path):
        await until(lambda: len(pool.heard) >= 1)
        pool.connections[0].send(notifications.reconnect())
        await until(lambda: len(pool.connections) == 2)


@pytest.mark.parametrize(
    ("method", "text"),
    [("mining.subscribe", "subscribe was refused: Full"), ("mining.authorize", "the user was refused: Full")],
)
async def test_a_pool_that_refuses_us_is_said_to(tmp_path: Path, method: str, text: str) -> None:
    async def refuse(connection: LineConnection) -> None:
        while True:
            line = await connection.receive()
            assert isinstance(line, bytes)
            call = parse(line)
            assert isinstance(call, Call)
            if call.method == method:
                connection.send(error_reply(call.id, Rejection(20, "Full")))
            elif call.method == "mining.subscribe":
                connection.send(reply(call.id, subscription(Subscription(b"", 4, "s"))))

    async with pool_at(refuse) as address, mining(address, tmp_path) as daemon:
        await until(lambda: text in str(daemon.readiness.reasons))


async def test_a_job_before_the_subscription_is_kept(tmp_path: Path) -> None:
    pool = Pool()

    async def hasty(connection: LineConnection) -> None:
        pool.give(connection, JOB, EASY)
        pool.greeting = lambda *_: None
        await pool(connection)

    async with pool_at(hasty) as address, mining(address, tmp_path) as daemon:
        await until(lambda: shares(daemon, "accepted") >= 1)


EXTENDED = NewExtendedMiningJob(5, 1, None, 0x20000000, True, (b"\x02" * 32,), b"prefix", b"suffix")
STANDARD = NewMiningJob(5, 1, None, 0x20000000, b"\x03" * 32)
TIP = SetNewPrevHash(5, 1, b"\x04" * 32, 1_800_000_000, 0x207FFFFF)
PREFIX = b"\x0a\x0b\x0c\x0d"


@dataclass
class Sv2Pool:
    """An SV2 server with one channel a connection; a test tells what to answer to a valid share."""

    is_extended: bool
    jobs: dict[int, tuple[Message, SetNewPrevHash, int]] = field(default_factory=dict)
    shares: list[SubmitSharesExtended | SubmitSharesStandard] = field(default_factory=list)
    connections: list[Sv2Connection] = field(default_factory=list)
    opens: list[Message] = field(default_factory=list)
    flags: list[int] = field(default_factory=list)
    hashes: set[bytes] = field(default_factory=set)
    refusing: str = ""

    async def __call__(self, connection: Sv2Connection) -> None:
        self.connections.append(connection)
        setup = ServerSetup(PROTOCOL_MINING, supported_flags=REQUIRES_STANDARD_JOBS)
        while True:
            frame = await connection.receive()
            answer = setup.receive(frame)
            if answer is not None:
                assert setup.client is not None
                self.flags.append(setup.client.flags)
                connection.send(answer)
                continue
            message, _ = MINING.decode(frame)
            self.respond(connection, message)

    def respond(self, connection: Sv2Connection, message: Message) -> None:
        match message:
            case OpenExtendedMiningChannel() | OpenStandardMiningChannel():
                self.opens.append(message)
                if self.refusing:
                    connection.send(encode(OpenMiningChannelError(message.request_id, self.refusing)))
                    return
                opened: Message = OpenStandardMiningChannelSuccess(
                    message.request_id, 5, from_work(EASY), PREFIX, 9
                )
                if self.is_extended:
                    opened = OpenExtendedMiningChannelSuccess(
                        message.request_id, 5, from_work(EASY), 8, PREFIX, 9
                    )
                job = EXTENDED if self.is_extended else STANDARD
                self.jobs[1] = (job, TIP, EASY)
                connection.send(encode(opened), encode(job), encode(TIP))
            case SubmitSharesExtended() | SubmitSharesStandard():
                self.judge(message)
                connection.send(self.verdict(message))
            case CloseChannel():
                return
            case _:
                pytest.fail(f"unexpected {message}")

    def verdict(self, share: SubmitSharesExtended | SubmitSharesStandard) -> Any:
        if len(self.shares) % 4 == 0:
            return encode(SubmitSharesError(share.channel_id, share.sequence_number, "duplicate-share"))
        return encode(SubmitSharesSuccess(share.channel_id, share.sequence_number, 1, 1))

    def judge(self, share: SubmitSharesExtended | SubmitSharesStandard) -> None:
        job, tip, hashes = self.jobs[share.job_id]
        if isinstance(job, NewExtendedMiningJob):
            assert isinstance(share, SubmitSharesExtended)
            assert len(share.extranonce) == 8
            coinbase = job.coinbase_tx_prefix + PREFIX + share.extranonce + job.coinbase_tx_suffix
            root = root_from_path(sha256d(coinbase), job.merkle_path)
            allowed = ROLLED_BITS if job.version_rolling_allowed else 0
            assert (share.version ^ job.version) & ~allowed == 0
        else:
            assert isinstance(job, NewMiningJob)
            root = job.merkle_root
        header = Header(share.version, tip.prev_hash, root, share.ntime, tip.nbits, share.nonce)
        assert share.ntime >= tip.min_ntime
        assert meets(header.hash(), from_work(hashes))
        assert header.hash() not in self.hashes
        self.hashes.add(header.hash())
        self.shares.append(share)


@asynccontextmanager
async def sv2_pool_at(pool: Sv2Pool) -> AsyncIterator[Address]:
    server = sv2_connection.serve(
        Address("127.0.0.1", 0), SECRET, pool, limit=FrameLimits(MINING), setting="listen"
    )
    task = asyncio.create_task(server.run())
    try:
        yield server.address
    finally:
        task.cancel()
        await asyncio.wait([task])
        server.close()


@pytest.mark.parametrize("channel", ["extended", "standard"])
async def test_shares_for_an_sv2_pool_are_valid_and_counted(tmp_path: Path, channel: str) -> None:
    pool = Sv2Pool(is_extended=channel == "extended")
    async with (
        sv2_pool_at(pool) as address,
        mining(address, tmp_path, protocol="sv2", channel=channel, user="kim", processes=2) as daemon,
    ):
        await until(lambda: shares(daemon, "accepted") >= 9 and shares(daemon, "rejected") >= 3)
        assert pool.flags == [0 if pool.is_extended else REQUIRES_STANDARD_JOBS]
        (opened,) = pool.opens
        assert isinstance(opened, OpenExtendedMiningChannel | OpenStandardMiningChannel)
        assert opened.user_identity == "kim"
        assert opened.nominal_hash_rate == 100_000.0


async def test_a_job_keeps_its_target_and_a_later_one_takes_the_new(tmp_path: Path) -> None:
    pool = Sv2Pool(is_extended=True)
    async with sv2_pool_at(pool) as address, mining(address, tmp_path, protocol="sv2"):
        await until(lambda: len(pool.shares) >= 4)
        (connection,) = pool.connections
        connection.send(encode(SetTarget(5, from_work(HARD))))
        seen = len(pool.shares)
        await until(lambda: len(pool.shares) >= seen + 20)
        job = NewExtendedMiningJob(5, 2, 1_800_000_050, 0x20000000, False, (), b"other", b"coinbase")
        pool.jobs[2] = (job, TIP, HARD)
        connection.send(encode(job))
        await until(lambda: sum(share.job_id == 2 for share in pool.shares) >= 3)
        assert {share.version for share in pool.shares if share.job_id == 2} == {0x20000000}
        future = NewExtendedMiningJob(5, 3, None, 0x20000000, True, (), b"third", b"coinbase")
        tip = SetNewPrevHash(5, 3, b"\x09" * 32, 1_800_000_100, 0x207FFFFF)
        connection.send(encode(future))
        pool.jobs[3] = (future, tip, EASY)
        connection.send(encode(SetTarget(5, from_work(EASY))), encode(tip))
        await until(lambda: sum(share.job_id == 3 for share in pool.shares) >= 3)


async def test_a_lost_connection_is_made_again_and_open_shares_are_unknown(tmp_path: Path) -> None:
    pool = Sv2Pool(is_extended=True)
    async with sv2_pool_at(pool) as address, mining(address, tmp_path, protocol="sv2") as daemon:
        await until(lambda: shares(daemon, "accepted") >= 1)
        pool.connections[0].abort("gone", code="test")
        await until(lambda: len(pool.connections) == 2)
        before = shares(daemon, "accepted")
        await until(lambda: shares(daemon, "accepted") > before)


async def test_a_refused_channel_and_jobs_out_of_order_are_survived(tmp_path: Path) -> None:
    pool = Sv2Pool(is_extended=True, refusing="unknown-user")
    async with sv2_pool_at(pool) as address, mining(address, tmp_path, protocol="sv2") as daemon:
        await until(lambda: "unknown-user" in str(daemon.readiness.reasons))
        pool.refusing = ""
        pool.connections[0].abort("gone", code="test")
        await until(lambda: shares(daemon, "accepted") >= 1)
        connection = pool.connections[-1]
        connection.send(encode(SetNewPrevHash(5, 99, b"\x05" * 32, 1_800_000_000, 0x207FFFFF)))
        for number in range(20, 60):
            connection.send(
                encode(NewExtendedMiningJob(5, number, None, 0x20000000, True, (), b"a%d" % number, b"b"))
            )
        tip = SetNewPrevHash(5, 59, b"\x06" * 32, 1_800_000_000, 0x207FFFFF)
        pool.jobs[59] = (NewExtendedMiningJob(5, 59, None, 0x20000000, True, (), b"a59", b"b"), tip, EASY)
        connection.send(encode(tip))
        await until(lambda: any(share.job_id == 59 for share in pool.shares))


def test_a_configuration_is_checked_by_the_command(capfd: pytest.CaptureFixture[str]) -> None:
    config = str(ROOT / "config" / "cpu_miner.toml")
    assert main(["-c", config, "--check"]) == 0
    assert main(["-c", config, "--check", "--set", "protocol=sv2", "--set", "address=10.0.0.1:34254"]) != 0
    assert "authority_key" in capfd.readouterr().err


async def test_the_daemon_mines_and_stops_when_told(tmp_path: Path) -> None:
    pool = Pool()
    async with pool_at(pool) as address:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "roles.cpu_miner", "-c", str(ROOT / "config" / "cpu_miner.toml"),
            "--set", f"address={address}", "--set", "health_address=127.0.0.1:0", "--state", str(tmp_path),
            cwd=ROOT, stderr=subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(30):
            await until(lambda: len(pool.heard) >= 3)
            process.terminate()
            _, said = await process.communicate()
        assert process.returncode == 0, said.decode()
