"""The solo pool on a real node: every miner, blocks in the chain, and a node that goes and comes back."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import pytest

from protocols.bitcoin.address import script_from_address
from protocols.bitcoin.header import parse_block
from protocols.bitcoin.networks import Network
from roles.node_client.client import NodeClient
from roles.node_client.credentials import CookieFile
from tests.functional.development import REWARD, Development
from tests.functional.miner_profiles import PROFILES
from tests.functional.processes import Daemon, Site
from tests.functional.scripted_miner import ScriptedMiner

pytest.importorskip("pbk", reason="needs py-bitcoinkernel, the node extra")
pytestmark = pytest.mark.functional

HERS: Final = "bcrt1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqdku202"
EASY: Final = {"start_difficulty": "6e-8", "shares_per_minute": "6"}
"""Shares of some 256 hashes, and so few of them a minute that three say nothing of the miner for long.

The script of a device that knows whole difficulties only sends shares of 2^14 hashes where it was told 2^32:
as soon as the pool believes them, it asks for what the script cannot find.
"""


class Solo:
    """A node and a solo pool, and the miners that connect to it."""

    def __init__(self, site: Site, **settings: str) -> None:
        development = Development(site)
        self.node = development.daemon("regtest_node")
        self.pool = development.daemon("solo_pool", **EASY | settings)
        self.rpc = NodeClient(
            f"http://{self.node.settings['rpc_address']}", CookieFile(self.node.state / ".cookie")
        )
        self.miners: list[ScriptedMiner] = []

    async def start(self) -> None:
        self.node.start()
        self.pool.start()
        await self.pool.ready()

    async def miner(self, profile_name: str = "cgminer", user: str = "") -> ScriptedMiner:
        profile = next(each for each in PROFILES if each.name == profile_name)
        miner = ScriptedMiner(profile)
        miner.user = user or miner.user
        await miner.connect(int(self.pool.settings["listen_address"].rpartition(":")[2]))
        self.miners.append(miner)
        await miner.start()
        return miner

    async def height(self) -> int:
        return (await self.rpc.chain_info()).blocks


async def left(miner: ScriptedMiner, tip: str) -> None:
    """Wait until a miner has work on another tip."""
    await miner.until(lambda: miner.jobs and miner.jobs[-1].params[1] != tip)


@pytest.fixture
async def solo(site: Site, request: pytest.FixtureRequest) -> AsyncIterator[Solo]:
    made = Solo(site, **getattr(request, "param", {}))
    async with made.rpc:
        yield made
        for miner in made.miners:
            await miner.close()


NOTHING_IS_A_BLOCK: Final = {"shared__regtest__block_difficulty": str(1 << 40)}
EVERYTHING_IS: Final = {"shared__regtest__block_difficulty": "256"}


@pytest.mark.parametrize("solo", [NOTHING_IS_A_BLOCK], indirect=True)
async def test_every_miner_of_the_table_mines_and_hears_of_new_blocks(solo: Solo) -> None:
    await solo.start()
    miners = [await solo.miner(profile.name) for profile in PROFILES]
    for miner in miners:
        await miner.dig(3, at_once=True)
    tips = [miner.jobs[-1].params[1] for miner in miners]
    await solo.rpc.call("generatetoaddress", 1, REWARD)
    for miner, tip in zip(miners, tips, strict=True):
        await left(miner, tip)
        await miner.dig(1)
        assert not miner.is_gone, miner.profile.name
        assert not miner.faults, (miner.profile.name, miner.faults)


@pytest.mark.parametrize("solo", [EVERYTHING_IS], indirect=True)
async def test_blocks_stand_in_the_chain_and_pay_whoever_found_them(solo: Solo) -> None:
    await solo.start()
    miner = await solo.miner(user=f"{HERS}.garage")
    for height in range(1, 4):
        job = await miner.job()
        assert (await miner.hand_in(miner.search(job)))["result"] is True
        await miner.moved_on(job)
        assert await solo.height() == height
    _, (coinbase, *_) = parse_block(await solo.rpc.block(await solo.rpc.best_block_hash()))
    assert coinbase.outputs[0].script == script_from_address(HERS, Network.REGTEST)
    assert b"/hashpool solo/" in coinbase.inputs[0].script


@pytest.mark.parametrize("solo", [EVERYTHING_IS], indirect=True)
async def test_a_block_found_while_the_node_is_away_is_in_the_chain_when_it_is_back(solo: Solo) -> None:
    await solo.start()
    miner = await solo.miner()
    job = await miner.job()
    solo.node.kill()
    await solo.pool.logged("no templates from the node")
    found = asyncio.ensure_future(miner.hand_in(miner.search(job)))
    await solo.pool.logged("a block waits for the node")
    solo.node.start()
    assert (await found)["result"] is True
    await miner.moved_on(job)
    assert await solo.height() == 1
    assert not miner.is_gone


@pytest.mark.parametrize("solo", [NOTHING_IS_A_BLOCK | {"node_away_s": "1"}], indirect=True)
async def test_miners_are_let_go_when_the_node_stays_away_and_welcome_when_it_is_back(solo: Solo) -> None:
    await solo.start()
    miner = await solo.miner()
    solo.node.kill()
    await miner.until(lambda: miner.is_gone)
    await solo.node.started()
    await solo.pool.ready()
    await (await solo.miner()).dig(1)


async def test_it_says_what_is_wrong_with_its_configuration(site: Site) -> None:
    pool: Daemon = Development(site).daemon("solo_pool", reward_script="bcrt1qnonsense")
    pool.start()
    assert await pool.ended() == 78
    assert "reward_script" in pool.log
    assert "is no address or descriptor of regtest" in pool.log
