"""Every miner of the table against the real daemons: translator, proxy, pool, mint and node.

The script objects to whatever the firmware could not bear; here it must never do so.
"""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

import pytest
import pytest_asyncio

from roles.node_client.client import NodeClient
from roles.node_client.credentials import CookieFile
from tests.functional import miner_scenes as scenes
from tests.functional.bitaxe_sv2 import KINDS, BitaxeSv2
from tests.functional.development import REWARD, Development
from tests.functional.miner_profiles import PROFILES, Profile
from tests.functional.miner_scenes import CHANGE_S, FLAPPER, PROBER, STRAYS
from tests.functional.processes import Daemon, Site
from tests.functional.scripted_miner import ScriptedMiner
from tests.functional.sv2_peer import Server
from tests.functional.two_pools import as_upstream, issuer_of, pool_beside

pytest.importorskip("pbk", reason="needs py-bitcoinkernel, the node extra")
pytestmark = [pytest.mark.functional, pytest.mark.asyncio(loop_scope="module")]

BACKUP: Final = "backup"
SHARES: Final = 50
PROBER_S: Final = 2.0 if os.environ.get("HASHPOOL_TEST_LONG") else 20.0
"""The former is what it waits; a machine that has other things to do may need more."""


@dataclass
class Chain:
    """Everything from the node to the translator."""

    translator: Daemon
    proxy: Daemon
    pool: Daemon
    backup: Daemon
    """A pool that the proxy turns to while the other one is away; it runs when it is needed."""
    native: Server
    """The proxy as an SV2 miner finds it."""
    node: NodeClient
    rental_port: int
    frugal_port: int
    """Of a translator that leaves miners an extranonce2 of 4."""
    miners: list[ScriptedMiner] = field(default_factory=list)
    natives: dict[str, BitaxeSv2] = field(default_factory=dict)

    @property
    def server(self) -> Daemon:
        return self.translator

    @property
    def port(self) -> int:
        return int(self.translator.settings["listen_address"].rpartition(":")[2])

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

    async def bitaxe(self, kind: str) -> BitaxeSv2:
        """Bitaxe's native client at the proxy, with work."""
        miner = BitaxeSv2(await self.native.dial(), **KINDS[kind])
        self.natives[kind] = miner
        return await miner.start(f"native.{kind}")

    async def mines_at(self, upstream: str) -> None:
        """Wait until the proxy mines at a pool."""
        sample = f'hashpool_upstreams_state{{state="active",upstream="{upstream}"}}'
        async for _ in self.proxy.polls(f"to mine at {upstream}"):
            if await self.native.count(sample) == 1:
                return

    async def new_block(self) -> None:
        """Somebody else finds a block."""
        await self.node.call("generatetoaddress", 1, REWARD)

    async def rejected(self) -> dict[str, float]:
        """Shares that the translator has rejected, by reason."""
        _, text = await self.translator.health("/metrics")
        samples = re.findall(r'hashpool_translator_rejected_total\{reason="([^"]+)"\} (\S+)', text)
        return {reason: float(value) for reason, value in samples}

    async def connections(self) -> float:
        """Miners that the translator knows to be connected."""
        _, text = await self.translator.health("/metrics")
        [value] = re.findall(r"(?m)^hashpool_sv1_connections (\S+)", text)
        return float(value)


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Site]]:
    root = tmp_path_factory.mktemp("matrix")
    with Site(root / "here") as here, Site(root / "there") as there:
        yield here, there


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(sites: tuple[Site, Site]) -> AsyncIterator[Chain]:
    site, elsewhere = sites
    development = Development(site, issuers=(issuer_of(elsewhere),))
    node = development.daemon("regtest_node")
    development.daemon("mint")
    development.daemon("template_provider")
    easy = {
        "vardiff__floor_hashes": "256",
        "vardiff__shares_per_minute": "300",
        "acknowledgement__delay_ms": "2",
        # Nothing that is mined here is a block.
        "shared__regtest__block_difficulty": str(1 << 40),
    }
    pool = development.daemon("pool", **easy)
    backup = pool_beside(development, elsewhere, **easy)
    proxy = development.daemon(
        "proxy", failback_s="0.5", shared__upstreams=f"[{as_upstream(backup, BACKUP)}]"
    )
    native = Server.of(proxy, "listen_address", development.keys.proxy, "downstream")
    rental = site.address("translator", "rental")
    translator = development.daemon(
        "translator",
        start_difficulty="6e-8",
        ports=f'[{{listen_address = "{rental}", firmware = "rental"}}]',
    )
    small = {key: site.address("frugal", key) for key in ("listen_address", "health_address")}
    development.daemon("translator", "frugal", start_difficulty="6e-8", extranonce2_size="4", **small)
    await development.start()
    url = f"http://{node.settings['rpc_address']}"
    async with NodeClient(url, CookieFile(node.state / ".cookie")) as client:
        rental_port, frugal_port = (
            int(address.rpartition(":")[2]) for address in (rental, small["listen_address"])
        )
        yield Chain(translator, proxy, pool, backup, native, client, rental_port, frugal_port)


