"""The proxy's aggregated mode among real daemons: SV1 miners and an SV2 one behind one channel of a pool.

Each worker earns tokens of its own, whatever pool is mined at, and every share is accounted for.
"""

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from protocols.sv2.setup import REQUIRES_STANDARD_JOBS
from roles.cli.auditing.sides import audit
from tests.functional.sv2_peer import Server, goes_on
from tests.functional.system import run_cli
from tests.functional.two_pools import Restless, TwoPools, accepts, is_mined_at

pytest.importorskip("pbk", reason="needs py-bitcoinkernel, the node extra")

RESUMED_S = 3.0 if os.environ.get("HASHPOOL_TEST_LONG") else 20.0
"""The former is what is promised; a machine that has other things to do may need more."""
SHARES = "hashpool_proxy_shares_total"

pytestmark = [
    pytest.mark.functional,
    pytest.mark.timeout(240),
    pytest.mark.asyncio(loop_scope="module"),
]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def two(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TwoPools]:
    made = TwoPools(
        tmp_path_factory.mktemp("aggregate"),
        mode="aggregated",
        aggregate__floor_hashes="256",
        aggregate__shares_per_minute="6000",
    )
    with made.sites[0], made.sites[1]:
        try:
            await made.development.start()
            yield made
        except BaseException:
            for site in made.sites:
                for title, text in site.log_tails():
                    print(title, text, sep="\n")
            raise


def earned(two: TwoPools) -> dict[str, tuple[int, int]]:
    """Shares with a quote, and ehash, of each worker."""
    done = run_cli("wallet", "list", "--json", "--state", str(two.sites[0].state))
    assert done.returncode == 0, done.stderr
    workers = json.loads(done.stdout)["workers"]
    return {worker["name"]: (worker["shares"], worker["minted"]) for worker in workers}


async def all_minted(two: TwoPools) -> None:
    """Wait until the wallet has a token for every share in a ledger."""
    async for _ in two.proxy.polls("to have a token for every share"):
        if await two.count(two.proxy, "hashpool_wallet_quotes_minted_total") == len(two.rows()):
            return


async def test_workers_behind_one_channel_earn_tokens_each_and_go_on_at_the_next_pool(
    two: TwoPools,
) -> None:
    port = int(two.translator.settings["listen_address"].rpartition(":")[2])
    stop, miners = asyncio.Event(), [Restless() for _ in range(2)]
    for number, miner in enumerate(miners):
        miner.user = f"rig.{number}"
        await (await miner.connect(port)).start()
    proxy = Server.of(two.proxy, "listen_address", two.development.keys.proxy, "downstream")
    bitaxe = await proxy.miner(flags=REQUIRES_STANDARD_JOBS)
    channel = await bitaxe.open(standard=True, user="bitaxe")
    mining = [asyncio.create_task(miner.mine_on(stop)) for miner in miners]
    await accepts(miners, time.monotonic())
    await goes_on(channel)
    assert await two.count(two.proxy, "hashpool_upstream_channels") == 1
    assert await two.count(two.first, "hashpool_pool_channels") == 1

    first = two.first.settings["listen_address"]
    await two.second.started()
    began = time.monotonic()
    two.first.kill()
    await is_mined_at(two, "second")
    assert await accepts(miners, began) <= RESUMED_S
    await channel.work()
    await goes_on(channel)
    await two.first.started()
    await is_mined_at(two, first)
    await accepts(miners, time.monotonic())
    stop.set()
    await asyncio.gather(*mining)
    assert not any(miner.is_gone for miner in miners)

    told: Counter[str] = sum((miner.answers for miner in miners), Counter())
    print(f"{sum(miner.sent for miner in miners)} shares: {dict(told)}")
    assert not told["rejected 22"], "a share was taken for a repetition"
    rows = two.rows()
    assert len(rows) == len(set(rows))
    accepted = await two.count(two.proxy, SHARES, '"accepted"')
    unknown = await two.count(two.proxy, SHARES, '"unknown"')
    assert accepted <= len(rows) <= accepted + unknown
    await all_minted(two)
    workers = earned(two)
    assert set(workers) == {"miner", "rig.0", "rig.1", "bitaxe"}
    assert workers["miner"] == (0, 0)
    assert sum(shares for shares, _ in workers.values()) == len(rows)
    assert all(shares and minted for name, (shares, minted) in workers.items() if name != "miner")
    for miner in miners:
        await miner.close()
    bitaxe.link.close()


async def test_the_channel_goes_with_the_last_miner_and_the_audit_is_ok(two: TwoPools) -> None:
    assert await two.translator.stop() == 0
    async for _ in two.first.polls("to have no channel"):
        if await two.count(two.first, "hashpool_pool_channels") == 0:
            break
    await all_minted(two)
    for daemon in (two.proxy, two.first):
        assert await daemon.stop() == 0
    findings = audit(two.sites[0].state, ("pool", "wallet"), required=True)
    assert findings.ok, findings.detail()
