"""The miner-side instance of sv1_proxy at a plain pool, which is a solo pool on a real node."""

import json
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from roles.node_client.client import NodeClient
from roles.node_client.credentials import CookieFile
from tests.functional.development import REWARD, Development
from tests.functional.miner_profiles import PROFILES
from tests.functional.processes import Daemon, Site
from tests.functional.scripted_miner import ScriptedMiner

pytest.importorskip("pbk", reason="needs py-bitcoinkernel, the node extra")
pytestmark = pytest.mark.functional

EASY: Final = {
    "start_difficulty": "6e-8",
    "shares_per_minute": "300",
    "shared__regtest__block_difficulty": "4096",
}


class Home:
    """A node, solo pools, and a miner-side instance that mines there under an account."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.development = Development(site)
        self.node = self.development.daemon("regtest_node")
        self.pool = self.development.daemon("solo_pool", **EASY)
        address = self.pool.settings["listen_address"]
        self.home = self.development.daemon(
            "sv1_proxy_miner",
            start_difficulty="6e-8",
            pools=f'[{{address = "{address}", name = "solo", user = "{REWARD}.{{worker}}"}}]',
        )
        self.home.settings.pop("pools.0.address", None)
        self.rpc = NodeClient(
            f"http://{self.node.settings['rpc_address']}", CookieFile(self.node.state / ".cookie")
        )
        self.miners: list[ScriptedMiner] = []

    async def miner(self, name: str = "cgminer", user: str = "") -> ScriptedMiner:
        miner = ScriptedMiner(next(each for each in PROFILES if each.name == name))
        miner.user = user or miner.user
        await miner.connect(int(self.home.settings["listen_address"].rpartition(":")[2]))
        self.miners.append(miner)
        await miner.start()
        return miner

    async def read(self, path: str, daemon: Daemon | None = None) -> dict[str, Any]:
        status, body = await (daemon or self.home).health(f"/api/v1/{path}")
        assert status == 200, body
        read: dict[str, Any] = json.loads(body)
        return read


@pytest.fixture
async def home(site: Site) -> AsyncIterator[Home]:
    made = Home(site)
    async with made.rpc:
        await made.development.start()
        yield made
        for miner in made.miners:
            await miner.close()
            assert not miner.faults, (miner.profile.name, miner.faults)


async def test_it_mines_at_a_pool_without_ehash_and_says_so(home: Home) -> None:
    miner = await home.miner(user="rig1")
    assert miner.extranonce2_size == 4
    height = (await home.rpc.chain_info()).blocks
    while (await home.rpc.chain_info()).blocks == height:
        await miner.dig(1, at_once=True)
    _, ready = await home.home.health("/ready")
    assert "gives no ehash" in ready
    told = await home.read("upstream")
    assert (told["upstream"], told["knows_ehash"]) == ("solo", False)
    (trunk,) = (await home.read("trunks"))["trunks"]
    assert (trunk["extranonce2_bytes"], trunk["slice_bytes"], trunk["rolled_bytes"]) == (8, 4, 4)
    (shown,) = (await home.read("miners", home.pool))["miners"]
    assert shown["worker"] == f"{REWARD}.miner"
