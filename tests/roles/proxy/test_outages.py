from dataclasses import replace

import pytest

from protocols.sv2.errors import SetupFailed
from protocols.sv2.mining import (
    CloseChannel,
    NewExtendedMiningJob,
    OpenExtendedMiningChannel,
    OpenMiningChannelError,
    SubmitSharesError,
    SubmitSharesSuccess,
)
from tests.roles.proxy.conftest import House, Start, until
from tests.roles.proxy.scripted_pool import EASY, ScriptedPool


async def test_a_miner_is_kept_over_a_restart_of_the_pool_and_gets_new_work(
    proxy: House, pool: ScriptedPool
) -> None:
    miner = await proxy.miner()
    await miner.open_extended()
    await miner.first_work()
    before = pool.channel.prefix
    await pool.stop()
    await until(lambda: proxy.metric("upstream_connected") == 0)
    assert "upstream" in proxy.daemon.readiness.reasons
    await pool.start()
    job, tip = await miner.first_work()
    assert isinstance(job, NewExtendedMiningJob)
    assert pool.channel.prefix != before
    assert job.coinbase_tx_prefix.endswith(pool.channel.prefix)
    assert pool.channel.request.user_identity == "alice"
    miner.send(miner.mine(job, tip))
    await miner.expect(SubmitSharesSuccess)
    assert pool.channel.accepted[0].extranonce.startswith(pool.channel.prefix + miner.prefix)


async def test_shares_that_no_pool_will_judge_are_unknown_until_there_is_new_work(
    proxy: House, pool: ScriptedPool
) -> None:
    miner = await proxy.miner()
    await miner.open_extended()
    job, tip = await miner.first_work()
    pool.patient = True
    miner.send(miner.mine(job, tip))
    await until(lambda: bool(pool.channel.heard))
    await pool.stop()
    lost = await miner.expect(SubmitSharesError)
    assert (lost.sequence_number, lost.error_code) == (1, "no-verdict")
    orphan = miner.mine(job, tip, extranonce=1)
    for _ in range(2):
        miner.send(orphan)
        assert (await miner.expect(SubmitSharesError)).error_code == "no-verdict"
    assert proxy.metric("proxy_shares_total", result="unknown") == 3
    assert proxy.metric("proxy_shares_total", result="rejected") == 0
    pool.patient = False
    await pool.start()
    await miner.first_work()
    miner.send(miner.mine(job, tip, extranonce=2))
    assert (await miner.expect(SubmitSharesError)).error_code == "stale-share"
    assert pool.channel.heard == []


async def test_what_is_wrong_with_a_share_for_certain_is_told_without_a_pool(
    proxy: House, pool: ScriptedPool
) -> None:
    miner = await proxy.miner()
    await miner.open_extended()
    job, tip = await miner.first_work()
    await pool.stop()
    await until(lambda: proxy.metric("upstream_connected") == 0)
    miner.send(miner.mine(job, tip, target=EASY * 15, above=EASY))
    assert (await miner.expect(SubmitSharesError)).error_code == "difficulty-too-low"
    miner.send(replace(miner.mine(job, tip), job_id=99))
    assert (await miner.expect(SubmitSharesError)).error_code == "invalid-job-id"


async def test_shares_between_the_return_of_the_pool_and_its_first_work_are_unknown(
    proxy: House, pool: ScriptedPool
) -> None:
    miner = await proxy.miner()
    await miner.open_extended()
    job, tip = await miner.first_work()
    await pool.stop()
    pool.idle = True
    await pool.start()
    await until(lambda: bool(pool.channels))
    await until(lambda: proxy.metric("upstream_channels") == 1)
    miner.send(miner.mine(job, tip))
    assert (await miner.expect(SubmitSharesError)).error_code == "no-verdict"
    assert pool.channel.heard == []
    pool.new_tip(pool.channel)
    job, tip = await miner.first_work()
    miner.send(miner.mine(job, tip))
    await miner.expect(SubmitSharesSuccess)


async def test_a_channel_that_the_pool_closes_is_opened_again(proxy: House, pool: ScriptedPool) -> None:
    miner = await proxy.miner()
    await miner.open_extended()
    await miner.first_work()
    closed = pool.channel.channel_id
    pool.channels.clear()
    pool.send(CloseChannel(closed, "tidying up"))
    job, tip = await miner.first_work()
    miner.send(miner.mine(job, tip))
    await miner.expect(SubmitSharesSuccess)
    assert pool.opens == 2


