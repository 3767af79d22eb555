"""Miners on trunks: seats, work, losses and returns. The trunk is a fake; sockets are real."""

import asyncio
from collections.abc import Awaitable, Callable
from fractions import Fraction
from typing import Any

import pytest

from protocols.sv1.errors import ErrorCode, Rejection
from protocols.sv1.results import Subscription
from protocols.translation.extranonce import Layout
from roles.runtime.ban_list import Bans
from roles.stratum.submissions import Outcome, Verdict
from roles.sv1_proxy import relay as relay_module
from roles.sv1_proxy.relay import PROXY_AGENT
from tests.roles.sv1_proxy.fake_trunk import FakeTrunk
from tests.roles.translator.fake_miners import FakeMiner
from tests.roles.translator.test_resume import Returning

House = Any
Build = Callable[..., Any]
Eventually = Callable[[Callable[[], object]], Awaitable[None]]


class Proxy(FakeMiner):
    """Another instance, by its name."""

    agent = PROXY_AGENT + "1.0"


async def test_shares_go_to_the_pool_under_the_miners_name_with_its_slice(house: House) -> None:
    miner = await house.miner(user="alice")
    assert (await miner.mine())["result"] is True
    (user, _, extranonce2), *_ = house.trunk.shares
    assert user == "alice"
    assert extranonce2.startswith(miner.extranonce1)
    assert len(miner.extranonce1) == 4
    assert miner.extranonce2_size == 4


async def test_miners_have_seats_that_differ_and_a_proxy_has_all_that_its_own_leaves(house: House) -> None:
    miners = [await house.miner(user=f"m{number}") for number in range(3)]
    proxy = await house.miner(Proxy, user="p")
    assert len({miner.extranonce1 for miner in miners}) == 3
    assert (len(proxy.extranonce1), proxy.extranonce2_size) == (2, 6)
    assert not any(miner.extranonce1.startswith(proxy.extranonce1) for miner in miners)
    assert (await proxy.mine())["result"] is True


async def test_a_wider_extranonce_leaves_eight_bytes_to_roll(build: Build) -> None:
    miner = await build(FakeTrunk(16)).miner()
    assert miner.extranonce2_size == 8
    assert (await miner.mine())["result"] is True


@pytest.mark.parametrize("size", [2, 0])
async def test_a_pool_without_room_for_a_miner_has_it_told_and_let_go(build: Build, size: int) -> None:
    house = build(FakeTrunk(size))
    miner = await house.connect()
    miner.write({"id": 1, "method": "mining.subscribe", "params": []})
    miner.listen()
    assert (await miner.reply(1))["error"] == [20, "Upstream's extranonce is too small", None]
    await miner.until(lambda: miner.is_gone)
    assert house.relay.unseated == 1


async def test_when_all_seats_are_taken_the_next_trunk_is_used_and_then_one_more_wanted(
    build: Build,
) -> None:
    first, second = FakeTrunk(3), FakeTrunk(3)
    house = build(first, second)
    miners = [await house.miner(user=f"m{number}") for number in range(257)]
    assert (first.seats_taken, second.seats_taken) == (256, 1)
    assert miners[0].extranonce1 != miners[1].extranonce1
    while second.seats_taken < 256:
        second.seat(Layout(2, 1))
    late = await house.connect()
    late.write({"id": 1, "method": "mining.subscribe", "params": []})
    late.listen()
    assert (await late.reply(1))["error"] == [20, "No extranonce is free, come again", None]
    assert house.trunks.wanted == 1


async def test_miners_are_seated_so_that_every_pool_that_was_seen_has_room_for_them(build: Build) -> None:
    house = build(FakeTrunk(12))
    house.trunks.least_extranonce2 = 6
    miner = await house.miner()
    assert (len(miner.extranonce1), miner.extranonce2_size) == (2, 4)
    old = miner.jobs[-1].params
    house.trunk.lose()
    house.trunk.come_back(size=6)
    await miner.until(lambda: miner.jobs[-1].params != old)
    assert (await miner.mine())["result"] is True
    # One that has room for nobody is no measure.
    house.trunks.least_extranonce2 = 2
    assert (await house.miner(user="b")).extranonce2_size == 4


async def test_a_pool_that_does_not_know_the_name_is_quoted(house: House) -> None:
    house.trunk.refusals["mallory"] = Rejection(ErrorCode.UNAUTHORIZED, "no such account")
    miner = await house.connect(user="mallory")
    miner.write(
        {"id": 1, "method": "mining.subscribe", "params": []},
        {"id": 2, "method": "mining.authorize", "params": ["mallory", "x"]},
    )
    miner.listen()
    assert (await miner.reply(2))["error"] == [24, "no such account", None]
    await miner.until(lambda: miner.is_gone)


async def test_a_name_that_comes_long_before_the_subscription_is_let_in_with_it(
    house: House, eventually: Eventually
) -> None:
    miner = await house.connect()
    miner.write({"id": 2, "method": "mining.authorize", "params": ["early", "x"]})
    miner.listen()
    await eventually(lambda: any(guest.identity for guest in house.relay))
    assert miner.jobs == []
    miner.write({"id": 1, "method": "mining.subscribe", "params": []})
    miner.subscribed(await miner.reply(1))
    assert (await miner.reply(2))["result"] is True
    await miner.job()


async def test_a_pool_that_does_not_answer_a_name_keeps_nobody_waiting_for_ever(build: Build) -> None:
    house = build(open_s=0.05)
    house.trunk.answers_names = False
    miner = await house.connect()
    miner.write(
        {"id": 1, "method": "mining.subscribe", "params": []},
        {"id": 2, "method": "mining.authorize", "params": ["a", "x"]},
    )
    miner.listen()
    await miner.until(lambda: miner.is_gone)
    house.trunk.answer()
    assert "2" not in miner.replies


