"""A reorganisation of six blocks, and a node that goes for a while, under a pool that is mined at."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from protocols.sv2.mining import SubmitSharesError, SubmitSharesSuccess
from roles.node_client.client import NodeClient
from roles.node_client.credentials import CookieFile
from tests.functional.development import REWARD, Development
from tests.functional.processes import Daemon, Site
from tests.functional.sv2_peer import Server
from tests.roles.pool.house import Channel

pytest.importorskip("pbk", reason="needs py-bitcoinkernel, the node extra")
pytestmark = pytest.mark.functional

DEPTH = 6
OLD = {"stale-share", "invalid-job-id"}
"""Of work for the tip before, and of work for tips before that one, of which a pool keeps nothing."""
OTHER_REWARD = "bcrt1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqdku202"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Site]:
    with Site(tmp_path / "elsewhere") as made:
        yield made


def client_of(node: Daemon) -> NodeClient:
    return NodeClient(f"http://{node.settings['rpc_address']}", CookieFile(node.state / ".cookie"))


@contextlib.asynccontextmanager
async def mining(server: Server) -> AsyncIterator[Channel]:
    """A miner with a channel, for as long as it is wanted."""
    miner = await server.miner()
    try:
        yield await miner.open()
    finally:
        miner.link.close()
        await miner.link.wait_closed()


async def verdict(channel: Channel) -> str:
    """What becomes of the channel's next share: the code of its refusal, or nothing."""
    share = channel.mine()
    channel.submit(share)
    answer = await channel.miner.hear(SubmitSharesSuccess, SubmitSharesError)
    return answer.error_code if isinstance(answer, SubmitSharesError) else ""


async def start(site: Site) -> tuple[Daemon, Server]:
    development = Development(site)
    node = development.daemon("regtest_node")
    development.daemon("mint")
    development.daemon("template_provider")
    pool = development.daemon(
        "pool",
        vardiff__floor_hashes="256",
        vardiff__shares_per_minute="6000",
        # Nothing that is mined here is a block.
        shared__regtest__block_difficulty=str(1 << 40),
    )
    await development.start()
    return node, Server.of(pool, "listen_address", development.keys.pool, "pool")


async def test_a_reorganisation_of_six_blocks_makes_old_work_stale_and_new_work_good(
    site: Site, elsewhere: Site
) -> None:
    node, server = await start(site)
    other = await elsewhere.daemon("regtest_node").started()
    async with mining(server) as channel, client_of(node) as ours, client_of(other) as theirs:
        before = await ours.call("getblockcount")
        assert isinstance(before, int)
        await ours.call("generatetoaddress", DEPTH, REWARD)
        # The tips come one by one; what is mined meanwhile is accepted, or stale by the next tip.
        while await verdict(channel) in OLD:
            pass
        tip = await ours.call("getbestblockhash")
        hashes = await theirs.call("generatetoaddress", before + DEPTH + 1, OTHER_REWARD)
        assert isinstance(hashes, list)
        start_height = await theirs.call("getblockcount")
        assert isinstance(start_height, int)
        for height in range(1, start_height + 1):
            block_hash = await theirs.call("getblockhash", height)
            await ours.call("submitblock", await theirs.call("getblock", block_hash, 0))
            assert await verdict(channel) in {"", *OLD}
        assert await ours.call("getbestblockhash") == await theirs.call("getbestblockhash") != tip
        old = channel.mine()
        while channel.tip is None or channel.tip.prev_hash.hex() != _wire(
            await theirs.call("getbestblockhash")
        ):
            await channel.miner.receive()
        channel.submit(old)
        answer = await channel.miner.hear(SubmitSharesSuccess, SubmitSharesError)
        assert isinstance(answer, SubmitSharesSuccess) or answer.error_code in OLD
        assert await verdict(channel) == ""


async def test_while_the_node_is_gone_shares_are_accepted_and_work_goes_on_when_it_is_back(
    site: Site,
) -> None:
    node, server = await start(site)
    async with mining(server) as channel:
        assert await verdict(channel) == ""
        node.kill()
        for _ in range(20):
            assert await verdict(channel) == ""
        await node.started()
        async with client_of(node) as client:
            await client.call("generatetoaddress", 1, REWARD)
        await channel.work()
        assert await verdict(channel) in {"", "stale-share"}
        assert await verdict(channel) == ""


def _wire(text: object) -> str:
    """A hash as it stands on the wire, from how it is shown."""
    return bytes.fromhex(str(text))[::-1].hex()
