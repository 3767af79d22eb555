"""Two real pools, one proxy with its translator, and SV1 miners that must notice nothing but pauses.

The pools are killed and started at random, by a seed; every share is accounted for, at the miners, at the
edge and in the pools' ledgers.
"""

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import pytest_asyncio

from roles.cli.keys import public_halves
from roles.cli.stores import PoolStore
from roles.runtime.storage import open_readonly
from tests.functional import nursery
from tests.functional.development import Development
from tests.functional.processes import PATIENCE_S, Daemon, Site
from tests.functional.processes import launch as processes_launch
from tests.roles.translator.fake_miners import FakeMiner

pytest.importorskip("pbk", reason="needs py-bitcoinkernel, the node extra")

LONG = os.environ.get("HASHPOOL_TEST_LONG") == "1"
RESTARTS = 20 if LONG else 3
FAILOVERS = 10 if LONG else 2
SEED = int(os.environ.get("HASHPOOL_TEST_SEED", "20261122"))
MINERS = 3
RESUMED_S = 3.0
HOLD_S = 2.0
NO_VERDICT = 20

pytestmark = [
    pytest.mark.functional,
    pytest.mark.timeout(1_200 if LONG else 240),
    pytest.mark.asyncio(loop_scope="module"),
]


class Restless(FakeMiner):
    """Mines on and on, and begins its extranonce anew with each clean job, as Bitaxe does."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: Counter[str] = Counter()
        self.sent = 0

    def _take(self, raw: bytes) -> None:
        super()._take(raw)
        line = self.lines.pop()
        if line.get("method") == "mining.notify" and line["params"][-1]:
            self.counter = 0

    async def submit(self, params: list[Any]) -> dict[str, Any]:
        self.sent += 1
        answer = await super().submit(params)
        self.replies.clear()
        self.raw.clear()
        if answer["result"] is True:
            self.answers["accepted"] += 1
        else:
            code = answer["error"][0]
            self.answers["unknown" if code == NO_VERDICT else f"rejected {code}"] += 1
        return answer

    async def mine_on(self, stop: asyncio.Event) -> None:
        """Mine until it is told to stop."""
        while not stop.is_set():
            await self.mine()
            await asyncio.sleep(0.02)


class TwoPools:
    """The development system with a second pool, which has a state directory of its own."""

    def __init__(self, root: Path) -> None:
        def launch(role: str, *rest: Any) -> Any:
            return (nursery.launch if role in nursery.ROLES else processes_launch)(role, *rest)

        self.sites = (Site(root / "first", launch), Site(root / "second", launch))
        here, there = self.sites
        issuer = bytes.fromhex(public_halves(there.state).issuer)
        development = Development(here, issuers=(issuer,))
        elsewhere = Development(there)
        node = development.daemon("regtest_node")
        provider = development.daemon("template_provider")
        mint = development.daemon("mint")
        easy = {"vardiff__floor_hashes": "256", "vardiff__shares_per_minute": "6000"}
        self.first = development.daemon("pool", **easy)
        self.second = elsewhere.daemon(
            "pool",
            server_id="2",
            shared__bitcoin__rpc_url=f"http://{node.settings['rpc_address']}",
            shared__bitcoin__rpc_cookie_file=str(node.state / ".cookie"),
            shared__mint__url=f"http://{mint.settings['http_address']}",
            shared__mint__issuance_address=mint.settings["issuance_address"],
            shared__mint__authority_key=development.keys.mint,
            shared__template_provider__address=provider.settings["listen_address"],
            shared__template_provider__authority_key=development.keys.template_provider,
            **easy,
        )
        where, key = self.second.settings["listen_address"], elsewhere.keys.pool
        self.proxy = development.daemon(
            "proxy",
            failback_s="0.5",
            wallet__recovery_s="1",
            shared__upstreams=f'[{{address = "{where}", authority_key = "{key}", name = "second"}}]',
        )
        self.translator = development.daemon("translator", start_difficulty="0.0000003")
        self.development = development

    def pools(self) -> tuple[Daemon, Daemon]:
        return self.first, self.second

    def rows(self) -> list[bytes]:
        """The hashes of all shares in both ledgers."""
        found: list[bytes] = []
        for pool in self.pools():
            with open_readonly(pool.state / PoolStore.FILE) as store:
                found += [row["share_hash"] for row in store.execute("SELECT share_hash FROM audit_share")]
        return found

    async def count(self, daemon: Daemon, name: str, *labels: str) -> float:
        """The sum of a metric's samples that have all of these labels."""
        _, text = await daemon.health("/metrics")
        lines = [line for line in text.splitlines() if line.startswith((f"{name} ", f"{name}{{"))]
        return sum(float(line.rpartition(" ")[2]) for line in lines if all(each in line for each in labels))


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def two(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TwoPools]:
    made = TwoPools(tmp_path_factory.mktemp("failover"))
    with made.sites[0], made.sites[1]:
        try:
            await made.development.start()
            yield made
        except BaseException:
            for site in made.sites:
                for title, text in site.log_tails():
                    print(title, text, sep="\n")
            raise