async def test_whom_the_pool_comes_to_turn_away_is_released_and_not_held(
    start: Start, pool: ScriptedPool
) -> None:
    house = await start(hold_s=None)
    mallory, alice = await house.miner(), await house.miner()
    await mallory.open_extended("mallory")
    await mallory.first_work()
    closed = pool.channel.channel_id
    await alice.open_extended("alice")
    job, tip = await alice.first_work()
    pool.refuse_opens = "banned-by-operator"
    del pool.channels[closed]
    pool.send(CloseChannel(closed, "banned-by-operator"))
    assert await mallory.hear_the_end() == [CloseChannel(mallory.channel_id, "banned-by-operator")]
    alice.send(alice.mine(job, tip))
    await alice.expect(SubmitSharesSuccess)


async def test_after_the_hold_miners_are_released_and_new_ones_refused_until_the_pool_is_back(
    start: Start, pool: ScriptedPool
) -> None:
    house = await start(hold_s=0.05)
    miner = await house.miner()
    await miner.open_extended()
    await miner.first_work()
    await pool.stop()
    end = await miner.hear_the_end()
    assert end == [CloseChannel(miner.channel_id, "upstream-lost")]
    assert house.metric("proxy_channels_released_total") == 1
    with pytest.raises(SetupFailed) as refusal:
        await house.miner()
    assert refusal.value.peer_code == "upstream-unavailable"
    await pool.start()
    await until(lambda: house.metric("upstream_connected") == 1)
    again = await house.miner()
    await again.open_extended()


async def test_without_an_end_of_the_hold_miners_are_kept(start: Start, pool: ScriptedPool) -> None:
    house = await start(hold_s=None)
    miner = await house.miner()
    await miner.open_extended()
    await miner.first_work()
    await pool.stop()
    await until(lambda: house.metric("upstream_failures_total", cause="ConnectFailed") >= 2)
    await pool.start()
    await miner.first_work()


async def test_a_channel_is_not_parked_for_a_pool_that_does_not_answer(
    start: Start, pool: ScriptedPool
) -> None:
    house = await start(opening_s=0.1)
    pool.silent = True
    miner = await house.miner()
    miner.send(OpenExtendedMiningChannel(9, "alice", 1e12, 1 << 255, 2))
    assert await miner.expect(OpenMiningChannelError) == OpenMiningChannelError(9, "upstream-unavailable")


async def test_a_miner_that_comes_before_the_pool_gets_its_channel_when_the_pool_does(
    start: Start, pool: ScriptedPool
) -> None:
    await pool.stop()
    house = await start(connected=False)
    miner = await house.miner()
    miner.send(OpenExtendedMiningChannel(9, "alice", 1e12, 1 << 255, 2))
    await pool.start()
    await until(lambda: pool.opens == 1)
    await miner.hear()
    await miner.first_work()


async def test_a_pool_that_grants_more_extranonce_than_before_changes_nothing_for_the_miner(
    proxy: House, pool: ScriptedPool
) -> None:
    miner = await proxy.miner()
    await miner.open_extended()
    await miner.first_work()
    await pool.stop()
    pool.size = 20
    await pool.start()
    job, tip = await miner.first_work()
    assert isinstance(job, NewExtendedMiningJob)
    assert job.coinbase_tx_prefix.endswith(pool.channel.prefix + bytes(4))
    miner.send(miner.mine(job, tip))
    await miner.expect(SubmitSharesSuccess)


async def test_a_pool_that_grants_less_extranonce_than_before_costs_the_miner_its_channel(
    proxy: House, pool: ScriptedPool
) -> None:
    miner = await proxy.miner()
    await miner.open_extended()
    await miner.first_work()
    await pool.stop()
    pool.size = 12
    await pool.start()
    assert await miner.hear_the_end() == [CloseChannel(miner.channel_id, "extranonce-too-small")]


async def test_a_stop_of_the_proxy_closes_the_connections(proxy: House, pool: ScriptedPool) -> None:
    miner = await proxy.miner()
    await miner.open_extended()
    await miner.first_work()
    proxy.daemon.stopping.set()
    assert await miner.hear_the_end() == []
