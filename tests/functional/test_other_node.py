"""The pool side on another node: only `[bitcoin]` changes, and mining goes on in that node's chain.

The other node has a port, a cookie and a chain of its own; to the pool side it is any node that speaks
bitcoind's JSON-RPC.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from protocols.bitcoin.descriptor import script_from_text
from protocols.bitcoin.hashing import display
from protocols.bitcoin.networks import Network
from protocols.bitcoin.secp256k1 import public_key
from protocols.bitcoin.target import from_work
from protocols.ehash.key_text import encode_key
from roles.node_client.client import NodeClient
from roles.node_client.credentials import CookieFile
from roles.node_client.errors import NodeRefused
from tests.functional.development import REWARD, Development
from tests.functional.processes import Daemon, Site
from tests.functional.sv2_peer import Server, goes_on
from tests.roles.pool.house import Channel

pytest.importorskip("pbk", reason="needs py-bitcoinkernel, the node extra")
pytestmark = pytest.mark.functional

BLOCK_HASHES = 4_096
ELSEWHERE = "bcrt1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qzf4jry"
MINER = encode_key(public_key(bytes(31) + b"\x61"))
POOL_SIDE = ("template_provider", "mint", "pool")


@asynccontextmanager
async def client_of(node: Daemon) -> AsyncIterator[NodeClient]:
    url = f"http://{node.settings['rpc_address']}"
    async with NodeClient(url, CookieFile(node.state / ".cookie")) as client:
        yield client


async def find_block(channel: Channel, node: Daemon) -> dict[str, Any]:
    """Mine a block at the pool and return it as the node has it."""
    share = channel.mine(target=from_work(BLOCK_HASHES))
    name = display(channel.hash_of(share))
    channel.submit(share)
    async with client_of(node) as client:
        async for _ in node.polls(f"to have block {name}"):
            try:
                block: dict[str, Any] = await client.call("getblock", name, 2)
            except NodeRefused:
                continue
            return block
    raise AssertionError


async def mine_at(pool: Daemon, development: Development, node: Daemon) -> dict[str, Any]:
    """A share and a block of a miner that names a key, when the mint has both as quotes; gives the block."""
    server = Server.of(pool, "listen_address", development.keys.pool, "pool")
    miner = await server.miner(extensions=True)
    channel = await miner.open(user=MINER)
    await goes_on(channel)
    block = await find_block(channel, node)
    rows = await server.count("hashpool_ledger_seq")
    assert rows >= 2
    async for _ in pool.polls("to hand over all its credits"):
        if await server.count("hashpool_ledger_acked_seq") == await server.count("hashpool_ledger_seq"):
            break
    miner.link.close()
    return block


def pays_the_pool(block: dict[str, Any]) -> bool:
    """Whether a block's coinbase pays the configured script."""
    script = script_from_text(REWARD, Network.REGTEST).hex()
    outputs = block["tx"][0]["vout"]
    return any(output["scriptPubKey"]["hex"] == script and output["value"] > 0 for output in outputs)


async def test_mining_goes_on_at_another_node_when_nothing_but_bitcoin_is_changed(
    site: Site, tmp_path: Path
) -> None:
    development = Development(site)
    first = development.daemon("regtest_node")
    common = {
        "template_provider": {"shared__regtest__block_difficulty": str(BLOCK_HASHES)},
        "mint": {"shared__regtest__block_difficulty": str(BLOCK_HASHES)},
        "pool": {
            "shared__regtest__block_difficulty": str(BLOCK_HASHES),
            "vardiff__floor_hashes": "256",
            "vardiff__shares_per_minute": "6000",
        },
    }
    before = {role: development.daemon(role, **common[role]) for role in POOL_SIDE}
    await development.start()
    block = await mine_at(before["pool"], development, first)
    # A share before it may have been a block as well.
    assert block["height"] >= 1
    assert pays_the_pool(block)
    for role in reversed(POOL_SIDE):
        assert await before[role].stop() == 0
    async with client_of(first) as client:
        left_at = await client.call("getblockcount")

    with Site(tmp_path / "other") as other_site:
        second = await other_site.daemon("regtest_node").started()
        async with client_of(second) as client:
            await client.call("generatetoaddress", 23, ELSEWHERE)
        bitcoin = {
            "shared__bitcoin__rpc_url": f"http://{second.settings['rpc_address']}",
            "shared__bitcoin__rpc_cookie_file": str(second.state / ".cookie"),
        }
        after = {
            role: development.daemon(role, f"{role} at the other node", **common[role], **bitcoin)
            for role in POOL_SIDE
        }
        for role in POOL_SIDE:
            after[role].start()
        for role in POOL_SIDE:
            await after[role].ready()
        changed = {
            name
            for role in POOL_SIDE
            for name, _ in after[role].settings.items() ^ before[role].settings.items()
        }
        assert changed == {"shared.bitcoin.rpc_url", "shared.bitcoin.rpc_cookie_file"}

        block = await mine_at(after["pool"], development, second)
        assert block["height"] >= 24
        assert block["confirmations"] >= 1
        assert pays_the_pool(block)
        async with client_of(second) as client:
            assert await client.call("getblockhash", block["height"]) == block["hash"]
        async with client_of(first) as client:
            assert await client.call("getblockcount") == left_at
            with pytest.raises(NodeRefused):
                await client.call("getblock", block["hash"])
        for role in reversed(POOL_SIDE):
            assert await after[role].stop() == 0
