"""Every miner of the table at the miner side of sv1_proxy, behind it the pool side and a solo pool.

When the pool side is away, miners are at the solo pool itself, as at any SV1 pool.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

import pytest
import pytest_asyncio

from roles.node_client.client import NodeClient
from roles.node_client.credentials import CookieFile
from tests.functional import miner_scenes as scenes
from tests.functional.development import REWARD, Development
from tests.functional.miner_profiles import PROFILES, Profile
from tests.functional.miner_scenes import STRAYS
from tests.functional.processes import Daemon, Site
from tests.functional.scripted_miner import ScriptedMiner

pytest.importorskip("pbk", reason="needs py-bitcoinkernel, the node extra")
pytestmark = [pytest.mark.functional, pytest.mark.asyncio(loop_scope="module")]

SHARES: Final = 50
EHASH: Final = "ehash"
PLAIN: Final = "plain"


@dataclass
class Chain:
    """Everything from the node to the miner side."""

    server: Daemon
    pool_side: Daemon
    solo: Daemon
    node: NodeClient
    miners: list[ScriptedMiner] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.server.settings["listen_address"].rpartition(":")[2])

    async def connect(self, profile: Profile, port: int | None = None) -> ScriptedMiner:
        """A miner with its socket open, and nothing said."""
        miner = ScriptedMiner(profile)
        await miner.connect(port or self.port)
        self.miners.append(miner)
        return miner

    async def miner(self, profile: Profile, port: int | None = None) -> ScriptedMiner:
        """A miner that has work."""
        miner = await self.connect(profile, port)
        await miner.start()
        return miner

    async def new_block(self) -> None:
        """Somebody else finds a block."""
        await self.node.call("generatetoaddress", 1, REWARD)

    async def rejected(self) -> dict[str, float]:
        """Shares that either instance has rejected, by reason."""
        found: dict[str, float] = {}
        for daemon in (self.server, self.pool_side):
            _, text = await daemon.health("/metrics")
            for reason, count in re.findall(
                r'hashpool_sv1_proxy_rejected_total\{reason="([^"]+)"\} (\S+)', text
            ):
                found[reason] = found.get(reason, 0) + float(count)
        return found

    async def mines_at(self, pool: str) -> None:
        """Wait until the miner side mines at a pool."""
        sample = f'hashpool_upstreams_state{{state="active",upstream="{pool}"}} 1.0'
        async for _ in self.server.polls(f"to mine at {pool}"):
            if sample in (await self.server.health("/metrics"))[1]:
                return


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("sv1-matrix")) as site:
        yield site


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(site: Site) -> AsyncIterator[Chain]:
    development = Development(site, sv1=True)
    node = development.daemon("regtest_node")
    development.daemon("mint")
    # Nothing that is mined here is a block.
    hard = {"shared__regtest__block_difficulty": str(1 << 40)}
    solo = development.daemon("solo_pool", start_difficulty="6e-8", shares_per_minute="600", **hard)
    pool_side = development.daemon(
        "sv1_proxy_pool",
        vardiff__floor_hashes="4096",
        vardiff__shares_per_minute="6000",
        limits__shares_per_s="10000",
        **hard,
    )
    addresses = [daemon.settings["listen_address"] for daemon in (pool_side, solo)]
    server = development.daemon(
        "sv1_proxy_miner",
        start_difficulty="6e-8",
        shown_shares_per_minute="300",
        upstream__failback_s="0.5",
        upstream__check_s="0.1",
        pools=f'[{{address = "{addresses[0]}", name = "{EHASH}"}},'
        f' {{address = "{addresses[1]}", name = "{PLAIN}", user = "{REWARD}.{{worker}}"}}]',
    )
    server.settings.pop("pools.0.address")
    # Whoever sits at the other pool first has more to roll than the pool side grants, and stays away from it.
    for daemon in development.daemons.values():
        if daemon is not server:
            daemon.start()
    await pool_side.ready()
    await development.start()
    url = f"http://{node.settings['rpc_address']}"
    async with NodeClient(url, CookieFile(node.state / ".cookie")) as client:
        yield Chain(server, pool_side, solo, client)


@pytest_asyncio.fixture(loop_scope="module")
async def chain(system: Chain) -> AsyncIterator[Chain]:
    """After each test no miner had anything to object to."""
    yield system
    faults = {miner.profile.name: miner.faults for miner in system.miners if miner.faults}
    await asyncio.gather(*(miner.close() for miner in system.miners))
    system.miners.clear()
    assert faults == {}


@pytest.fixture(params=PROFILES, ids=lambda profile: profile.name)
def profile(request: pytest.FixtureRequest) -> Profile:
    chosen: Profile = request.param
    return chosen


async def test_its_shares_are_accepted_through_a_change_of_difficulty_and_a_new_block(
    chain: Chain, profile: Profile
) -> None:
    await scenes.mines_through_a_change_and_a_block(chain, profile, SHARES)


async def test_all_are_told_the_truth_about_bad_shares(chain: Chain) -> None:
    # Not of those that may suggest so low a difficulty that no share is bad.
    for profile in PROFILES[1::4]:
        await scenes.hears_the_truth_about_bad_shares(chain, profile)


async def test_the_failback_probe_of_a_bitaxe_finds_what_it_looks_for(chain: Chain) -> None:
    await scenes.is_found_by_a_probe(chain)


@pytest.mark.parametrize("name", ["cgminer", "antminer-s19", "whatsminer", "avalon"])
async def test_a_miner_that_names_its_session_goes_on_where_it_was(chain: Chain, name: str) -> None:
    await scenes.goes_on_with_its_session(chain, next(each for each in PROFILES if each.name == name))


async def test_strays_are_no_error(chain: Chain) -> None:
    for head in STRAYS.values():
        await scenes.is_not_bothered_by_a_stray(chain, head)


async def _upstream_restarted(chain: Chain) -> None:
    chain.solo.kill()
    await chain.solo.started()


async def _pool_side_killed(chain: Chain) -> None:
    chain.pool_side.kill()
    await chain.mines_at(PLAIN)


async def _pool_side_back(chain: Chain) -> None:
    if chain.pool_side.is_running:
        await _pool_side_killed(chain)
    await chain.pool_side.started()
    await chain.mines_at(EHASH)


LOSSES: Final[dict[str, Callable[[Chain], Awaitable[None]]]] = {
    "upstream-restarted": _upstream_restarted,
    "pool-side-killed": _pool_side_killed,
    "pool-side-back": _pool_side_back,
}
"""What may happen upstream; the last leaves things as they were."""


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())
async def test_all_of_them_mine_on_with_their_sockets_when_upstream_was_gone(
    chain: Chain, loss: Callable[[Chain], Awaitable[None]]
) -> None:
    if chain.pool_side.is_running:
        await chain.mines_at(EHASH)
    miners = [await chain.miner(profile) for profile in PROFILES]
    for miner in miners:
        await miner.dig(2)
    kept = [(miner.extranonce1, miner.extranonce2_size) for miner in miners]
    jobs = [miner.jobs[-1] for miner in miners]
    await loss(chain)
    for miner, job in zip(miners, jobs, strict=True):
        await miner.mines_on(job)
        await miner.dig(2)
    assert not any(miner.is_gone for miner in miners)
    assert [(miner.extranonce1, miner.extranonce2_size) for miner in miners] == kept
