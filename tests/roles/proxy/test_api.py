"""What the proxy tells of its miners, whom it turns away, and what it takes over while it runs."""

import asyncio
import json
from functools import partial
from typing import Any

import pytest

from protocols.bitcoin.secp256k1 import public_key
from protocols.bitcoin.target import work as work_of
from protocols.ehash.messages import QuoteNotice
from protocols.sv2.mining import (
    CloseChannel,
    OpenMiningChannelError,
    SubmitSharesError,
    SubmitSharesSuccess,
)
from roles.proxy.verdicts import Verdicts
from roles.runtime.errors import ConnectFailed
from shared_config.ban import BanSettings
from shared_config.proxy import AggregateSettings, EdgeLimits
from tests.openapi import check_all
from tests.reload_page import told_of
from tests.roles.proxy.conftest import House, Start, until
from tests.roles.proxy.scripted_miner import ScriptedMiner
from tests.roles.proxy.scripted_pool import EASY, ScriptedPool
from tests.roles.wallet.fake_mint import UNIT

KEY = public_key(b"\x05" * 32)
SLOW = AggregateSettings(floor_hashes=4, shares_per_minute=0.1)


async def read(house: House, path: str) -> tuple[int, str]:
    path, _, query = path.partition("?")
    answer = await house.daemon.api.answer(path, query)
    assert answer is not None
    return answer[0].value, answer[1].decode()


async def miners(house: House) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = json.loads((await read(house, "/api/v1/miners"))[1])["miners"]
    return shown


async def mine(miner: ScriptedMiner, shares: int = 1) -> None:
    job, tip = await miner.first_work()
    for number in range(shares):
        miner.send(miner.mine(job, tip, extranonce=number + 1))
        await miner.expect(SubmitSharesSuccess)


async def test_a_miners_figures_are_the_pools_word_on_its_shares(start: Start, pool: ScriptedPool) -> None:
    house = await start(peer_addresses="subnet")
    alice, bob = await house.miner(), await house.miner()
    await alice.open_extended("alice\x1b<b>.rig")
    job, tip = await alice.first_work()
    for number in range(3):
        alice.send(alice.mine(job, tip, extranonce=number))
        await alice.expect(SubmitSharesSuccess)
    alice.send(alice.mine(job, tip, target=EASY * 15, above=EASY))
    await alice.expect(SubmitSharesError)
    pool.next_tip(pool.channel)
    await alice.first_work()
    alice.send(alice.mine(job, tip, extranonce=9))
    await alice.expect(SubmitSharesError)
    pool.send(QuoteNotice(pool.channel.channel_id, pool.channel.accepted[0].share_hash, 16, "x"))
    await bob.open_extended("bob")
    await until(lambda: house.metric("proxy_notices_total", key="wallet") == 1)
    answers = await check_all(lambda path: read(house, path))
    shown, other = answers["/api/v1/miners"]["miners"]
    assert (shown["worker"], shown["address"]) == ("alice\x1b<b>.rig", "127.0.0.0/24")
    assert shown["shares"]["accepted"] == 3
    assert shown["shares"]["rejected_by_reason"] == {"difficulty-too-low": 1, "stale-share": 1}
    assert (shown["shares"]["stale"], shown["ehash"], other["ehash"]) == (1, 16, 0)
    hashes = work_of(EASY)
    assert shown["difficulty"] == pytest.approx(hashes * 65_535 / 2**48)
    rate = shown["hash_rate"]["5m"]
    assert rate["hashes_per_s"] * rate["seconds"] == pytest.approx(3 * hashes, rel=1e-3)
    assert answers["/api/v1/summary"]["shares"] == shown["shares"]
    assert answers["/api/v1/summary"]["miners"] == 2
    assert house.metric("proxy_best_share") == answers["/api/v1/summary"]["best_share"]
    assert house.metric("proxy_hashrate") > 0
    assert answers["/api/v1/upstream"]["verdicts"]["count"] == 3
    assert answers["/api/v1/upstream"]["knows_ehash"] is True


async def test_shares_that_the_edge_accepts_itself_count_for_the_hash_rate(start: Start) -> None:
    house = await start(mode="aggregated", aggregate=SLOW)
    miner = await house.miner()
    await miner.open_extended("alice")
    await mine(miner, 20)
    [shown] = await miners(house)
    shares = shown["shares"]
    assert shares["accepted"] + shares["local"] == 20
    assert shown["hash_rate"]["1m"]["shares"] == 20