@pytest_asyncio.fixture(loop_scope="module")
async def chain(system: Chain) -> AsyncIterator[Chain]:
    """After each test no miner had anything to object to."""
    yield system
    faults = {miner.profile.name: miner.faults for miner in system.miners if miner.faults}
    faults |= {kind: miner.faults for kind, miner in system.natives.items() if miner.faults}
    await asyncio.gather(*(miner.close() for miner in system.miners))
    await asyncio.gather(*(miner.close() for miner in system.natives.values()))
    system.miners.clear()
    system.natives.clear()
    assert faults == {}


@pytest.fixture(params=PROFILES, ids=lambda profile: profile.name)
def profile(request: pytest.FixtureRequest) -> Profile:
    chosen: Profile = request.param
    return chosen


async def test_its_shares_are_accepted_through_a_change_of_difficulty_and_a_new_block(
    chain: Chain, profile: Profile
) -> None:
    await scenes.mines_through_a_change_and_a_block(chain, profile, SHARES)


async def test_it_mines_with_an_extranonce2_of_four_as_well(chain: Chain, profile: Profile) -> None:
    miner = await chain.miner(profile, chain.frugal_port)
    assert miner.extranonce2_size == 4
    await miner.dig(5, at_once=True)


async def test_it_is_told_the_truth_about_a_bad_share(chain: Chain, profile: Profile) -> None:
    await scenes.hears_the_truth_about_bad_shares(chain, profile)


async def test_the_failback_probe_of_a_bitaxe_finds_what_it_looks_for(chain: Chain) -> None:
    await scenes.is_found_by_a_probe(chain)


async def test_a_prober_of_rented_hash_rate_finds_its_port_fit_at_once(chain: Chain) -> None:
    """It hangs up unless difficulty and work come within two seconds; its suggestion is low."""
    async with asyncio.timeout(PROBER_S):
        prober = await chain.miner(PROBER, chain.rental_port)
    assert prober.extranonce2_size >= 7
    assert prober.told
    await prober.dig(2)


async def test_a_miner_that_comes_and_goes_finds_its_difficulty_again(chain: Chain) -> None:
    flapper = await chain.miner(FLAPPER)
    started = flapper.jobs[-1].difficulty
    async with asyncio.timeout(CHANGE_S):
        while flapper.jobs[-1].difficulty == started:
            await flapper.dig(10, at_once=True)
    for _ in range(3):
        there = await chain.connections()
        await flapper.close()
        # Who comes back before the translator knows that it has gone is somebody else.
        async with asyncio.timeout(CHANGE_S):
            while await chain.connections() == there:
                await asyncio.sleep(0.01)
        flapper = await chain.miner(FLAPPER)
        assert flapper.told[0] > started
        await flapper.dig(2)


@pytest.mark.parametrize("name", ["cgminer", "antminer-s19", "whatsminer", "avalon"])
async def test_a_miner_that_names_its_session_goes_on_where_it_was(chain: Chain, name: str) -> None:
    await scenes.goes_on_with_its_session(chain, next(each for each in PROFILES if each.name == name))


@pytest.mark.parametrize("head", STRAYS.values(), ids=STRAYS.keys())
async def test_a_stray_peer_is_no_error(chain: Chain, head: bytes) -> None:
    await scenes.is_not_bothered_by_a_stray(chain, head)


async def _pool_restarted(chain: Chain) -> None:
    chain.pool.kill()
    await chain.pool.started()


async def _proxy_restarted(chain: Chain) -> None:
    chain.proxy.kill()
    await chain.proxy.started()


async def _failed_over(chain: Chain) -> None:
    await chain.backup.started()
    chain.pool.kill()
    await chain.mines_at(BACKUP)


async def _failed_back(chain: Chain) -> None:
    if not chain.backup.is_running:
        await _failed_over(chain)
    await chain.pool.started()
    await chain.mines_at(chain.pool.settings["listen_address"])
    chain.backup.kill()


LOSSES: Final[dict[str, Callable[[Chain], Awaitable[None]]]] = {
    "pool-restarted": _pool_restarted,
    "proxy-restarted": _proxy_restarted,
    "failed-over": _failed_over,
    "failed-back": _failed_back,
}
"""What may happen upstream; the last leaves things as they were."""


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())
async def test_all_of_them_mine_on_with_their_sockets_when_upstream_was_gone(
    chain: Chain, loss: Callable[[Chain], Awaitable[None]]
) -> None:
    miners = [await chain.miner(profile) for profile in PROFILES]
    # A native miner's connection is the proxy's own.
    natives = [] if loss is _proxy_restarted else [await chain.bitaxe(kind) for kind in KINDS]
    for miner in miners:
        await miner.dig(2)
    for native in natives:
        await native.dig(2, at_once=2)
    kept = [(miner.extranonce1, miner.extranonce2_size) for miner in miners]
    jobs = [miner.jobs[-1] for miner in miners]
    work = [native.channel.active for native in natives]
    await loss(chain)
    for miner, job in zip(miners, jobs, strict=True):
        await miner.mines_on(job)
        await miner.dig(2)
    for native, job in zip(natives, work, strict=True):
        await native.mines_on(job)
        await native.dig(2, at_once=2)
    assert not any(miner.is_gone for miner in miners)
    assert not any(native.is_gone for native in natives)
    assert [(miner.extranonce1, miner.extranonce2_size) for miner in miners] == kept
