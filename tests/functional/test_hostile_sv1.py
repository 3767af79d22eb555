"""Hostile SV1 peers at the translator, each kind beside a miner whose every share is accepted meanwhile.

What the daemon grows by and the good miner's round trips are printed for each kind of peer. Full counts and a
bound on the 99th percentile, which a machine with other things to do cannot keep, with HASHPOOL_TEST_LONG=1.
"""

import asyncio
import contextlib
import json
import os
import random
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families

from tests.functional.bystander import GoodMiner, resident_kib
from tests.functional.development import Development
from tests.functional.processes import PATIENCE_S, Daemon, Site
from tests.roles.runtime.certificates import Pair, make_pair
from tests.roles.translator.fake_miners import FakeMiner

pytest.importorskip("pbk", reason="needs py-bitcoinkernel, the node extra")
LONG = bool(os.environ.get("HASHPOOL_TEST_LONG"))
pytestmark = [
    pytest.mark.functional,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(900 if LONG else 180),
]

SEED = int(os.environ.get("HASHPOOL_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
chance = random.Random(SEED)
CROWD = 300 if LONG else 60
SECONDS = 20.0 if LONG else 1.5
NAMES = 10_000
MEGABYTES = 100 if LONG else 20
HANDSHAKE_S = 1.5
IDLE_S = 20.0
GROWTH_KIB = 24_000 if LONG else 16_000
"""Of the translator, over all tests together."""
ROUND_TRIP_MS = 250.0
ENOUGH = 200
"""Round trips of which the 99th percentile is more than the worst one."""
CONTROLS = {chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))} - {"\n"}
MARKUP = (
    "<script>alert(1)</script>.x",
    "\x1b[2J\x1b]0;owned\x07.x",
    'a"}\n# HELP evil\nevil 1\n.x',
    "line\r\nlevel=error msg=forged.x",
    "\u202etxt.exe.x",
    "../../etc/passwd.x",
    "%00%0a%3Cb%3E.x",
    "\ud800.x",
    "{{7*7}}${jndi:ldap://x}.x",
    "a" * 250,
)


