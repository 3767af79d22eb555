"""The pool-side instance as it is put together, at a fake pool on a real socket."""

import asyncio
from fractions import Fraction
from pathlib import Path

from protocols.bitcoin.networks import Network
from protocols.bitcoin.secp256k1 import public_key
from protocols.ehash.key_text import encode_key
from roles.runtime.daemon import Daemon
from roles.runtime.storage import open_readonly
from roles.sv1_proxy.pool_side import service
from shared_config.address import Address
from shared_config.pool import VardiffSettings
from shared_config.pool_side import (
    BitcoinSettings,
    EhashSettings,
    MintPeerSettings,
    PoolSide,
    RegtestSettings,
    TemplateProviderPeerSettings,
)
from shared_config.sv1_proxy_pool import Sv1ProxyPoolSettings
from shared_config.sv1_upstream import Sv1PoolSettings
from tests.openapi import check_all
from tests.reload_page import told_of
from tests.roles.stratum.fake_pool import FakePool, fake_pool
from tests.roles.translator.conftest import free_port
from tests.roles.translator.fake_miners import FakeMiner

__all__ = ["free_port"]

KEY = public_key(bytes(31) + b"\x02")
NOWHERE = Address("127.0.0.1", 1)
SHARED = PoolSide(
    network=Network.REGTEST,
    bitcoin=BitcoinSettings(rpc_url="http://127.0.0.1:1", rpc_cookie_file=Path("none")),
    ehash=EhashSettings(minimum_difficulty=0),
    regtest=RegtestSettings(block_difficulty=1 << 40),
    mint=MintPeerSettings(url="http://127.0.0.1:1", issuance_address=NOWHERE),
    template_provider=TemplateProviderPeerSettings(address=NOWHERE),
)


def daemon(state: Path, pool: FakePool, listen: int) -> Daemon[Sv1ProxyPoolSettings, PoolSide]:
    config = Sv1ProxyPoolSettings(
        instance="pool",
        listen_address=Address("127.0.0.1", listen),
        health_address=Address("127.0.0.1", 0),
        start_difficulty=0.0000002,
        vardiff=VardiffSettings(floor_hashes=64),
        pools=(Sv1PoolSettings(address=pool.address, name="fake", user="us"),),
    )
    return Daemon("sv1_proxy-pool", config, SHARED, state)


async def test_the_daemon_credits_shares_tells_of_its_miners_takes_settings_over_and_stops(
    tmp_path: Path, free_port: int
) -> None:
    async with fake_pool(difficulty=Fraction(1, 1 << 28)) as pool:
        made = daemon(tmp_path, pool, free_port)
        serving = asyncio.create_task(service(made))
        async with asyncio.timeout(30):
            while not pool.peers or made.readiness.reasons:
                assert not serving.done(), serving
                await asyncio.sleep(0.005)
        miner = FakeMiner()
        miner.password = f"k={encode_key(KEY)}"
        await miner.connect(free_port)
        await miner.start()
        assert (await miner.mine())["result"] is True
        # All shares are for our account, whatever miners call themselves.
        assert pool.last.names == {"us": "x"}
        assert [(share.user, share.fault) for share in pool.shares] == [("us", "")]
        with open_readonly(tmp_path / "ledger.sqlite") as store:
            (row,) = store.execute("SELECT * FROM audit_share").fetchall()
            assert row["key"] == KEY
            assert store.execute("SELECT pool, account FROM upstream_job").fetchall()[0][:] == ("fake", "us")

        async def ask(path: str) -> tuple[int, str]:
            path, _, query = path.partition("?")
            answer = await made.api.answer(path, query)
            assert answer is not None, path
            return answer[0].value, answer[1].decode()

        told = await check_all(ask)
        assert told["/api/v1/upstream"]["knows_ehash"] is True
        (shown,) = told["/api/v1/miners"]["miners"]
        assert (shown["worker"], shown["ehash"]) == ("alice.rig", row["amount"])
        # No certificate is named here.
        assert made.reloads.keys | {"tls.certificate", "tls.key"} == told_of("sv1_proxy_pool")
        made.take(made.config.model_copy(update={"credit": "upstream-verdict"}), SHARED)
        pool.verdict = lambda peer, share: peer.answer(share.id, None, [21, "Stale", None])
        assert (await miner.mine())["error"][1] == "Stale"
        made.stopping.set()
        async with asyncio.timeout(30):
            await serving
        await miner.until(lambda: miner.is_gone)
        await miner.close()
