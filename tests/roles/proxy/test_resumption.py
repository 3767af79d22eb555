"""The pool is lost and back, and has given a token: nothing in flight is lost, nothing counts twice."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from protocols.sv2.layout import Message
from protocols.sv2.mining import (
    CloseChannel,
    NewExtendedMiningJob,
    NewMiningJob,
    SetNewPrevHash,
    SubmitSharesError,
    SubmitSharesSuccess,
)
from roles.stratum import keepsake
from shared_config.miner_side import UpstreamSettings
from shared_config.proxy import AggregateSettings
from tests.roles.proxy.conftest import House, Start, until
from tests.roles.proxy.scripted_miner import ScriptedMiner
from tests.roles.proxy.scripted_pool import AUTHORITY, ScriptedPool

KINDS = pytest.mark.parametrize("kind", ["extended", "standard"])
MODES = pytest.mark.parametrize("mode", ["per_miner", "aggregated"])
SLOW = AggregateSettings(floor_hashes=1, shares_per_minute=0.1)


@pytest.fixture
async def pool() -> AsyncIterator[ScriptedPool]:
    made = ScriptedPool()
    made.tokens = True
    await made.start()
    yield made
    await made.stop()


async def at_work(house: House, kind: str = "extended") -> tuple[ScriptedMiner, Message, SetNewPrevHash]:
    miner = await house.miner()
    await (miner.open_standard() if kind == "standard" else miner.open_extended())
    return miner, *await miner.first_work()


async def lost(house: House, pool: ScriptedPool) -> None:
    await pool.stop()
    await until(lambda: house.metric("upstream_connected") == 0)


@MODES
@KINDS
async def test_shares_in_flight_are_sent_again_and_the_miner_hears_the_verdict_and_no_tip(
    start: Start, pool: ScriptedPool, kind: str, mode: str
) -> None:
    house = await start(mode=mode, aggregate=SLOW)
    miner, job, tip = await at_work(house, kind)
    pool.patient = True
    for number in range(2):
        miner.send(miner.mine(job, tip, ntime=tip.min_ntime + number))
    await until(lambda: bool(pool.channels) and len(pool.channel.heard) == 2)
    before = pool.channel
    asked = [replace(share, channel_id=501) for share in before.heard]
    await lost(house, pool)
    # One that is found meanwhile waits with the others.
    miner.send(miner.mine(job, tip, ntime=tip.min_ntime + 2))
    await asyncio.sleep(0)
    pool.patient = False
    await pool.start()
    await until(lambda: bool(pool.channels) and len(pool.channel.heard) == 3)
    assert pool.channel is before
    assert pool.channel.heard[:2] == asked
    heard = [await miner.hear() for _ in range(2)]
    while sum(getattr(each, "new_submits_accepted_count", 0) for each in heard) < 3:
        heard.append(await miner.hear())
    assert not any(isinstance(each, SetNewPrevHash | SubmitSharesError) for each in heard)
    (more,) = (each for each in heard if isinstance(each, NewExtendedMiningJob | NewMiningJob))
    assert more.min_ntime == tip.min_ntime
    # Work of before and after is as good.
    for each in (job, more):
        miner.send(miner.mine(each, tip, ntime=tip.min_ntime + 9))
        await miner.expect(SubmitSharesSuccess)
    assert house.metric("proxy_shares_total", result="accepted") == 5
    assert house.metric("proxy_shares_total", result="unknown") == 0
    assert house.metric("upstream_channels_resumed_total") == 1
    assert house.metric("upstream_shares_sent_again_total") == 3
    name = str(pool.address)
    assert house.metric("upstreams_shares_total", upstream=name, result="unknown") == 0
    assert house.metric("upstreams_shares_total", upstream=name, result="accepted") == 5


@MODES
async def test_a_tip_that_came_meanwhile_is_told(start: Start, pool: ScriptedPool, mode: str) -> None:
    house = await start(mode=mode, aggregate=SLOW)
    miner, job, tip = await at_work(house)
    await lost(house, pool)
    pool.previous = b"\x02" * 32
    await pool.start()
    job, tip = await miner.first_work()
    assert tip.prev_hash == pool.previous
    miner.send(miner.mine(job, tip))
    await miner.expect(SubmitSharesSuccess)


async def test_a_pool_that_resumes_nothing_leaves_shares_unknown(start: Start, pool: ScriptedPool) -> None:
    house = await start()
    miner, job, tip = await at_work(house)
    pool.patient = True
    miner.send(miner.mine(job, tip))
    await until(lambda: bool(pool.channel.heard))
    await lost(house, pool)
    pool.tokens = pool.patient = False
    await pool.start()
    assert (await miner.expect(SubmitSharesError)).error_code == "no-verdict"
    job, tip = await miner.first_work()
    miner.send(miner.mine(job, tip))
    await miner.expect(SubmitSharesSuccess)
    assert len(pool.shown) == 1
    assert house.metric("upstreams_shares_total", upstream=str(pool.address), result="unknown") == 1


async def test_a_token_is_shown_to_nobody_else(start: Start, pool: ScriptedPool) -> None:
    other = ScriptedPool()
    other.tokens, other.head = True, b"\xbb"
    await other.start()
    upstream = UpstreamSettings(address=other.address, authority_key=AUTHORITY, name="other")
    house = await start(others=(upstream,), failback_s=None)
    miner, job, tip = await at_work(house)
    pool.patient = True
    miner.send(miner.mine(job, tip))
    await until(lambda: bool(pool.channel.heard))
    await pool.stop()
    assert (await miner.expect(SubmitSharesError)).error_code == "no-verdict"
    job, tip = await miner.first_work()
    assert (other.shown, other.channel.heard) == ([], [])
    assert house.metric("upstreams_shares_total", upstream=str(pool.address), result="unknown") == 1
    miner.send(miner.mine(job, tip))
    await miner.expect(SubmitSharesSuccess)
    await other.stop()


@MODES
async def test_after_a_while_a_miner_is_told_that_nobody_knows_and_the_verdict_counts_late(
    start: Start, pool: ScriptedPool, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setattr(keepsake, "UNANSWERED_S", 0.02)
    monkeypatch.setattr(keepsake, "LOOK_S", 0.01)
    house = await start(mode=mode, aggregate=SLOW)
    miner, job, tip = await at_work(house)
    pool.patient = True
    miner.send(miner.mine(job, tip))
    await until(lambda: bool(pool.channel.heard))
    await lost(house, pool)
    assert (await miner.expect(SubmitSharesError)).error_code == "no-verdict"
    pool.patient = False
    await pool.start()
    await miner.expect(NewExtendedMiningJob)
    assert len(pool.channel.heard) == 1
    await until(lambda: house.metric("upstream_late_verdicts_total", result="accepted") == 1)
    miner.send(miner.mine(job, tip, extranonce=1))
    answer = await miner.expect(SubmitSharesSuccess)
    assert (answer.last_sequence_number, answer.new_submits_accepted_count) == (2, 1)
    assert house.metric("proxy_shares_total", result="unknown") == 1
    assert house.metric("proxy_shares_total", result="accepted") == 1


@MODES
async def test_a_token_that_has_had_its_time_is_forgotten_and_shares_wait_no_longer(
    start: Start, pool: ScriptedPool, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setattr(keepsake, "LIFE_S", 0.02)
    monkeypatch.setattr(keepsake, "LOOK_S", 0.01)
    house = await start(mode=mode, aggregate=SLOW)
    miner, job, tip = await at_work(house)
    pool.patient = True
    miner.send(miner.mine(job, tip))
    await until(lambda: bool(pool.channel.heard))
    await pool.stop()
    assert (await miner.expect(SubmitSharesError)).error_code == "no-verdict"
    miner.send(miner.mine(job, tip, extranonce=1))
    assert (await miner.expect(SubmitSharesError)).error_code == "no-verdict"
    await pool.start()
    await miner.first_work()
    assert pool.shown == []


async def test_who_leaves_while_the_pool_is_away_leaves_nothing_behind(
    start: Start, pool: ScriptedPool
) -> None:
    house = await start()
    miner, job, tip = await at_work(house)
    pool.patient = True
    miner.send(miner.mine(job, tip))
    await until(lambda: bool(pool.channel.heard))
    await lost(house, pool)
    miner.connection.close()
    await until(lambda: house.metric("proxy_channels", kind="extended") == 0)
    assert house.metric("upstreams_shares_total", upstream=str(pool.address), result="unknown") == 1
    await pool.start()
    await until(lambda: house.metric("upstream_connected") == 1)
    assert pool.opens == 1


async def test_a_channel_that_the_pool_has_closed_is_not_asked_for_again_by_its_token(
    start: Start, pool: ScriptedPool
) -> None:
    house = await start()
    miner, job, tip = await at_work(house)
    pool.patient = True
    miner.send(miner.mine(job, tip))
    await until(lambda: bool(pool.channel.heard))
    closed = pool.channel.channel_id
    pool.channels.clear()
    pool.send(CloseChannel(closed, "tidying up"))
    assert (await miner.expect(SubmitSharesError)).error_code == "no-verdict"
    await miner.first_work()
    assert pool.shown == []


async def test_shares_wait_for_as_many_losses_as_there_are(start: Start, pool: ScriptedPool) -> None:
    house = await start()
    miner, job, tip = await at_work(house)
    pool.patient = True
    miner.send(miner.mine(job, tip))
    await until(lambda: bool(pool.channel.heard))
    for number in range(3):
        await lost(house, pool)
        pool.patient = number < 2
        await pool.start()
        await until(lambda: bool(pool.channels) and len(pool.channel.heard) == 1)
    while not isinstance(await miner.hear(), SubmitSharesSuccess):
        pass
    assert len(set(pool.shown)) == 3