@dataclass
class House:
    """The translator in front of the whole chain, and the good miner there."""

    translator: Daemon
    good: GoodMiner
    pid: int
    pair: Pair
    sleepers: list[socket.socket] = field(default_factory=list)
    drippers: list[FakeMiner] = field(default_factory=list)
    warm: int = 0
    report: list[str] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.translator.settings["listen_address"].rpartition(":")[2])

    async def open(self, secured: bool = False) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection on which nothing has been said."""
        context = ssl.create_default_context(cafile=str(self.pair.certificate)) if secured else None
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=context)

    async def miner(self, **attributes: Any) -> FakeMiner:
        """A miner at work, that listens."""
        miner = FakeMiner()
        for name, value in attributes.items():
            setattr(miner, name, value)
        await miner.connect(self.port)
        await miner.start()
        return miner

    async def figures(self) -> dict[str, float]:
        """What the translator counts."""
        _, text = await self.translator.health("/metrics")
        families = text_string_to_metric_families(text)
        return {
            ",".join([sample.name, *sample.labels.values()]): sample.value
            for family in families
            for sample in family.samples
        }

    async def ended(self, reason: str) -> float:
        """Connections that have ended for a reason."""
        return (await self.figures()).get(f"hashpool_sv1_connections_ended_total,{reason}", 0.0)

    async def alone(self) -> None:
        """Wait until nobody is connected but the good miner, and those that sleep or drip."""
        async for _ in self.translator.polls("to be left alone"):
            if (await self.figures())["hashpool_sv1_connections"] <= 1 + len(self.sleepers) + len(
                self.drippers
            ):
                return


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("hostile-sv1")) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(site: Site, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    print(f"seed {SEED} (HASHPOOL_TEST_SEED)")
    pair = make_pair(tmp_path_factory.mktemp("tls"))
    development = Development(site)
    for role in ("regtest_node", "mint", "template_provider"):
        development.daemon(role)
    development.daemon(
        "pool",
        vardiff__floor_hashes="256",
        vardiff__shares_per_minute="6000",
        # Nothing that is mined here is a block.
        shared__regtest__block_difficulty=str(1 << 40),
    )
    development.daemon("proxy")
    translator = development.daemon(
        "translator",
        start_difficulty="6e-8",
        verdict_s="20",
        tls__certificate=str(pair.certificate),
        tls__key=str(pair.key),
        limits__handshake_s=str(HANDSHAKE_S),
        limits__idle_s=str(IDLE_S),
        limits__line_s="3",
        limits__send_buffer_bytes=str(1 << 16),
        limits__send_stall_s="2",
        limits__parked_sessions="80",
        limits__cost__hard_s="20",
    )
    await development.start()
    assert translator.process
    port = translator.settings["listen_address"].rpartition(":")[2]
    good = GoodMiner("sv1", "127.0.0.1", port)
    try:
        made = House(translator, good, translator.process.pid, pair)
        await good.mark()
        made.sleepers += [await asleep(made) for _ in range(10)]
        for _ in range(CROWD // 4):
            miner = await made.miner()
            await miner.close()
        made.warm = resident_kib(made.pid)
        dripping = asyncio.create_task(drip(made.drippers))
        for _ in range(CROWD // 6):
            made.drippers.append(await made.miner())
        yield made
        dripping.cancel()
        for dripper in made.drippers:
            await dripper.close()
        print("", f"seed {SEED}", *made.report, sep="\n")
    finally:
        good.end()


async def drip(miners: list[FakeMiner]) -> None:
    """A share that never comes to its end."""
    while True:
        for miner in miners:
            if not miner.is_gone:
                miner.write(b'{"id":3,')
        await asyncio.sleep(0.2)


async def asleep(house: House) -> socket.socket:
    """A miner that has been let in and whose cable is pulled then: it never reads, nor says another word."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, ("127.0.0.1", house.port))
    await loop.sock_sendall(
        sock,
        b'{"id":1,"method":"mining.subscribe","params":["half-open/1"]}\n'
        b'{"id":2,"method":"mining.authorize","params":["half-open","x"]}\n',
    )
    return sock


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def the_good_miner_is_served(house: House, request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """Around each test: its shares are accepted, in time, and the translator has not died or grown."""
    await house.good.mark()
    began = time.monotonic()
    yield
    assert house.translator.is_running
    assert house.translator.process
    assert house.translator.process.pid == house.pid
    while LONG and time.monotonic() - began < SECONDS:
        await asyncio.sleep(0.1)
    trips = sorted(await house.good.mark())
    assert trips, "the good miner was not served"
    p50, p99 = trips[len(trips) // 2], trips[int(len(trips) * 0.99)]
    grown = resident_kib(house.pid) - house.warm
    house.report.append(
        f"{request.node.name}: {len(trips)} round trips, p50 {p50:.0f} ms, p99 {p99:.0f} ms,"
        f" grown {grown / 1024:.1f} MiB"
    )
    assert not LONG or len(trips) < ENOUGH or p99 < ROUND_TRIP_MS, trips[-len(trips) // 50 :]
    assert grown < GROWTH_KIB


async def gone(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Wait until the server has ended a connection."""
    async with asyncio.timeout(PATIENCE_S):
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while await reader.read(1 << 16):
                pass
    writer.close()
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        await writer.wait_closed()


async def pour(writer: asyncio.StreamWriter, data: Callable[[], bytes]) -> None:
    """Write until the server has had enough."""
    async with asyncio.timeout(PATIENCE_S):
        with contextlib.suppress(ConnectionError, RuntimeError, ssl.SSLError):
            while not writer.is_closing():
                writer.write(data())
                await writer.drain()
                await asyncio.sleep(0.001)


async def test_who_drips_its_introduction_is_let_go(house: House) -> None:
    peers = [await house.open() for _ in range(CROWD)]
    words = b'{"id":1,"method":"mining.subscribe","params":["slow'
    with contextlib.suppress(ConnectionError):
        for place in range(0, len(words), 5):
            for _, writer in peers:
                writer.write(words[place : place + 5])
            await asyncio.sleep(0.05)
    await asyncio.gather(*(gone(*peer) for peer in peers))


async def test_who_never_reads_is_cut_off(house: House) -> None:
    before = await house.ended("not-reading")
    ping = b'{"id":"' + b"x" * 4_000 + b'","method":"mining.ping","params":[]}\n'
    for secured in (False, True):
        reader, writer = await house.open(secured)
        writer.write(b'{"id":1,"method":"mining.subscribe","params":[]}\n')
        await reader.readline()
        transport: Any = writer.transport
        transport.pause_reading()
        await pour(writer, lambda: ping * 10)
        transport.abort()
    async for _ in house.translator.polls("to cut who does not read"):
        if await house.ended("not-reading") == before + 2:
            break


async def test_a_flood_of_connections_is_served_or_turned_away(house: House) -> None:
    introduction = (
        b'{"id":1,"method":"mining.subscribe","params":["flood/1"]}\n'
        b'{"id":2,"method":"mining.authorize","params":["flood","x"]}\n'
    )
    made = 0
    deadline = time.monotonic() + SECONDS

    async def flood() -> None:
        nonlocal made
        while time.monotonic() < deadline:
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                reader, writer = await house.open(secured=chance.random() < 0.1)
                made += 1
                kind = chance.randrange(4)
                if kind:
                    writer.write(introduction[: len(introduction) // 2 * kind])
                if kind > 1:
                    await asyncio.wait_for(reader.readline(), PATIENCE_S)
                writer.close()
                await writer.wait_closed()

    await asyncio.gather(*(flood() for _ in range(16)))
    await house.alone()
    parked = (await house.figures())["hashpool_translator_sessions_parked"]
    assert parked <= 80 + 10
    house.report.append(f"{made / SECONDS:.0f} connections a second; {parked:.0f} sessions kept of them")


async def test_megabytes_without_a_line_end_cost_one_answer_each(house: House) -> None:
    async def shout(number: int) -> None:
        miner = await house.miner(user=f"loud{number}")
        for _ in range(16):
            miner.write(b"x" * 62_500)
            with contextlib.suppress(ConnectionError):
                await miner.writer.drain()
        assert (await miner.reply(None))["error"] == [20, "Line too long", None]
        miner.write(b"\n")
        assert (await miner.mine())["result"] is True
        await miner.close()

    for begin in range(0, MEGABYTES, 10):
        await asyncio.gather(*(shout(number) for number in range(begin, begin + 10)))
    await house.alone()


async def test_ten_thousand_names_on_one_socket_end_it(house: House) -> None:
    miner = await house.miner()
    before = await house.ended("too-costly")
    channels = (await house.figures())["hashpool_upstream_channels"]
    with contextlib.suppress(ConnectionError):
        for number in range(NAMES):
            line = {"id": number, "method": "mining.authorize", "params": [f"w{number}", "x"]}
            miner.write(line)
            if number % 100 == 0:
                await miner.writer.drain()
    await asyncio.wait_for(miner.until(lambda: miner.is_gone), PATIENCE_S)
    answered = [line for line in miner.lines if "result" in line]
    let_in = [line for line in answered if line["result"] is True]
    assert len(let_in) == 64
    assert len(answered) < 200
    assert await house.ended("too-costly") == before + 1
    assert (await house.figures())["hashpool_upstream_channels"] <= channels
    house.report.append(f"{NAMES} names at once: {len(let_in)} let in, {len(answered)} answered, then cut")
    await miner.close()


async def test_names_of_control_characters_and_markup_stay_text(house: House) -> None:
    for name in MARKUP:
        miner = FakeMiner()
        miner.user = name
        await miner.connect(house.port)
        miner.listen()
        miner.write({"id": 1, "method": "mining.subscribe", "params": [name]})
        miner.write({"id": 2, "method": "mining.authorize", "params": [name, name]})
        miner.last_id = 2
        answer = await miner.reply(2)
        assert answer["result"] is True or answer["error"][0] == 24
        if answer["result"]:
            miner.subscribed(await miner.reply(1))
            assert (await miner.mine())["result"] is True
        # Every figure can still be read, and none is of the miner's making.
        assert not [each for each in await house.figures() if each.startswith("evil")]
        status, text = await house.translator.health("/metrics")
        assert status == 200
        assert all(character.isprintable() or character == "\n" for character in text)
        status, text = await house.translator.health("/api/v1/miners")
        assert status == 200
        assert json.loads(text)
        assert not set(text) & CONTROLS
        await miner.close()
    for line in house.translator.log.splitlines():
        assert all(character.isprintable() for character in line), line
    assert "level=error msg=forged" not in house.translator.log.splitlines()
    await house.alone()


async def test_rubbish_and_bad_shares_without_end_are_slowed_and_then_cut(house: House) -> None:
    before = await house.ended("too-costly")
    miner = await house.miner()
    low = miner.find(await miner.job(), good=False)
    share = json.dumps({"id": 7, "method": "mining.submit", "params": low}).encode() + b"\n"
    strays = [await house.open() for _ in range(4)]
    with contextlib.suppress(ConnectionError):
        miner.write(share * 1_000)
    for _, writer in strays:
        with contextlib.suppress(ConnectionError):
            writer.write(b"rubbish\n" * 1_000)
    await asyncio.gather(*(gone(*stray) for stray in strays))
    assert await house.ended("too-costly") >= before + 4
    await miner.close()
    await house.alone()


async def test_session_ids_cannot_be_guessed(house: House) -> None:
    victim = await house.miner(user="victim")
    assert (await victim.mine())["result"] is True
    resumed = (await house.figures())["hashpool_translator_sessions_total,resumed"]
    for _ in range(CROWD):
        guess = chance.randbytes(16).hex()
        reader, writer = await house.open()
        line = {"id": 1, "method": "mining.subscribe", "params": ["fake/1.0", guess]}
        writer.write(json.dumps(line).encode() + b"\n")
        answer = json.loads(await asyncio.wait_for(reader.readline(), PATIENCE_S))
        assert answer["result"][1] != victim.extranonce1.hex()
        assert guess not in json.dumps(answer)
        writer.close()
        await writer.wait_closed()
    assert (await house.figures())["hashpool_translator_sessions_total,resumed"] == resumed
    assert (await victim.mine())["result"] is True
    await victim.close()
    await house.alone()


async def test_broken_tls_is_let_go(house: House) -> None:
    async def knock(data: bytes) -> None:
        reader, writer = await house.open()
        with contextlib.suppress(ConnectionError):
            writer.write(data)
        await gone(reader, writer)

    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
    await asyncio.gather(
        *(knock(hello + chance.randbytes(chance.randrange(1_000))) for _ in range(CROWD)),
        *(knock(b"\x16") for _ in range(CROWD // 4)),
    )
    reader, writer = await house.open(secured=True)
    writer.write(b'{"id":1,"method":"mining.subscribe","params":[]}\n')
    assert b"mining.notify" in await asyncio.wait_for(reader.readline(), PATIENCE_S)
    writer.close()
    with contextlib.suppress(ssl.SSLError):
        await writer.wait_closed()
    await house.alone()


async def test_who_has_slept_or_dripped_since_the_beginning_is_let_go(house: House) -> None:
    """Bytes that make no line are no sign of life, and neither is a socket that is open."""
    async for _ in house.translator.polls("to let go of who says nothing"):
        if all(miner.is_gone for miner in house.drippers):
            break
    assert await house.ended("slow-line") >= len(house.drippers)
    async for _ in house.translator.polls("to let go of the half-open"):
        if await house.ended("idle") >= len(house.sleepers):
            break
    while house.sleepers:
        house.sleepers.pop().close()
    while house.drippers:
        await house.drippers.pop().close()
    await house.alone()
