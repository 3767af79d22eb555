"""Bad input at the translator, as a process in front of the whole chain, beside a miner that mines on.

The verdicts are those of the running system: what the translator cannot tell by itself comes from proxy and
pool. One good miner keeps its connection from the first test to the last.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from roles.node_client.client import NodeClient
from roles.node_client.credentials import CookieFile
from tests.functional.development import REWARD, Development
from tests.functional.processes import Daemon, Site
from tests.roles.translator.fake_miners import Bitaxe, FakeMiner

pytest.importorskip("pbk", reason="needs py-bitcoinkernel, the node extra")
pytestmark = [pytest.mark.functional, pytest.mark.asyncio(loop_scope="module")]

LINE_LIMIT = 8192


@dataclass
class Chain:
    """Everything from the node to the translator, and the good miner."""

    translator: Daemon
    good: FakeMiner
    node: NodeClient

    @property
    def port(self) -> int:
        return int(self.translator.settings["listen_address"].rpartition(":")[2])

    async def miner(self, profile: type[FakeMiner] = FakeMiner) -> FakeMiner:
        """A miner that has work."""
        miner = await profile().connect(self.port)
        await miner.start()
        return miner

    async def stray(self) -> FakeMiner:
        """A connection on which nothing has been said."""
        miner = await FakeMiner().connect(self.port)
        miner.listen()
        return miner

    async def rejected(self, reason: str) -> float:
        """Shares that the translator has rejected for a reason."""
        _, text = await self.translator.health("/metrics")
        sample = f'hashpool_translator_rejected_total{{reason="{reason}"}} '
        return next((float(line.split()[-1]) for line in text.splitlines() if line.startswith(sample)), 0.0)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("translator")) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chain(site: Site) -> AsyncIterator[Chain]:
    development = Development(site)
    node = development.daemon("regtest_node")
    development.daemon("mint")
    development.daemon("template_provider")
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
        limits__line_bytes=str(LINE_LIMIT),
        limits__idle_s="600",
        limits__cost__hard_s="20",
    )
    await development.start()
    url = f"http://{node.settings['rpc_address']}"
    async with NodeClient(url, CookieFile(node.state / ".cookie")) as client:
        chain = Chain(translator, FakeMiner(), client)
        chain.good = await chain.miner()
        yield chain
        await chain.good.close()


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def the_good_miner_notices_nothing(chain: Chain) -> AsyncIterator[None]:
    """After each test its next share is accepted, on the connection that it has had all the time."""
    yield
    answer = await chain.good.mine()
    assert answer["result"] is True, answer
    assert not chain.good.is_gone


# Lines


@pytest.mark.parametrize(
    ("line", "id", "code", "text"),
    [
        (b"hello\n", None, 20, "Not JSON"),
        (b'{"id":1,"method":\n', None, 20, "Not JSON"),
        (b'{"id":1,"method":"mining.authorize","params":["a"b","x"]}\n', None, 20, "Not JSON"),
        (b"\xff\xfe\xfd\n", None, 20, "Not JSON"),
        (b"[1,2]\n", None, 20, "Not an object"),
        (b"7\n", None, 20, "Not an object"),
        (b"{" + b"x" * LINE_LIMIT + b"\n", None, 20, "Line too long"),
        (b"[" * (LINE_LIMIT - 2) + b"\n", None, 20, "Not JSON"),
        (b'{"id":5,"method":7}\n', 5, 20, "Method not a string"),
        (b'{"id":5,"method":["mining.submit"],"params":[]}\n', 5, 20, "Method not a string"),
        (b'{"id":5,"method":"mining.submit","params":{"a":1}}\n', 5, 20, "Params not array"),
        (b'{"id":5,"method":"mining.submit","params":"abc"}\n', 5, 20, "Params not array"),
        (b'{"id":5,"method":"mining.unheard_of","params":[]}\n', 5, -3, "Method not found"),
        (b'{"id":"5","method":"mining.authorize","params":[]}\n', "5", 20, "No user name"),
        (b'{"id":5,"method":"mining.authorize","params":[{}]}\n', 5, 20, "No user name"),
        (b'{"id":5,"method":"mining.submit","params":[]}\n', 5, 20, "Too few parameters"),
        (b'{"id":5,"method":"mining.submit","params":[1,2,3,4,[]]}\n', 5, 20, "Invalid extranonce2"),
        (b'{"id":5,"method":"mining.submit","params":["a","1",[],1,2,3]}\n', 5, 20, "Invalid extranonce2"),
        (
            b'{"id":5,"method":"mining.submit","params":["a","1","zz","1","1"]}\n',
            5,
            20,
            "Invalid extranonce2",
        ),
        (b'{"id":5,"method":"mining.submit","params":["a","1","00",{},"1"]}\n', 5, 20, "Invalid ntime"),
        (b'{"id":5,"method":"mining.submit","params":["a","1","00","1",null]}\n', 5, 20, "Invalid nonce"),
        (
            b'{"id":5,"method":"mining.submit","params":["a","1","00","1","1","xy"]}\n',
            5,
            20,
            "Invalid version bits",
        ),
        (b'{"id":5,"method":"mining.submit","params":["a",null,"00","1","1"]}\n', 5, 21, "Job not found"),
    ],
)
async def test_a_line_that_is_no_request_is_answered_and_its_miner_goes_on(
    chain: Chain, line: bytes, id: Any, code: int, text: str
) -> None:
    miner = await chain.miner()
    miner.write(line)
    assert await miner.reply(id) == {"id": id, "result": None, "error": [code, text, None]}
    assert (await miner.mine())["result"] is True
    await miner.close()


async def test_a_line_without_an_end_costs_one_answer(chain: Chain) -> None:
    miner = await chain.miner()
    miner.write(b"x" * 1_000_000)
    assert (await miner.reply(None))["error"] == [20, "Line too long", None]
    miner.write(b"\n")
    assert (await miner.mine())["result"] is True
    await miner.close()


async def test_a_line_that_stops_in_the_middle_costs_nobody_anything(chain: Chain) -> None:
    miner = await chain.miner()
    miner.write(b'{"id":5,"method":"mining.sub')
    await miner.close()


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: pool\r\n\r\n",
        b"\x16\x03\x01\x00\xf4\x01\x00\x00\xf0\x03\x03",
        bytes(range(64)),
    ],
    ids=["http", "tls", "sv2"],
)
async def test_another_protocol_is_cut_without_a_word(chain: Chain, head: bytes) -> None:
    stray = await chain.stray()
    stray.write(head)
    await stray.until(lambda: stray.is_gone)
    assert stray.raw == []
    await stray.close()


async def test_who_only_sends_rubbish_is_cut_in_the_end(chain: Chain) -> None:
    stray = await chain.stray()
    with contextlib.suppress(ConnectionError):
        stray.write(b"rubbish\n" * 100)
        await stray.until(lambda: stray.is_gone)
    assert 4 <= len(stray.lines) < 10
    await stray.close()


async def test_shares_before_the_introduction_are_refused(chain: Chain) -> None:
    stray = await chain.stray()
    share = ["a", "1", "00", "1", "1"]
    stray.write({"id": 1, "method": "mining.submit", "params": share})
    assert (await stray.reply(1))["error"] == [25, "Not subscribed", None]
    stray.write({"id": 2, "method": "mining.subscribe", "params": []})
    await stray.reply(2)
    stray.write({"id": 3, "method": "mining.submit", "params": share})
    assert (await stray.reply(3))["error"] == [24, "Unauthorized worker", None]
    await stray.close()


# Shares


async def test_a_bad_share_is_refused_for_what_is_wrong_with_it(chain: Chain) -> None:
    miner = await chain.miner()
    job = await miner.job()
    good = miner.find(job)
    user, job_id, extranonce2, ntime, nonce = good
    early, late = f"{int(ntime, 16) - 86_400:08x}", "ffffffff"
    bad = [
        ([user, "ffff", extranonce2, ntime, nonce], [21, "Job not found", None]),
        ([user, job_id, extranonce2[2:], ntime, nonce], [20, "Wrong extranonce2 size", None]),
        ([user, job_id, extranonce2 + "00", ntime, nonce], [20, "Wrong extranonce2 size", None]),
        ([user, job_id, extranonce2, early, nonce], [20, "Ntime out of range", None]),
        ([user, job_id, extranonce2, late, nonce], [20, "Ntime out of range", None]),
        (miner.find(job, good=False), [23, "Above target", None]),
    ]
    for params, error in bad:
        assert (params, (await miner.submit(params))["error"]) == (params, error)
    assert (await miner.submit(good))["result"] is True
    assert (await miner.submit(good))["error"] == [22, "Duplicate share", None]
    assert (await miner.mine())["result"] is True
    for reason in ("unknown-job", "invalid", "low", "duplicate"):
        assert await chain.rejected(reason) >= 1, reason
    await miner.close()


@pytest.mark.parametrize("bits", [1, 1 << 4, 1 << 30, 1 << 31])
async def test_version_bits_that_nobody_may_roll_are_refused(chain: Chain, bits: int) -> None:
    miner = await chain.miner(Bitaxe)
    job = await miner.job()
    share = miner.find(job, bits=bits)
    assert int(share[-1], 16) == bits
    assert (await miner.submit(share))["error"] == [20, "Invalid version bits", None]
    assert (await miner.mine())["result"] is True
    await miner.close()


async def test_a_share_for_the_tip_before_is_stale(chain: Chain) -> None:
    miner = await chain.miner()
    share = miner.find(await miner.job())
    previous = miner.jobs[-1].params[1]
    await chain.node.call("generatetoaddress", 1, REWARD)
    await miner.until(lambda: miner.jobs[-1].params[1] != previous)
    await chain.good.until(lambda: chain.good.jobs[-1].params[1] != previous)
    assert (await miner.submit(share))["error"] == [21, "Stale", None]
    assert (await miner.mine())["result"] is True
    await miner.close()


@pytest.mark.parametrize(
    ("user", "password", "text"),
    [
        ("k=nonsense", "x", "Invalid key"),
        ("alice", "k=02" + "00" * 32, "Invalid key"),
        ("x" * 300, "x", "User name too long"),
    ],
)
async def test_a_name_or_key_that_is_none_is_refused_and_a_good_one_may_follow(
    chain: Chain, user: str, password: str, text: str
) -> None:
    stray = await chain.stray()
    stray.write(
        {"id": 1, "method": "mining.subscribe", "params": []},
        {"id": 2, "method": "mining.authorize", "params": [user, password]},
    )
    error = (await stray.reply(2))["error"]
    assert error[0] == 24
    assert text in error[1]
    stray.write({"id": 3, "method": "mining.authorize", "params": ["alice", "x"]})
    assert (await stray.reply(3))["result"] is True
    await stray.close()


async def test_many_bad_peers_at_once_cost_a_good_one_nothing(chain: Chain) -> None:
    strays = [await chain.stray() for _ in range(20)]
    for stray in strays:
        stray.write(b'{"id":1,"method":"mining.subscribe","params":[]}\n' + b"{" * 5000)
    assert (await chain.good.mine())["result"] is True
    await asyncio.gather(*(stray.close() for stray in strays))
