"""Fake miners over real TCP against the real translator, with a scripted proxy behind it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from prometheus_client import generate_latest

from protocols.sv2.mining import (
    CloseChannel,
    OpenMiningChannelError,
    SetTarget,
    SubmitSharesError,
    SubmitSharesSuccess,
)
from tests.roles.translator.scripted_proxy import VERDICT_S

House = Any
Build = Callable[..., Any]
Profile = Any
Eventually = Callable[[Callable[[], object]], Awaitable[None]]
Leap = Callable[[float], None]


async def test_every_profile_gets_work_and_its_shares_are_accepted(house: House, profile: Profile) -> None:
    miner = await house.miner(profile)
    for _ in range(10):
        verdict = await miner.mine()
        assert (verdict["result"], verdict["error"]) == (True, None)
    assert house.proxy.bad == []
    assert house.count("translator_shares_total", result="accepted") == 10
    assert len(house.proxy.hashes) == 10


async def test_every_profile_survives_new_work_new_targets_and_new_tips(
    house: House, profile: Profile
) -> None:
    miner = await house.miner(profile)
    for step in range(6):
        before = miner.jobs[-1].id
        if step % 3 == 0:
            house.proxy.new_job()
        elif step % 3 == 1:
            house.proxy.new_job(target=(1 << 252 - step) - 1)
        else:
            house.proxy.new_tip()
        await miner.until(lambda before=before: miner.jobs[-1].id != before)
        assert (await miner.mine())["result"] is True
    assert house.proxy.bad == []


async def test_every_profile_keeps_its_socket_and_extranonce_through_a_restart_upstream(
    house: House, profile: Profile
) -> None:
    miner = await house.miner(profile)
    assert (await miner.mine())["result"] is True
    before, old_job = miner.extranonce1, miner.jobs[-1]
    house.proxy.restart()
    await miner.until(lambda: miner.jobs[-1].id != old_job.id)
    assert miner.jobs[-1].params[-1] is True
    assert (await miner.mine())["result"] is True
    stale = await miner.submit(miner.find(old_job))
    assert stale["error"][:2] == [21, "Stale"]
    assert not miner.is_gone
    assert miner.extranonce1 == before
    first, second = house.proxy.opened
    assert first.prefix != second.prefix
    assert second.shares[0].extranonce.startswith(before)
    assert house.proxy.bad == []


async def test_every_profile_is_told_the_truth_about_a_bad_share(house: House, profile: Profile) -> None:
    miner = await house.miner(profile)
    params = miner.find(await miner.job())
    assert (await miner.submit(params))["result"] is True
    assert (await miner.submit(params))["error"] == [22, "Duplicate share", None]
    low = await miner.submit(miner.find(miner.jobs[-1], good=False))
    assert low["error"] == [23, "Above target", None]
    unknown = await miner.submit([params[0], "ffff", *params[2:]])
    assert unknown["error"] == [21, "Job not found", None]
    house.proxy.new_tip()
    await miner.until(lambda: miner.jobs[-1].id != params[1])
    assert (await miner.submit(params))["error"] == [21, "Stale", None]
    house.proxy.verdict = lambda share: "stale-share"
    assert (await miner.mine())["error"] == [21, "Stale", None]
    assert len(house.proxy.opened[0].shares) == 2
    assert house.proxy.bad == []
    assert house.count("translator_rejected_total", reason="stale") == 2
    assert house.count("translator_rejected_total", reason="unknown-job") == 1
    assert house.count("translator_rejected_total", reason="duplicate") == 1
    assert house.count("translator_rejected_total", reason="low") == 1


async def test_many_miners_at_once_each_have_a_channel_and_an_extranonce_of_their_own(
    house: House, profile: Profile
) -> None:
    miners = [await house.miner(profile, user=f"rig{n}") for n in range(5)]
    verdicts = await asyncio.gather(*(miner.mine() for miner in miners for _ in range(3)))
    assert all(verdict["result"] is True for verdict in verdicts)
    assert len({miner.extranonce1 for miner in miners}) == 5
    assert [channel.identity for channel in house.proxy.opened] == [f"rig{n}" for n in range(5)]
    assert house.count("translator_miner_shares_total", miner="rig3", result="accepted") == 3
    assert house.count("translator_miners") == 5


async def test_a_target_waits_for_the_next_work_and_old_work_keeps_its_own(house: House) -> None:
    miner = await house.miner()
    old = miner.jobs[-1]
    channel = house.proxy.opened[0]
    harder = (1 << 246) - 1
    house.proxy.connection.say(SetTarget(channel.id, harder))
    channel.target = harder
    # A share between the two targets, on work that was handed out with the easier one.
    share = miner.find(old, difficulty=old.difficulty)
    assert (await miner.submit(share))["result"] is True
    assert [line.get("method") for line in miner.lines].count("mining.set_difficulty") == 1
    house.proxy.new_job()
    await miner.until(lambda: miner.jobs[-1].id != old.id)
    assert [line.get("method") for line in miner.lines[-2:]] == ["mining.set_difficulty", "mining.notify"]
    assert miner.jobs[-1].difficulty > old.difficulty
    assert (await miner.submit(miner.find(old)))["result"] is True
    low = miner.find(miner.jobs[-1], good=False, difficulty=miner.jobs[-1].difficulty)
    assert (await miner.submit(low))["error"] == [23, "Above target", None]
    assert (await miner.mine())["result"] is True
    assert house.proxy.bad == []


async def test_a_difficulty_never_comes_without_a_notify_behind_it(house: House, profile: Profile) -> None:
    miner = await house.miner(profile)
    for exponent in (250, 251, 249, 252):
        before = miner.jobs[-1].id
        house.proxy.new_job(target=(1 << exponent) - 1)
        await miner.until(lambda before=before: miner.jobs[-1].id != before)
    methods = [line.get("method") for line in miner.lines]
    for position, method in enumerate(methods):
        if method == "mining.set_difficulty":
            assert methods[position + 1] == "mining.notify"
    assert methods.count("mining.set_difficulty") == 5


async def test_a_miner_is_never_told_an_easier_difficulty_than_it_is_judged_by(house: House) -> None:
    miner = await house.miner()
    target = house.proxy.opened[0].target
    told = [line["params"][0] for line in miner.lines if line.get("method") == "mining.set_difficulty"]
    assert Fraction(told[-1]) >= Fraction(0xFFFF << 208, target + 1)


async def test_job_ids_never_repeat_on_a_connection(house: House) -> None:
    miner = await house.miner()
    ids = [miner.jobs[-1].id]
    for step in range(40):
        if step % 7 == 3:
            house.proxy.new_tip()
        else:
            house.proxy.new_job()
        await miner.until(lambda: miner.jobs[-1].id != ids[-1])
        ids.append(miner.jobs[-1].id)
    assert len(set(ids)) == 41
    assert all(len(id) <= 16 for id in ids)


async def test_verdicts_leave_in_the_order_of_shares_whatever_the_order_of_the_pools(
    house: House, minerd: Profile, eventually: Eventually
) -> None:
    miner = await house.miner(minerd)
    house.proxy.verdict = lambda share: "silence"
    job = await miner.job()
    shares = [miner.find(job) for _ in range(3)]
    tasks = [asyncio.create_task(miner.submit(share)) for share in shares]
    channel = house.proxy.opened[0]
    await eventually(lambda: len(channel.shares) == 3)
    house.proxy.connection.say(SubmitSharesError(channel.id, 3, "stale-share"))
    await asyncio.sleep(0.01)
    assert miner.answers == []
    house.proxy.connection.say(SubmitSharesError(channel.id, 2, "duplicate-share"))
    house.proxy.connection.say(SubmitSharesSuccess(channel.id, 1, 1, 1))
    first, second, third = await asyncio.gather(*tasks)
    assert first["result"] is True
    assert second["error"][0] == 22
    assert third["error"][0] == 21


async def test_without_a_verdict_in_time_the_miner_is_told_so_and_a_late_one_counts(
    house: House, eventually: Eventually, leap: Leap
) -> None:
    miner = await house.miner()
    house.proxy.verdict = lambda share: "silence"
    mining = asyncio.ensure_future(miner.mine())
    await eventually(lambda: house.proxy.opened[0].shares)
    leap(VERDICT_S)
    verdict = await mining
    assert verdict["result"] is None
    assert verdict["error"] == [20, "No verdict from pool", None]
    assert house.count("translator_unanswered_total") == 1
    assert house.count("translator_shares_total", result="unknown") == 0
    channel = house.proxy.opened[0]
    house.proxy.connection.say(SubmitSharesSuccess(channel.id, 1, 1, 1))
    await eventually(lambda: house.count("translator_shares_total", result="accepted"))
    assert house.count("translator_shares_total", result="unknown") == 0
    house.proxy.verdict = lambda share: None
    assert (await miner.mine())["result"] is True
    assert [line["id"] for line in miner.lines if line.get("id")] == [1, 2, 3, 4]


async def test_shares_in_a_gap_are_answered_as_unknown_and_never_go_to_another_channel(
    house: House, upstream: Any, eventually: Eventually
) -> None:
    miner = await house.miner()
    job = miner.jobs[-1]
    house.proxy.verdict = lambda share: "silence"
    waiting = asyncio.create_task(miner.submit(miner.find(job)))
    await eventually(lambda: house.proxy.opened[0].shares)
    upstream.is_down = True
    house.proxy.restart()
    assert (await waiting)["error"] == [20, "No verdict from pool", None]
    assert (await miner.mine())["error"] == [20, "No verdict from pool", None]
    assert house.count("translator_shares_total", result="unknown") == 2
    house.proxy.verdict = lambda share: None
    upstream.is_down = False
    await miner.until(lambda: miner.jobs[-1].id != job.id)
    assert (await miner.mine())["result"] is True
    assert len(house.proxy.opened[1].shares) == 1
    assert house.proxy.bad == []


async def test_a_share_that_the_proxy_knows_no_verdict_of_is_unknown_and_may_come_again(house: House) -> None:
    miner = await house.miner()
    share = miner.find(await miner.job())
    house.proxy.verdict = lambda share: "no-verdict"
    assert (await miner.submit(share))["error"] == [20, "No verdict from pool", None]
    assert house.count("translator_shares_total", result="unknown") == 1
    assert house.count("translator_shares_total", result="rejected") == 0
    house.proxy.verdict = lambda share: None
    house.proxy.hashes.clear()
    assert (await miner.submit(share))["result"] is True
    assert (await miner.submit(share))["error"] == [22, "Duplicate share", None]


async def test_new_miners_are_refused_while_there_is_no_upstream(
    house: House, upstream: Any, eventually: Eventually
) -> None:
    kept = await house.miner()
    upstream.is_down = True
    house.proxy.restart()
    await eventually(lambda: not house.client.is_connected)
    turned = await house.connect()
    turned.write({"id": 1, "method": "mining.subscribe", "params": []})
    turned.listen()
    await turned.until(lambda: turned.is_gone)
    assert turned.lines == []
    assert not kept.is_gone
    assert house.count("translator_turned_away_total") == 1
    upstream.is_down = False
    await eventually(lambda: house.client.is_connected)
    assert (await (await house.miner()).mine())["result"] is True


async def test_after_the_hold_miners_are_released(build: Build, upstream: Any) -> None:
    house = await build(hold_s=0.1)
    miner = await house.miner()
    upstream.is_down = True
    house.proxy.restart()
    await miner.until(lambda: miner.is_gone)
    assert house.count("translator_miners") == 0


async def test_a_return_within_the_hold_ends_it(build: Build, upstream: Any, eventually: Eventually) -> None:
    house = await build(hold_s=60.0)
    miner = await house.miner()
    (served,) = house.translator
    upstream.is_down = True
    house.proxy.restart()
    await eventually(lambda: served.is_held)
    upstream.is_down = False
    before = miner.jobs[-1].id
    await miner.until(lambda: miner.jobs[-1].id != before)
    assert not served.is_held
    assert (await miner.mine())["result"] is True


async def test_a_proxy_that_gives_up_has_held_long_enough_for_both(build: Build) -> None:
    house = await build(hold_s=None)
    miner = await house.miner()
    house.proxy.connection.say(CloseChannel(house.proxy.opened[0].id, "upstream-lost"))
    await miner.until(lambda: miner.is_gone)


async def test_a_channel_closed_for_another_reason_is_opened_again(build: Build) -> None:
    house = await build()
    miner = await house.miner()
    before = miner.jobs[-1].id
    house.proxy.connection.say(CloseChannel(house.proxy.opened[0].id, "rebalancing"))
    await miner.until(lambda: miner.jobs[-1].id != before)
    assert (await miner.mine())["result"] is True
    assert house.proxy.bad == []


async def test_a_floor_that_upstream_cannot_give_is_given_up(house: House) -> None:
    opened = house.proxy._open
    house.proxy._open = lambda message: (
        opened(message)
        if message.max_target == (1 << 256) - 1
        else house.proxy.connection.say(OpenMiningChannelError(message.request_id, "max-target-out-of-range"))
    )
    miner = await house.miner(password="d=1000000")
    assert (await miner.mine())["result"] is True


async def test_the_hold_may_be_for_ever(build: Build, upstream: Any) -> None:
    house = await build(hold_s=None, keepalive_s=0.05, tick_s=0.01)
    miner = await house.miner()
    upstream.is_down = True
    house.proxy.restart()
    # The keep-alive goes on meanwhile, so that no firmware takes us for dead.
    count = len(miner.jobs)
    await miner.until(lambda: len(miner.jobs) > count)
    assert not miner.is_gone


async def test_a_channel_refused_upstream_is_said_and_the_miner_let_go(house: House) -> None:
    house.proxy.refusal = "unknown-user"
    miner = await house.connect()
    miner.write(
        {"id": 1, "method": "mining.subscribe", "params": []},
        {"id": "b", "method": "mining.authorize", "params": ["eve", "x"]},
    )
    miner.listen()
    reply = await miner.reply("b")
    assert reply["error"] == [24, "Refused upstream: unknown-user", None]
    await miner.until(lambda: miner.is_gone)


async def test_an_upstream_that_opens_no_channel_frees_the_miner_in_time(build: Build) -> None:
    house = await build(open_s=0.05)
    house.proxy._open = lambda message: None
    miner = await house.connect()
    miner.write(
        {"id": 1, "method": "mining.subscribe", "params": []},
        {"id": 2, "method": "mining.authorize", "params": ["a"]},
    )
    miner.listen()
    await miner.until(lambda: miner.is_gone)
    assert [line["id"] for line in miner.lines] == [1]


async def test_when_upstream_grants_few_bytes_later_miners_get_a_small_extranonce2(house: House) -> None:
    house.proxy.size = 8
    miner = await house.connect()
    miner.write(
        {"id": 1, "method": "mining.subscribe", "params": []},
        {"id": 2, "method": "mining.authorize", "params": ["a"]},
    )
    miner.listen()
    miner.subscribed(await miner.reply(1))
    assert miner.extranonce2_size == 8
    await miner.until(lambda: miner.is_gone)
    again = await house.miner()
    assert again.extranonce2_size == 4
    assert (await again.mine())["result"] is True
    assert house.proxy.bad == []


async def test_bytes_beyond_the_miners_parts_are_padding_in_the_coinbase(house: House) -> None:
    house.proxy.size = 16
    miner = await house.miner()
    assert (await miner.mine())["result"] is True
    share = house.proxy.opened[0].shares[0]
    assert share.extranonce[:8] == bytes(4) + miner.extranonce1
    assert house.proxy.bad == []


async def test_the_mask_leaves_out_the_jobs_own_bits_and_changes_with_them(
    house: House, bitaxe: Profile
) -> None:
    miner = await house.miner(bitaxe)
    assert miner.mask == 0x1FFFE000
    house.proxy.version = 0x20006000
    house.proxy.new_job()
    await miner.until(lambda: int(miner.jobs[-1].params[5], 16) == 0x20006000)
    assert miner.jobs[-1].mask == 0x1FFFE000 & ~0x6000
    assert [line.get("method") for line in miner.lines[-2:]] == ["mining.set_version_mask", "mining.notify"]
    assert (await miner.submit(miner.find(miner.jobs[-1], bits=0x8000)))["result"] is True
    house.proxy.rolling = False
    house.proxy.new_job()
    await miner.until(lambda: miner.mask == 0)
    assert (await miner.submit(miner.find(await miner.job())))["result"] is True
    assert house.proxy.bad == []


async def test_a_keep_alive_is_work_that_differs(build: Build) -> None:
    house = await build(keepalive_s=0.05, tick_s=0.01)
    miner = await house.miner()
    first = miner.jobs[-1]
    await miner.until(lambda: len(miner.jobs) > 1)
    second = miner.jobs[-1]
    assert second.params[1:7] == first.params[1:7]
    assert second.params[8] is False
    assert second.id != first.id
    assert int(second.params[7], 16) > int(first.params[7], 16)
    verdicts = [await miner.submit(miner.find(job)) for job in (first, second)]
    assert all(verdict["result"] is True for verdict in verdicts)
    assert house.proxy.bad == []


async def test_work_that_comes_again_from_upstream_is_given_with_a_later_time(house: House) -> None:
    miner = await house.miner()
    before = miner.jobs[-1]
    channel = house.proxy.opened[0]
    (job,) = channel.jobs.values()
    house.proxy.connection.say(replace(job, job_id=777, min_ntime=None))
    channel.jobs[777] = job
    channel.targets[777] = channel.target
    house.proxy.connection.say(replace(channel.tip, job_id=777))
    await miner.until(lambda: miner.jobs[-1].id != before.id)
    after = miner.jobs[-1]
    assert after.params[1:7] == before.params[1:7]
    assert int(after.params[7], 16) > int(before.params[7], 16)
    assert (await miner.mine())["result"] is True
    assert house.proxy.bad == []


async def test_a_miner_that_leaves_gives_back_its_channel(build: Build, eventually: Eventually) -> None:
    house = await build(session_s=0.0)
    miner = await house.miner()
    await miner.close()
    await eventually(lambda: house.proxy.closed)
    assert house.count("translator_miners") == 0
    assert house.proxy.channels == {}


@pytest.mark.parametrize(
    ("password", "suggestion", "floor"),
    [("x,d=4", 8, 4), ("x", 2, 2), ("diff=4;x", 1, 4), ("x", 0, 64), ("x", "nan", 64)],
)
async def test_a_wish_for_harder_shares_reaches_the_upstream(
    house: House, password: str, suggestion: Any, floor: int
) -> None:
    miner = await house.miner(password=password)
    miner.write(
        {"id": 3, "method": "mining.suggest_difficulty", "params": [suggestion]},
        {"id": 4, "method": "mining.suggest_difficulty", "params": [64]},
        {"id": 5, "method": "mining.ping", "params": []},
    )
    await miner.reply(5)
    assert set(miner.replies) == {"1", "2", "5"}
    await house.proxy.connection.expect_silence()
    channel = house.proxy.opened[0]
    wishes = [channel.max_target, *(update.maximum_target for update in channel.updates)]
    assert min(wishes) == (0xFFFF << 208) // floor
    assert len(channel.updates) == (password == "x")


async def test_metrics_are_one_text_with_every_fate(house: House) -> None:
    await (await house.miner(user='mi"ner\n\\x')).mine()
    text = generate_latest(house.registry).decode()
    assert 'hashpool_translator_shares_total{result="accepted"} 1.0' in text
    assert 'miner="mi\\"ner?\\\\x"' in text
