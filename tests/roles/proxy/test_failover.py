"""Two pools: miners keep their channels, whichever of them is there."""

from collections.abc import AsyncIterator

import pytest

from protocols.ehash.messages import EXTENSION
from protocols.sv2.mining import (
    CloseChannel,
    NewExtendedMiningJob,
    OpenMiningChannelError,
    SubmitSharesError,
    SubmitSharesSuccess,
)
from shared_config.miner_side import UpstreamSettings
from tests.roles.proxy.conftest import House, Start, until
from tests.roles.proxy.scripted_miner import ScriptedMiner
from tests.roles.proxy.scripted_pool import AUTHORITY, ScriptedPool

SECOND = "second"


@pytest.fixture
async def backup() -> AsyncIterator[ScriptedPool]:
    pool = ScriptedPool()
    pool.head = b"\xbb"
    await pool.start()
    yield pool
    await pool.stop()


def second(pool: ScriptedPool, user_identity: str = "") -> tuple[UpstreamSettings, ...]:
    return (
        UpstreamSettings(
            address=pool.address, authority_key=AUTHORITY, name=SECOND, user_identity=user_identity
        ),
    )


async def work_of(miner: ScriptedMiner, pool: ScriptedPool) -> None:
    """Fresh work has come from a pool, and a share of it is accepted there."""
    job, tip = await miner.first_work()
    assert isinstance(job, NewExtendedMiningJob)
    assert job.coinbase_tx_prefix.endswith(pool.channel.prefix)
    miner.send(miner.mine(job, tip))
    await miner.expect(SubmitSharesSuccess)
    assert pool.channel.accepted[-1].extranonce.startswith(pool.channel.prefix + miner.prefix)


def shares(house: House, upstream: str, result: str) -> float:
    return house.metric("upstreams_shares_total", upstream=upstream, result=result)


def state(house: House, upstream: str, state: str) -> bool:
    return house.metric("upstreams_state", upstream=upstream, state=state) == 1


async def test_a_miner_goes_on_at_the_next_pool_and_back_when_the_first_has_proven_itself(
    start: Start, pool: ScriptedPool, backup: ScriptedPool
) -> None:
    house = await start(others=second(backup), failback_s=0.2)
    first = str(pool.address)
    miner = await house.miner()
    await miner.open_extended()
    await work_of(miner, pool)
    assert house.daemon.readiness.notes == {"upstream": f"mining at {first}"}
    await pool.stop()
    await work_of(miner, backup)
    assert backup.channel.request.user_identity == "alice"
    assert state(house, SECOND, "active")
    assert state(house, first, "away")
    assert f"mining at {SECOND}; {first}: " in house.daemon.readiness.notes["upstream"]
    await pool.start()
    await work_of(miner, pool)
    await until(lambda: not backup.is_connected)
    assert state(house, first, "active")
    assert state(house, SECOND, "idle")
    assert house.metric("upstreams_turns_total", upstream=first) == 2
    assert (shares(house, first, "accepted"), shares(house, SECOND, "accepted")) == (2, 1)
    assert house.metric("upstream_channels") == 1
    assert all(not isinstance(message, CloseChannel) for message in miner.heard)


@pytest.mark.parametrize("mode", ["per_miner", "aggregated"])
async def test_shares_in_flight_to_a_pool_that_is_left_are_unknown_and_go_to_no_other(
    start: Start, pool: ScriptedPool, backup: ScriptedPool, mode: str
) -> None:
    house = await start(mode=mode, others=second(backup))
    miner = await house.miner()
    await miner.open_extended()
    job, tip = await miner.first_work()
    pool.patient = True
    share = miner.mine(job, tip)
    miner.send(share)
    await until(lambda: bool(pool.channel.heard))
    await pool.stop()
    lost = await miner.expect(SubmitSharesError)
    assert (lost.sequence_number, lost.error_code) == (1, "no-verdict")
    await work_of(miner, backup)
    miner.send(share)
    assert (await miner.expect(SubmitSharesError)).error_code == "stale-share"
    assert len(backup.channel.heard) == 1
    assert shares(house, str(pool.address), "unknown") == 1


async def test_a_share_of_work_that_a_pool_gives_out_again_is_not_sent_twice(
    start: Start, pool: ScriptedPool
) -> None:
    house = await start()
    miner = await house.miner()
    await miner.open_extended()
    job, tip = await miner.first_work()
    pool.patient = True
    miner.send(miner.mine(job, tip))
    await until(lambda: bool(pool.channel.heard))
    await pool.stop()
    assert (await miner.expect(SubmitSharesError)).error_code == "no-verdict"
    pool.forget()
    await pool.start()
    job, tip = await miner.first_work()
    miner.send(miner.mine(job, tip))
    assert (await miner.expect(SubmitSharesError)).error_code == "duplicate-share"
    assert pool.channel.heard == []
    assert house.metric("upstream_connected") == 1


async def test_a_pool_that_opens_no_channels_is_left_for_the_next(
    start: Start, pool: ScriptedPool, backup: ScriptedPool
) -> None:
    house = await start(others=second(backup), failback_s=None)
    miner = await house.miner()
    await miner.open_extended()
    await miner.first_work()
    await pool.stop()
    await work_of(miner, backup)
    pool.refuse_opens = "no-room"
    await pool.start()
    await backup.stop()
    await until(lambda: pool.opens > 1)
    await backup.start()
    await work_of(miner, backup)
    assert state(house, SECOND, "active")


