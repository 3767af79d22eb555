"""The miner-side instance as it is put together, at a fake pool on a real socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

from roles.runtime.daemon import Daemon
from roles.sv1_proxy.miner_side import service
from shared_config.address import Address
from shared_config.miner_side import MinerSide, MintUrlSettings
from shared_config.sv1_listener import LineLimits
from shared_config.sv1_proxy_miner import Sv1ProxyMinerSettings
from shared_config.sv1_upstream import Sv1PoolSettings
from tests.openapi import check_all
from tests.reload_page import told_of
from tests.roles.stratum.fake_pool import FakePool, fake_pool
from tests.roles.translator.conftest import free_port
from tests.roles.translator.fake_miners import FakeMiner

__all__ = ["free_port"]

HomeDaemon = Daemon[Sv1ProxyMinerSettings, MinerSide]


def daemon(state: Path, pool: FakePool, listen: int, *, user: str, **settings: Any) -> HomeDaemon:
    config = Sv1ProxyMinerSettings(
        instance="miner",
        listen_address=Address("127.0.0.1", listen),
        health_address=Address("127.0.0.1", 0),
        start_difficulty=0.0000002,
        pools=(Sv1PoolSettings(address=pool.address, name="fake", user=user or None),),
        shown_shares_per_minute=0.0,
        **settings,
    )
    return Daemon("sv1_proxy-miner", config, MinerSide(mint=MintUrlSettings(url="http://127.0.0.1:1")), state)


@asynccontextmanager
async def running(pool: FakePool, home: HomeDaemon) -> AsyncIterator[HomeDaemon]:
    serving = asyncio.create_task(service(home))
    async with asyncio.timeout(30):
        while not pool.peers or set(home.readiness.reasons) - {"mint"}:
            assert not serving.done(), serving
            await asyncio.sleep(0.005)
    yield home
    home.stopping.set()
    async with asyncio.timeout(30):
        await serving


async def test_the_daemon_serves_miners_tells_of_them_and_stops(tmp_path: Path, free_port: int) -> None:
    async with fake_pool(difficulty=Fraction(1, 1 << 22)) as pool:
        async with running(pool, daemon(tmp_path, pool, free_port, user="us.{worker}")) as home:
            # Nobody needs the mint where no pool gives ehash.
            assert home.readiness.ready
            miner = await FakeMiner().connect(free_port)
            await miner.start()
            assert (await miner.mine())["result"] is True
            assert pool.last.names == {"us.miner": "x", "us.alice.rig": "x"}
            assert [(share.user, share.fault) for share in pool.shares] == [("us.alice.rig", "")]

            async def ask(path: str) -> tuple[int, str]:
                path, _, query = path.partition("?")
                answer = await home.api.answer(path, query)
                assert answer is not None, path
                return answer[0].value, answer[1].decode()

            told = await check_all(ask)
            assert told["/api/v1/summary"]["upstream"] == "fake"
            assert told["/api/v1/upstream"]["knows_ehash"] is False
            (trunk,) = told["/api/v1/trunks"]["trunks"]
            assert trunk == {
                "connected": True, "miners": 1, "extranonce2_bytes": 8, "slice_bytes": 4, "rolled_bytes": 4,
            }  # fmt: skip
            (shown,) = told["/api/v1/miners"]["miners"]
            assert (shown["worker"], shown["worker_ehash"]) == ("alice.rig", 0)
            count = home.metrics.get_sample_value
            assert count("hashpool_sv1_proxy_shares_total", {"result": "accepted"}) == 1
            assert count("hashpool_sv1_proxy_without_tokens") == 1
            # No certificate is named here.
            assert home.reloads.keys | {"tls.certificate", "tls.key"} == told_of("sv1_proxy_miner")
        await miner.until(lambda: miner.is_gone)
        await miner.close()


async def test_at_a_pool_that_gives_ehash_every_name_has_its_key_and_the_mint_is_needed(
    tmp_path: Path, free_port: int
) -> None:
    async with fake_pool(difficulty=Fraction(1, 1 << 22)) as pool:
        async with running(pool, daemon(tmp_path, pool, free_port, user="")) as home:
            assert set(home.readiness.reasons) == {"mint"}
            miner = await FakeMiner().connect(free_port)
            await miner.start()
            assert (await miner.mine())["result"] is True
            names = pool.last.names
            assert set(names) == {"miner", "alice.rig"}
            assert len(set(names.values())) == 2
            assert all(password.startswith("k=B") for password in names.values())
        await miner.close()
    # The seed is kept, and with it the keys.
    async with fake_pool(difficulty=Fraction(1, 1 << 22)) as pool:
        home = daemon(tmp_path, pool, free_port, user="")
        async with running(pool, home):
            assert pool.last.names == {"miner": names["miner"]}


async def test_limits_are_taken_over_while_it_runs(tmp_path: Path, free_port: int) -> None:
    async with fake_pool(difficulty=Fraction(1, 1 << 22)) as pool:
        async with running(pool, daemon(tmp_path, pool, free_port, user="us")) as home:
            first = await FakeMiner().connect(free_port)
            await first.start()
            limits = LineLimits(connections=1)
            home.take(home.config.model_copy(update={"limits": limits, "news_s": 9.0}), home.shared)
            second = await FakeMiner().connect(free_port)
            second.listen()
            await second.until(lambda: second.is_gone)
            assert (await first.mine())["result"] is True
            await second.close()
        await first.close()
