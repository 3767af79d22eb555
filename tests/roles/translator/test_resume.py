"""Miners that come back and name their session, as cgminer and minerd do, over real TCP."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from protocols.sv2.mining import SubmitSharesSuccess
from tests.roles.translator.fake_miners import FakeMiner

House = Any
Build = Callable[..., Any]
Eventually = Callable[[Callable[[], object]], Awaitable[None]]


class Returning(FakeMiner):
    """Says which session it had."""

    session: object = None

    async def start(self) -> None:
        self.write(
            {"id": 1, "method": "mining.subscribe", "params": [self.agent, self.session]},
            {"id": 2, "method": "mining.authorize", "params": [self.user, self.password]},
        )
        self.listen()
        self.subscribed(await self.reply(1))
        assert (await self.reply(2))["result"] is True
        self.last_id = 2
        await self.job()

    def subscribed(self, reply: dict[str, Any]) -> None:
        super().subscribed(reply)
        self.session = reply["result"][0][1][1]


async def left(house: House, miner: Returning) -> None:
    """The miner's socket breaks, and the translator has noticed."""
    before = house.translator.parked
    await miner.close()
    async with asyncio.timeout(30):
        while house.translator.parked == before:
            await asyncio.sleep(0.001)


async def test_a_miner_that_names_its_session_goes_on_where_it_was(house: House) -> None:
    first = await house.miner(Returning)
    assert (await first.mine())["result"] is True
    old = first.jobs[-1]
    early = first.find(old)
    await left(house, first)
    assert house.count("translator_sessions_parked") == 1
    second = await house.miner(Returning, session=first.session, counter=100)
    assert second.extranonce1 == first.extranonce1
    assert second.session == first.session
    assert second.jobs[-1].difficulty == old.difficulty
    assert len(house.proxy.opened) == 1
    assert house.proxy.closed == []
    # A share found before the socket broke, on a job of that socket.
    assert (await second.submit(early))["result"] is True
    assert (await second.mine())["result"] is True
    assert house.proxy.bad == []
    assert house.count("translator_sessions_total", end="resumed") == 1
    assert house.count("translator_sessions_parked") == 0


async def test_the_work_sent_again_differs_by_its_time_and_its_job_id(house: House) -> None:
    first = await house.miner(Returning)
    for _ in range(4):
        await left(house, first)
        second = await house.miner(Returning, session=first.session)
        before, after = first.jobs[-1].params, second.jobs[-1].params
        assert after[0] != before[0]
        assert int(after[7], 16) > int(before[7], 16)
        assert after[1:7] == before[1:7]
        assert after[8] is True
        first = second


async def test_a_share_whose_answer_was_lost_is_answered_again_and_credited_once(
    house: House, eventually: Eventually
) -> None:
    first = await house.miner(Returning)
    params = first.find(await first.job())
    assert (await first.submit(params))["result"] is True
    await left(house, first)
    second = await house.miner(Returning, session=first.session)
    assert (await second.submit(params))["result"] is True
    assert (await second.submit(params))["error"] == [22, "Duplicate share", None]
    assert len(house.proxy.opened[0].shares) == 1
    assert house.count("translator_shares_total", result="accepted") == 1


async def test_a_share_that_nobody_has_judged_goes_up_when_it_comes_again(
    house: House, eventually: Eventually
) -> None:
    first = await house.miner(Returning)
    house.proxy.verdict = lambda share: "silence"
    params = first.find(await first.job())
    first.write({"id": 9, "method": "mining.submit", "params": params})
    await eventually(lambda: house.proxy.opened[0].shares)
    await left(house, first)
    house.proxy.hashes.clear()
    second = await house.miner(Returning, session=first.session)
    second.write({"id": 9, "method": "mining.submit", "params": params})
    await eventually(lambda: len(house.proxy.opened[0].shares) == 2)
    house.proxy.connection.say(SubmitSharesSuccess(house.proxy.opened[0].id, 2, 2, 2))
    assert (await second.reply(9))["result"] is True


async def test_the_old_socket_is_cut_when_its_session_is_taken_up_on_another(house: House) -> None:
    first = await house.miner(Returning)
    assert (await first.mine())["result"] is True
    second = await house.miner(Returning, session=first.session)
    await first.until(lambda: first.is_gone)
    assert second.extranonce1 == first.extranonce1
    assert (await second.mine())["result"] is True
    assert len(house.translator) == 1
    assert len(house.proxy.opened) == 1
    assert house.proxy.closed == []
    third = await house.miner(Returning, user="other")
    assert third.extranonce1 != second.extranonce1


async def test_tips_and_targets_that_came_meanwhile_are_known(house: House) -> None:
    first = await house.miner(Returning)
    old = first.jobs[-1]
    await left(house, first)
    house.proxy.new_tip()
    house.proxy.new_job(target=(1 << 247) - 1)
    second = await house.miner(Returning, session=first.session)
    await second.until(lambda: second.jobs[-1].difficulty > old.difficulty)
    assert (await second.submit(second.find(old)))["error"] == [21, "Stale", None]
    assert (await second.mine())["result"] is True
    assert house.proxy.bad == []


async def test_a_channel_that_was_lost_meanwhile_is_waited_for(house: House, eventually: Eventually) -> None:
    first = await house.miner(Returning)
    await left(house, first)
    house.proxy.restart()
    await eventually(lambda: len(house.proxy.opened) == 2)
    second = await house.miner(Returning, session=first.session)
    assert second.extranonce1 == first.extranonce1
    assert (await second.mine())["result"] is True
    assert house.proxy.bad == []