async def accepts(miners: list[Restless], since: float) -> float:
    """Wait until every miner has had another share accepted; returns how long after `since`."""
    before = [miner.answers["accepted"] for miner in miners]
    async with asyncio.timeout(PATIENCE_S):
        while any(miner.answers["accepted"] <= count for miner, count in zip(miners, before, strict=True)):
            assert not any(miner.is_gone for miner in miners), "a miner's socket was closed"
            await asyncio.sleep(0.01)
    return time.monotonic() - since


async def is_mined_at(two: TwoPools, upstream: str) -> None:
    """Wait until the proxy mines at a pool."""
    async for _ in two.proxy.polls(f"to mine at {upstream}"):
        if await two.count(two.proxy, "hashpool_upstreams_state", f'"{upstream}"', '"active"') == 1:
            return


async def restart_at_random(two: TwoPools, miners: list[Restless], chance: Random) -> None:
    """The only pool that there is is killed while shares are on their way, and comes back."""
    for _ in range(RESTARTS):
        await asyncio.sleep(chance.uniform(0, 0.5))
        two.first.kill()
        await asyncio.sleep(chance.uniform(0, 1))
        await two.first.started()
        took = await accepts(miners, time.monotonic())
        print(f"mining was resumed {took:.2f} s after the pool's return")
        assert took <= RESUMED_S


async def fail_over_at_random(two: TwoPools, miners: list[Restless], chance: Random) -> None:
    """The better pool is killed and comes back, while the other one is there all the time."""
    first = two.first.settings["listen_address"]
    for _ in range(FAILOVERS):
        await asyncio.sleep(chance.uniform(0, 0.5))
        began = time.monotonic()
        two.first.kill()
        await is_mined_at(two, "second")
        took = await accepts(miners, began)
        print(f"mining was resumed {took:.2f} s after the pool's end")
        assert took <= RESUMED_S
        await two.first.started()
        await is_mined_at(two, first)
        await accepts(miners, time.monotonic())


async def test_pools_that_come_and_go_cost_no_socket_and_no_share_goes_twice(two: TwoPools) -> None:
    print(f"seed {SEED}: {RESTARTS} restarts, {FAILOVERS} times to the other pool and back")
    chance, stop = Random(SEED), asyncio.Event()
    port = int(two.translator.settings["listen_address"].rpartition(":")[2])
    miners = []
    for number in range(MINERS):
        miner = Restless()
        miner.user = f"alice.{number}"
        await (await miner.connect(port)).start()
        miners.append(miner)
    mining = [asyncio.create_task(miner.mine_on(stop)) for miner in miners]
    await accepts(miners, time.monotonic())
    await restart_at_random(two, miners, chance)
    await two.second.started()
    await fail_over_at_random(two, miners, chance)
    stop.set()
    await asyncio.gather(*mining)
    assert not any(miner.is_gone for miner in miners)

    told: Counter[str] = sum((miner.answers for miner in miners), Counter())
    sent = sum(miner.sent for miner in miners)
    print(f"{sent} shares: {dict(told)}")
    assert told.total() == sent
    assert not told["rejected 22"], "a share was taken for a repetition"
    rows = two.rows()
    assert len(rows) == len(set(rows))
    shares = "hashpool_proxy_shares_total"
    accepted = await two.count(two.proxy, shares, '"accepted"')
    unknown = await two.count(two.proxy, shares, '"unknown"')
    refused = await two.count(two.proxy, "hashpool_proxy_shares_rejected_total", "duplicate-share")
    local = await two.count(two.translator, "hashpool_translator_shares_total", '"local"')
    assert refused == 0
    assert accepted + local == told["accepted"]
    assert accepted <= len(rows) <= accepted + unknown
    # What nobody could say of a share when a pool was lost, the mint says of its token.
    async for _ in two.proxy.polls("to have a token for every share"):
        if await two.count(two.proxy, "hashpool_wallet_quotes_minted_total") == len(rows):
            break
    for miner in miners:
        await miner.close()


async def test_after_the_hold_without_any_pool_miners_are_released_and_come_back_with_the_pool(
    two: TwoPools,
) -> None:
    two.proxy.settings["shared.hold_s"] = str(HOLD_S)
    assert await two.proxy.stop() == 0
    await two.proxy.started()
    await two.translator.ready()
    port = int(two.translator.settings["listen_address"].rpartition(":")[2])
    miner = Restless()
    await (await miner.connect(port)).start()
    while not miner.answers["accepted"]:
        await miner.mine()
    for pool in two.pools():
        pool.kill()
    began = time.monotonic()
    await miner.until(lambda: miner.is_gone)
    assert time.monotonic() - began >= HOLD_S - 0.1
    refused = Restless()
    await refused.connect(port)
    refused.listen()
    await refused.until(lambda: refused.is_gone)
    await two.second.started()
    await two.translator.ready()
    again = Restless()
    await (await again.connect(port)).start()
    while not again.answers["accepted"]:
        await again.mine()
    for each in (miner, refused, again):
        await each.close()
