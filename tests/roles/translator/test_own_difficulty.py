"""Miners from which the upstream asks for fewer shares than show that they live."""

import asyncio
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from tests.roles.translator.scripted_proxy import DIFFICULTY_ONE

Build = Callable[..., Any]
HARD = (1 << 224) - 1
START = 1e-7


async def test_a_miner_shows_shares_that_its_upstream_does_not_ask_for(build: Build) -> None:
    house = await build(own_shares_per_minute=2.0, start_difficulty=START)
    house.proxy.target = HARD
    miner = await house.miner()
    job = await miner.job()
    assert job.difficulty < Fraction(DIFFICULTY_ONE, HARD) / 1000
    for _ in range(5):
        assert (await miner.mine())["result"] is True
    low = miner.find(job, good=False)
    assert (await miner.submit(low))["error"] == [23, "Above target", None]
    assert house.proxy.opened[0].shares == []
    assert house.count("translator_shares_total", result="local") == 5
    assert house.count("translator_shares_total", result="accepted") == 0


async def test_what_is_good_enough_for_the_upstream_goes_up(build: Build) -> None:
    house = await build(own_shares_per_minute=2.0, start_difficulty=START)
    house.proxy.target = (1 << 242) - 1
    miner = await house.miner()
    good = miner.find(await miner.job(), difficulty=Fraction(DIFFICULTY_ONE, (1 << 242) - 1))
    assert (await miner.submit(good))["result"] is True
    assert len(house.proxy.opened[0].shares) == 1
    assert house.count("translator_shares_total", result="accepted") == 1
    assert house.proxy.bad == []


async def test_where_the_upstream_asks_for_enough_its_difficulty_is_told(build: Build) -> None:
    house = await build(own_shares_per_minute=2.0, start_difficulty=START)
    miner = await house.miner()
    told = Fraction(0xFFFF << 208, house.proxy.opened[0].target + 1)
    assert miner.jobs[-1].difficulty == told
    assert (await miner.mine())["result"] is True
    assert house.count("translator_shares_total", result="local") == 0


async def test_without_the_setting_the_upstreams_difficulty_is_told_as_it_is(build: Build) -> None:
    house = await build(own_shares_per_minute=0.0, start_difficulty=START)
    house.proxy.target = HARD
    miner = await house.miner()
    assert miner.jobs[-1].difficulty == Fraction(0xFFFF, 1 << 16)


async def test_a_floor_that_the_miner_has_set_is_kept(build: Build) -> None:
    house = await build(own_shares_per_minute=2.0, start_difficulty=START)
    house.proxy.target = HARD
    miner = await house.miner(password="d=0.001")
    assert miner.jobs[-1].difficulty >= Fraction(0.001)


async def test_its_own_difficulty_changes_only_together_with_work(build: Build) -> None:
    house = await build(own_shares_per_minute=600.0, start_difficulty=START, tick_s=0.05, keepalive_s=600.0)
    house.proxy.target = HARD
    miner = await house.miner()
    old = miner.jobs[-1]
    easy = [miner.find(old) for _ in range(400)]
    for params in easy:
        miner.write({"id": miner.next_id(), "method": "mining.submit", "params": params})
    # It floods us, so the work comes again at once, harder and with a later time.
    async with asyncio.timeout(30):
        await miner.until(lambda: miner.jobs[-1] is not old)
    new = miner.jobs[-1]
    assert new.difficulty > old.difficulty
    assert new.params[1:7] == old.params[1:7]
    assert int(new.params[7], 16) > int(old.params[7], 16)
    assert new.params[8] is False
    methods = [line["method"] for line in miner.lines if "method" in line]
    for place, method in enumerate(methods):
        assert method != "mining.set_difficulty" or methods[place + 1] == "mining.notify"
    late = miner.find(old)
    assert (await miner.submit(late))["result"] is True
    assert house.count("translator_rejected_total", reason="low") == 0