@pytest.mark.parametrize("session", ["", "0" * 32, "deadbeef", 7, ["x"], {"a": 1}, "x" * 1000, True, None])
async def test_an_id_that_nobody_was_given_begins_a_new_session(house: House, session: object) -> None:
    first = await house.miner(Returning)
    await left(house, first)
    second = await house.miner(Returning, session=session, user="other")
    assert second.extranonce1 != first.extranonce1
    assert second.session not in (first.session, session)
    assert house.translator.parked == 1
    assert (await second.mine())["result"] is True


async def test_other_firmware_does_not_get_the_session(house: House) -> None:
    first = await house.miner(Returning)
    await left(house, first)
    second = await house.miner(Returning, session=first.session, agent="other/1", user="other")
    assert second.extranonce1 != first.extranonce1
    assert house.translator.parked == 1
    third = await house.miner(Returning, session=first.session)
    assert third.extranonce1 == first.extranonce1


async def test_another_name_on_a_resumed_session_gets_a_channel_of_its_own(
    house: House, eventually: Eventually
) -> None:
    first = await house.miner(Returning)
    old = first.jobs[-1]
    await left(house, first)
    second = await house.miner(Returning, session=first.session, user="bob")
    assert [channel.identity for channel in house.proxy.opened] == ["alice.rig", "bob"]
    await eventually(lambda: len(house.proxy.closed) == 1)
    assert (await second.submit(second.find(old)))["error"][0] == 21
    assert (await second.mine())["result"] is True
    assert house.proxy.bad == []


async def test_a_session_expires_and_its_channel_and_extranonce_go_with_it(
    build: Build, eventually: Eventually, leap: Callable[[float], None]
) -> None:
    house = await build(session_s=60.0)
    first = await house.miner(Returning)
    await left(house, first)
    leap(60.0)
    await eventually(lambda: house.proxy.closed)
    assert house.count("translator_sessions_parked") == 0
    assert house.count("translator_sessions_total", end="expired") == 1
    second = await house.miner(Returning, session=first.session)
    assert second.extranonce1 != first.extranonce1
    assert second.session != first.session


async def test_a_session_whose_miner_is_released_is_not_kept(
    build: Build, upstream: Any, eventually: Eventually
) -> None:
    house = await build(hold_s=0.1)
    first = await house.miner(Returning)
    await left(house, first)
    upstream.is_down = True
    house.proxy.restart()
    await eventually(lambda: not house.translator.parked)
    upstream.is_down = False
    await eventually(lambda: house.client.is_connected)
    second = await house.miner(Returning, session=first.session)
    assert second.extranonce1 != first.extranonce1
    assert (await second.mine())["result"] is True


async def test_a_session_that_upstream_has_no_room_for_any_more_is_not_kept(
    house: House, eventually: Eventually
) -> None:
    first = await house.miner(Returning)
    await left(house, first)
    house.proxy.size = 8
    house.proxy.restart()
    await eventually(lambda: not house.translator.parked)
    second = await house.miner(Returning, session=first.session)
    assert second.extranonce2_size == 4
    assert (await second.mine())["result"] is True


async def test_where_no_sessions_are_kept_a_channel_ends_with_its_socket(
    build: Build, eventually: Eventually
) -> None:
    house = await build(session_s=0.0)
    first = await house.miner(Returning)
    await first.close()
    await eventually(lambda: house.proxy.closed)
    assert len(house.translator) == house.translator.parked == 0


async def test_miners_that_have_shown_no_work_do_not_displace_those_that_have(build: Build) -> None:
    house = await build(parked_sessions=8)
    worker = await house.miner(Returning)
    assert (await worker.mine())["result"] is True
    await left(house, worker)
    for n in range(4):
        stranger = await house.miner(Returning, user=f"stranger{n}")
        await stranger.close()
        async with asyncio.timeout(30):
            while len(house.translator):
                await asyncio.sleep(0.001)
        assert house.translator.parked == 2
    assert house.count("translator_sessions_total", end="evicted") == 3
    second = await house.miner(Returning, session=worker.session)
    assert second.extranonce1 == worker.extranonce1


async def test_firmware_that_names_no_session_leaves_no_more_than_one_behind(house: House) -> None:
    for _ in range(5):
        miner = await house.miner()
        await left(house, miner) if not house.translator.parked else await miner.close()
        async with asyncio.timeout(30):
            while len(house.translator):
                await asyncio.sleep(0.001)
        assert house.translator.parked == 1
    assert len(house.proxy.opened) == 5


async def test_an_extranonce_is_never_at_two_sockets(house: House) -> None:
    """Miners come and go, with their ids and without; no two that are there have the same."""
    sessions: list[object] = [None]
    live: list[Returning] = []
    for step in range(40):
        miner = await house.miner(
            Returning, user=f"rig{step % 3}", session=sessions[step * 7 % len(sessions)]
        )
        sessions.append(miner.session)
        live.append(miner)
        if step % 4 == 3:
            await live.pop(step % len(live)).close()
        await asyncio.sleep(0)
        present = [each.extranonce1 for each in live if not each.is_gone]
        async with asyncio.timeout(30):
            while len(set(present)) != len(present):
                # One was cut, and has not read so far that it knows.
                await asyncio.sleep(0.001)
                present = [each.extranonce1 for each in live if not each.is_gone]
    held = [miner.granted.extranonce1 for miner in house.translator]
    assert len(set(held)) == len(held)
    assert house.proxy.bad == []