async def test_figures_survive_a_reconnect_of_the_same_worker(start: Start) -> None:
    house = await start()
    first = await house.miner()
    await first.open_extended("alice")
    await mine(first)
    [before] = await miners(house)
    first.connection.close()
    await until(lambda: not house.metric("proxy_channels", kind="extended"))
    second = await house.miner()
    await second.open_extended("alice")
    await mine(second)
    [after] = await miners(house)
    assert after["id"] == before["id"]
    assert after["shares"]["accepted"] == 2


async def test_who_is_banned_is_refused_and_who_comes_to_be_is_released(start: Start) -> None:
    house = await start(ban=BanSettings(names=("mallory",)))
    mallory, carol = await house.miner(), await house.miner()
    mallory.send(mallory.request("mallory.rig"))
    assert (await mallory.expect(OpenMiningChannelError)).error_code == "banned-by-operator"
    await mallory.open_extended("alice")
    await carol.open_extended("carol")
    await carol.first_work()
    config = house.daemon.config.model_copy(update={"ban": BanSettings(names=("carol",))})
    house.daemon.take(config, house.daemon.shared)
    assert (await carol.expect(CloseChannel)).reason_code == "banned-by-operator"
    await mine(mallory)
    assert house.metric("proxy_opens_refused_total", reason="banned-by-operator") == 1
    assert house.metric("banned_total", by="name") == 2
    config = config.model_copy(update={"ban": BanSettings(hosts=("127.0.0.1",))})
    house.daemon.take(config, house.daemon.shared)
    await until(lambda: house.metric("downstream_connections_ended_total", reason="banned") == 1)


async def test_an_answer_that_comes_as_its_miner_is_banned_is_told_before_the_channel_is_closed(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = await start()
    miner = await house.miner()
    await miner.open_standard("carol")
    job, tip = await miner.first_work()
    config = house.daemon.config.model_copy(update={"ban": BanSettings(names=("carol",))})

    def ban(*_: object) -> None:
        house.daemon.take(config, house.daemon.shared)

    monkeypatch.setattr(Verdicts, "count_accepted", ban)
    miner.send(miner.mine(job, tip))
    assert [type(message) for message in await miner.hear_the_end()] == [SubmitSharesSuccess, CloseChannel]


async def test_limits_and_times_are_taken_over_while_it_runs(start: Start) -> None:
    house = await start(hold_s=None, connected=True)
    daemon = house.daemon
    limits = EdgeLimits(channel_shares_per_s=1, connections=1)
    daemon.take(
        daemon.config.model_copy(update={"limits": limits, "failback_s": 5.0, "identities": 7}),
        daemon.shared.model_copy(update={"hold_s": 7.0}),
    )
    assert (daemon.config.limits, daemon.config.failback_s, daemon.shared.hold_s) == (limits, 5.0, 7.0)
    assert daemon.config.identities == 10_000
    miner = await house.miner()
    await miner.open_extended("alice")
    job, tip = await miner.first_work()
    for number in range(12):
        miner.send(miner.mine(job, tip, extranonce=number))
    assert (await miner.expect(SubmitSharesError)).error_code == "too-many-shares"


@pytest.mark.parametrize("bound", ["host", "subnet"])
async def test_a_host_and_a_subnet_have_bounded_numbers_of_connections(start: Start, bound: str) -> None:
    house = await start(limits=EdgeLimits.model_validate({f"connections_per_{bound}": 1}))
    first = await house.miner()
    with pytest.raises(ConnectFailed):
        await house.miner()
    ended = partial(house.metric, "downstream_connections_ended_total", reason=f"too-many-of-{bound}")
    await until(lambda: ended() == 1)
    await first.open_extended("alice")
    await mine(first)


async def test_the_page_names_just_the_settings_that_are_taken_over(proxy: House) -> None:
    assert proxy.daemon.reloads.keys == told_of("proxy")


async def test_what_a_worker_has_earned_for_ever_is_what_the_wallet_says(
    start: Start, pool: ScriptedPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roles.wallet.wallet._SURVEYS_A_BALANCE", 1)
    monkeypatch.setattr("roles.wallet.wallet._SURVEY_INTERVAL", 0.01)
    house = await start()
    own, foreign = await house.miner(), await house.miner()
    await own.open_extended("alice")
    await mine(own)
    pool.send(QuoteNotice(pool.channel.channel_id, pool.channel.accepted[0].share_hash, 16, UNIT))
    await foreign.open_extended(f"{KEY.hex()}.bob")
    told: list[int | None] = []
    async with asyncio.timeout(30):
        while told != [16, None]:
            await asyncio.sleep(0.01)
            told = [shown["worker_ehash"] for shown in await miners(house)]