@pytest.mark.parametrize("mode", ["per_miner", "aggregated"])
async def test_a_better_pool_that_opens_no_channels_costs_no_work_and_has_to_prove_itself_for_longer(
    start: Start, pool: ScriptedPool, backup: ScriptedPool, mode: str
) -> None:
    house = await start(mode=mode, others=second(backup), failback_s=0.1)
    miner = await house.miner()
    await miner.open_extended()
    await miner.first_work()
    pool.refuse_opens = "no-room"
    await pool.stop()
    job, tip = await miner.first_work()
    await pool.start()
    await until(lambda: house.metric("upstream_failures_total", cause="UpstreamUnusable") >= 2)
    assert backup.opens == 1
    miner.send(miner.mine(job, tip))
    await miner.expect(SubmitSharesSuccess)
    pool.refuse_opens = ""
    await work_of(miner, pool)


@pytest.mark.parametrize("mode", ["per_miner", "aggregated"])
async def test_a_pool_that_grants_too_little_extranonce_is_tried_last(
    start: Start, pool: ScriptedPool, backup: ScriptedPool, mode: str
) -> None:
    house = await start(mode=mode, others=second(backup), failback_s=0.1)
    miner = await house.miner()
    await miner.open_extended()
    await work_of(miner, pool)
    await pool.stop()
    await work_of(miner, backup)
    pool.size = 12
    await pool.start()
    await until(lambda: pool.opens == 2)
    await work_of(miner, backup)
    await backup.stop()
    assert await miner.hear_the_end() == [CloseChannel(miner.channel_id, "extranonce-too-small")]


@pytest.mark.parametrize("mode", ["per_miner", "aggregated"])
async def test_after_the_hold_without_any_pool_miners_are_released_and_none_are_let_in(
    start: Start, pool: ScriptedPool, backup: ScriptedPool, mode: str
) -> None:
    house = await start(mode=mode, hold_s=0.3, others=second(backup))
    miner = await house.miner()
    waiting = await house.miner()
    await miner.open_extended()
    await work_of(miner, pool)
    await pool.stop()
    await work_of(miner, backup)
    await backup.stop()
    assert await miner.hear_the_end() == [CloseChannel(miner.channel_id, "upstream-lost")]
    reason = house.daemon.readiness.reasons["upstream"]
    assert str(pool.address) in reason
    assert f"{SECOND}: " in reason
    waiting.send(waiting.request())
    assert (await waiting.expect(OpenMiningChannelError)).error_code == "upstream-unavailable"
    await backup.start()
    await until(lambda: house.daemon.readiness.reasons.get("upstream") is None)
    again = await house.miner()
    await again.open_extended()
    await work_of(again, backup)


async def test_a_stock_pool_is_mined_at_without_tokens_under_our_account_there(
    start: Start, pool: ScriptedPool, backup: ScriptedPool
) -> None:
    backup.extensions = ()
    house = await start(others=second(backup, "our-account"))
    miner = await house.miner()
    await miner.open_extended()
    await work_of(miner, pool)
    assert house.metric("proxy_without_tokens") == 0
    await pool.stop()
    await work_of(miner, backup)
    assert backup.channel.request.user_identity == "our-account.alice"
    assert house.metric("proxy_without_tokens") == 1
    assert f"without tokens, {SECOND} knows no ehash" in house.daemon.readiness.notes["upstream"]


async def test_miners_that_bring_channels_of_their_own_move_alone_and_come_together(
    start: Start, pool: ScriptedPool, backup: ScriptedPool
) -> None:
    house = await start(others=second(backup), failback_s=0.2)
    miners = [await house.miner(extensions=(EXTENSION,)) for _ in range(3)]
    for miner in miners:
        await miner.open_extended()
        await miner.first_work()
    prefixes = {miner.prefix for miner in miners}
    assert len(prefixes) == 3
    await pool.stop()
    for miner in miners:
        job, tip = await miner.first_work()
        miner.send(miner.mine(job, tip))
        await miner.expect(SubmitSharesSuccess)
    assert len(backup.channels) == 3
    await pool.start()
    for miner in miners:
        job, tip = await miner.first_work()
        miner.send(miner.mine(job, tip))
        await miner.expect(SubmitSharesSuccess)
    assert len(pool.channels) == 3


@pytest.mark.parametrize("mode", ["per_miner", "aggregated"])
async def test_a_pool_that_opens_channels_and_gives_no_work_is_left_for_the_next(
    start: Start, pool: ScriptedPool, backup: ScriptedPool, mode: str
) -> None:
    pool.idle = True
    house = await start(others=second(backup), mode=mode, work_s=1.0, failback_s=None)
    miner = await house.miner()
    await miner.open_extended()
    await work_of(miner, backup)
    assert state(house, SECOND, "active")


@pytest.mark.parametrize("mode", ["per_miner", "aggregated"])
async def test_a_pool_that_answers_no_share_is_left_for_the_next(
    start: Start, pool: ScriptedPool, backup: ScriptedPool, mode: str
) -> None:
    pool.patient = True
    house = await start(others=second(backup), mode=mode, stall_s=0.5, failback_s=None)
    miner = await house.miner()
    await miner.open_extended()
    job, tip = await miner.first_work()
    miner.send(miner.mine(job, tip))
    assert (await miner.expect(SubmitSharesError)).error_code == "no-verdict"
    await work_of(miner, backup)


async def test_a_pool_that_falls_silent_is_connected_anew(start: Start, pool: ScriptedPool) -> None:
    house = await start(stall_s=0.5)
    miner = await house.miner()
    await miner.open_extended()
    await miner.first_work()
    await until(lambda: pool.answered == 2)
    pool.mute = True
    await miner.first_work()
    assert pool.opens == 2
    assert house.metric("upstream_failures_total", cause="UpstreamUnusable") == 1
