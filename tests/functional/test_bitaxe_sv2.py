"""Bitaxe's native SV2 client at the proxy and directly at the pool: standard and extended channels."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Final

import pytest
import pytest_asyncio

from roles.node_client.client import NodeClient
from roles.node_client.credentials import CookieFile
from tests.functional.bitaxe_sv2 import KINDS, BitaxeSv2
from tests.functional.development import REWARD, Development
from tests.functional.processes import Site
from tests.functional.sv2_peer import Server

pytest.importorskip("pbk", reason="needs py-bitcoinkernel, the node extra")
pytestmark = [pytest.mark.functional, pytest.mark.asyncio(loop_scope="module")]

SHARES: Final = 50
CHANGE_S: Final = 60.0


@dataclass
class Chain:
    """The daemons that a native SV2 miner needs."""

    servers: dict[str, Server]
    node: NodeClient
    miners: list[BitaxeSv2] = field(default_factory=list)

    async def bitaxe(self, where: str, kind: str) -> BitaxeSv2:
        """One that has work."""
        miner = BitaxeSv2(await self.servers[where].dial(), **KINDS[kind])
        self.miners.append(miner)
        return await miner.start(f"bitaxe.{where}-{kind}")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("bitaxe")) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(site: Site) -> AsyncIterator[Chain]:
    development = Development(site)
    node = development.daemon("regtest_node")
    development.daemon("mint")
    development.daemon("template_provider")
    pool = development.daemon(
        "pool",
        vardiff__floor_hashes="256",
        vardiff__shares_per_minute="300",
        # Nothing that is mined here is a block.
        shared__regtest__block_difficulty=str(1 << 40),
    )
    proxy = development.daemon("proxy")
    await development.start()
    servers = {
        "pool": Server.of(pool, "listen_address", development.keys.pool, "pool"),
        "proxy": Server.of(proxy, "listen_address", development.keys.proxy, "downstream"),
    }
    url = f"http://{node.settings['rpc_address']}"
    async with NodeClient(url, CookieFile(node.state / ".cookie")) as client:
        yield Chain(servers, client)


@pytest_asyncio.fixture(loop_scope="module")
async def chain(system: Chain) -> AsyncIterator[Chain]:
    """After each test no miner had anything to object to."""
    yield system
    faults = [miner.faults for miner in system.miners if miner.faults]
    await asyncio.gather(*(miner.close() for miner in system.miners))
    system.miners.clear()
    assert faults == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", ["pool", "proxy"])
async def test_its_shares_are_accepted_through_a_change_of_difficulty_and_a_new_block(
    chain: Chain, where: str, kind: str
) -> None:
    miner = await chain.bitaxe(where, kind)
    started = miner.channel.target
    await miner.dig(SHARES // 2)
    async with asyncio.timeout(CHANGE_S):
        while miner.channel.target == started:
            await miner.dig(10, at_once=10)
    tip = miner.channel.tip
    late, low = miner.search(), miner.search(good=False)
    assert await miner.hand_in(low) == ["difficulty-too-low"]
    await chain.node.call("generatetoaddress", 1, REWARD)
    await miner.until(lambda: miner.channel.tip is not tip)
    assert await miner.hand_in(late) == ["stale-share"]
    await miner.dig(SHARES // 2)
    good = miner.search()
    assert await miner.hand_in(good) == [""]
    assert await miner.hand_in(good) == ["duplicate-share"]
    assert not miner.is_gone


@pytest.mark.parametrize("kind", KINDS)
async def test_it_mines_on_at_the_proxy_when_the_pool_was_gone(chain: Chain, kind: str) -> None:
    miner = await chain.bitaxe("proxy", kind)
    await miner.dig(5)
    before = miner.channel.active
    pool = chain.servers["pool"].daemon
    pool.kill()
    await pool.started()
    await miner.mines_on(before)
    await miner.dig(10)
    assert not miner.is_gone


@pytest.mark.parametrize("where", ["pool", "proxy"])
async def test_its_probe_is_no_error(chain: Chain, where: str) -> None:
    """It looks whether its own pool is back by connecting and hanging up."""
    server = chain.servers[where]
    before = server.daemon.log
    for _ in range(3):
        _, writer = await asyncio.open_connection(server.address.host, server.address.port)
        writer.close()
        await writer.wait_closed()
    miner = await chain.bitaxe(where, "extended")
    await miner.dig(5)
    assert "level=info" in before
    said = server.daemon.log[len(before) :].splitlines()
    assert [line for line in said if "level=warning" in line or "level=error" in line] == []