async def test_other_work_reaches_all_and_ends_what_was_before_only_when_the_pool_says_so(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "RENEWED_AT_ONCE", 2)
    house = build()
    miners = [await house.miner(user=f"m{number}") for number in range(5)]
    house.trunk.work(clean=False)
    for miner in miners:
        await miner.until(lambda miner=miner: len(miner.jobs) == 2)
        assert (await miner.submit(miner.find(miner.jobs[0])))["result"] is True
    last = [miner.jobs[-1] for miner in miners]
    house.trunk.work(clean=True)
    for miner, old in zip(miners, last, strict=True):
        await miner.until(lambda miner=miner: len(miner.jobs) == 1)
        assert (await miner.submit(miner.find(old)))["error"][0] == 21


async def test_the_pools_word_on_a_share_is_the_miners_answer(house: House) -> None:
    miner = await house.miner()
    house.trunk.verdict = Verdict(Outcome.REFUSED, "stale-share")
    assert (await miner.mine())["error"] == [21, "Stale", None]


async def test_a_loss_leaves_miners_their_sockets_and_their_extranonce(
    house: House, eventually: Eventually
) -> None:
    miner = await house.miner()
    house.trunk.verdict = None
    waiting = asyncio.create_task(miner.mine())
    await eventually(lambda: house.trunk.settles)
    house.trunk.lose()
    assert (await waiting)["error"] == [20, "No verdict from pool", None]
    assert (await miner.mine())["error"] == [20, "No verdict from pool", None]
    (guest,) = house.relay
    assert guest.is_held
    house.trunk.verdict = Verdict(Outcome.ACCEPTED)
    kept, old = miner.extranonce1, miner.jobs[-1].params
    house.trunk.come_back(size=12)
    await miner.until(lambda: miner.jobs[-1].params != old)
    assert len(miner.jobs) == 1
    assert not guest.is_held
    assert (await miner.mine())["result"] is True
    assert house.trunk.shares[-1][2][4:8] == kept


async def test_an_upstream_that_grants_too_little_is_the_one_reason_to_let_a_miner_go(
    build: Build,
) -> None:
    house = build(FakeTrunk(8))
    miner = await house.miner()
    house.trunk.lose()
    house.trunk.come_back(size=4)
    await miner.until(lambda: miner.is_gone)
    again = await house.miner()
    assert again.extranonce2_size == 2
    assert (await again.mine())["result"] is True


async def test_miners_are_let_go_after_the_hold_and_refused_meanwhile(build: Build) -> None:
    house = build(hold_s=0.05)
    miner = await house.miner()
    house.trunk.lose()
    await miner.until(lambda: miner.is_gone)
    late = await house.connect()
    late.write({"id": 1, "method": "mining.subscribe", "params": []})
    late.listen()
    await late.until(lambda: late.is_gone)
    assert house.relay.turned_away == 1


async def test_a_miner_that_names_its_session_goes_on_in_its_seat(
    house: House, eventually: Eventually
) -> None:
    first = await house.miner(Returning)
    assert (await first.mine())["result"] is True
    early = first.find(first.jobs[-1])
    await first.close()
    await eventually(lambda: house.relay.parked == 1)
    second = await house.miner(Returning, session=first.session, counter=100)
    assert second.extranonce1 == first.extranonce1
    assert (await second.submit(early))["result"] is True
    assert (await second.mine())["result"] is True
    assert house.trunk.seats_taken == 1
    assert house.relay.resumed == 1
    house.trunk.work()
    await second.until(lambda: len(second.jobs) == 1)


async def test_another_name_on_a_resumed_session_begins_anew(house: House, eventually: Eventually) -> None:
    first = await house.miner(Returning, user="alice")
    old = first.find(first.jobs[-1])
    await first.close()
    await eventually(lambda: house.relay.parked == 1)
    second = await house.miner(Returning, session=first.session, user="bob", counter=100)
    assert (await second.submit(old))["error"][0] == 21
    assert (await second.mine())["result"] is True
    assert house.trunk.shares[-1][0] == "bob"


async def test_a_miner_that_comes_back_anew_leaves_no_seat_behind(
    house: House, eventually: Eventually
) -> None:
    first = await house.miner()
    await first.close()
    await eventually(lambda: house.relay.parked == 1)
    await house.miner()
    await eventually(lambda: house.trunk.seats_taken == 1)
    house.relay.close()


async def test_who_is_banned_while_mining_is_let_go(house: House, eventually: Eventually) -> None:
    bad, good = await house.miner(user="mallory.rig"), await house.miner(user="bob")
    house.relay.bans.replace(Bans(names=frozenset({"mallory"})))
    house.relay.cut_barred()
    await bad.until(lambda: bad.is_gone)
    assert (await good.mine())["result"] is True
    await eventually(lambda: house.trunk.seats_taken == 1)


async def test_a_difficulty_that_comes_between_counts_from_the_next_work_on(house: House) -> None:
    miner = await house.miner()
    told = miner.difficulty
    house.trunk.difficulty = Fraction(1, 1 << 18)
    assert (await miner.mine())["result"] is True
    assert miner.difficulty == told
    house.trunk.work(clean=False)
    await miner.until(lambda: len(miner.jobs) == 2)
    assert miner.jobs[-1].difficulty > miner.jobs[0].difficulty
    assert (await miner.submit(miner.find(miner.jobs[0])))["result"] is True


async def test_a_slice_is_what_the_subscription_says(house: House) -> None:
    assert house.trunk.granted == Subscription(b"\xaa\xbb\xcc\xdd", 8, "")
    miner = await house.miner()
    assert miner.jobs[-1].params[2].endswith("aabbccdd")
