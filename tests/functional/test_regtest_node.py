"""The regtest node alone, as a process: started, stopped, killed, started twice."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from roles.node_client.client import NodeClient
from roles.node_client.credentials import CookieFile
from roles.node_client.errors import NodeError
from roles.runtime import sysexits
from tests.functional.processes import Daemon, Site

pytest.importorskip("pbk", reason="needs py-bitcoinkernel, the node extra")
pytestmark = pytest.mark.functional

ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
SEED = 20_261_122
KILLS = 40 if os.environ.get("HASHPOOL_TEST_LONG") else 6


@asynccontextmanager
async def client_of(node: Daemon) -> AsyncIterator[NodeClient]:
    """A client that knows the node's cookie."""
    url = f"http://{node.settings['rpc_address']}"
    async with NodeClient(url, CookieFile(node.state / ".cookie")) as client:
        yield client


@pytest.fixture
async def node(site: Site) -> Daemon:
    return await site.daemon("regtest_node").started()


async def test_a_clean_stop_keeps_the_chain_and_leaves_no_cookie(node: Daemon) -> None:
    async with client_of(node) as client:
        blocks = await client.call("generatetoaddress", 120, ADDRESS)
        assert await node.stop() == sysexits.OK
        assert not (node.state / ".cookie").exists()
        assert (node.state / "recent-blocks.dat").stat().st_size == 0
        node.start()
        print(f"ready again after {await node.ready():.2f} s")
        # The same client, with the cookie of the life before.
        assert await client.call("getbestblockhash") == blocks[-1]
    assert "given to the kernel again" not in node.log


@pytest.mark.parametrize("checkpoint_blocks", [1_000, 30])
async def test_kill_nine_at_any_moment_loses_no_block(site: Site, checkpoint_blocks: int) -> None:
    print(f"seed {SEED}, {KILLS} kills")
    node = await site.daemon("regtest_node", checkpoint_blocks=str(checkpoint_blocks)).started()
    chance = random.Random(SEED)
    answered: list[str] = []

    async def mine() -> None:
        async with client_of(node) as client:
            while True:
                answered.extend(await client.call("generatetoaddress", 1, ADDRESS))

    for _ in range(KILLS):
        mining = asyncio.ensure_future(mine())
        mined = len(answered)
        async for _ in node.polls("to mine"):
            if len(answered) > mined:
                break
        await asyncio.sleep(chance.random() * 0.3)
        node.kill()
        with suppress(NodeError):
            await mining
        if chance.random() < 0.3:
            # And once more while the chain is loaded.
            node.start()
            await node.logged(r"msg=starting")
            await asyncio.sleep(chance.random() * 0.5)
            node.kill()
        await node.started()
        async with client_of(node) as client:
            best = await client.call("getbestblockhash")
            height = await client.call("getblockcount")
            # One more may have been found than was answered.
            assert height - len(answered) in {0, 1}
            if height > len(answered):
                answered.append(best)
            assert best == answered[-1]
            assert await client.call("getblockhash", 1) == answered[0]
    assert "given to the kernel again" in node.log


async def test_a_second_node_on_the_same_state_is_refused(site: Site, node: Daemon) -> None:
    second = site.daemon("regtest_node", "second", rpc_address="127.0.0.1:0", health_address="127.0.0.1:0")
    second.start()
    assert await second.ended() == sysexits.TEMPORARY
    assert "another regtest node runs on" in second.log
    assert "Traceback" not in second.log
    async with client_of(node) as client:
        assert await client.call("getblockcount") == 0


async def test_a_taken_port_is_told_with_its_holder_and_the_setting(site: Site, node: Daemon) -> None:
    address = node.settings["rpc_address"]
    with Site(site.state.parent / "elsewhere") as elsewhere:
        other = elsewhere.daemon("regtest_node", rpc_address=address)
        other.start()
        assert await other.ended() == sysexits.UNAVAILABLE
        assert node.process is not None
        assert f"port {address.rpartition(':')[2]}" in other.log
        assert f"process {node.process.pid}" in other.log
        assert "rpc_address" in other.log
        assert not (other.state / ".cookie").exists()


async def test_each_start_has_its_own_password(node: Daemon) -> None:
    first = (node.state / ".cookie").read_bytes()
    node.kill()
    await node.started()
    assert (node.state / ".cookie").read_bytes() != first
    assert (node.state / ".cookie").stat().st_mode & 0o777 == 0o600
    assert first.decode().partition(":")[2] not in node.log


async def test_a_stop_lets_go_of_long_polls_and_of_work_under_way(node: Daemon) -> None:
    async with client_of(node) as client, client_of(node) as other:
        template = await client.call("getblocktemplate", {"rules": ["segwit"]})
        poll = {"rules": ["segwit"], "longpollid": template["longpollid"]}
        waiting = asyncio.ensure_future(client.call("getblocktemplate", poll, timeout_s=60))
        await other.call("getblockcount")
        assert not waiting.done()
        assert node.process is not None
        node.process.send_signal(signal.SIGTERM)
        assert await node.ended() == sysexits.OK
        with pytest.raises(NodeError):
            await waiting
        await node.started()
        mining = asyncio.ensure_future(other.call("generatetoaddress", 100_000, ADDRESS, timeout_s=60))
        await node.logged(r"msg=serving")
        async for _ in node.polls("to mine"):
            if await client.call("getblockcount") > 20:
                break
        assert await node.stop() == sysexits.OK
        with pytest.raises(NodeError):
            await mining
    assert (node.state / "recent-blocks.dat").stat().st_size == 0
