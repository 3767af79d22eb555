"""Pools in order of preference, and further connections to the one in use."""

import asyncio

from protocols.sv1.errors import Rejection
from protocols.translation.extranonce import Layout
from roles.stratum.submissions import ACCEPTED, LOST
from roles.stratum.upstream_meters import UpstreamState
from tests.roles.stratum.fake_pool import Peer, Share, fake_pool
from tests.roles.stratum.trunk_bench import bench

HALF = Layout(4)
BYTE = Layout(2, 1)


async def test_the_next_pool_is_turned_to_and_miners_keep_their_part() -> None:
    async with fake_pool() as first, fake_pool() as second, bench(first, second) as it:
        trunk, extranonce1 = await it.seat(HALF)
        await it.job_number(1)
        first.close()
        job = await it.job_number(2)
        assert it.events == ["opened pool0", "clean job", it.events[2], "opened pool1", "clean job"]
        assert it.events[2].startswith("lost: ")
        assert (it.trunks.upstream, it.trunks.failovers) == ("pool1", 1)
        it.submit(trunk, job, HALF, extranonce1)
        assert await it.verdict() == ACCEPTED
        assert [share.fault for share in second.shares] == [""]
        assert it.trunks.upstreams[0].state is UpstreamState.AWAY


async def test_a_better_pool_that_is_back_is_moved_to_without_a_gap() -> None:
    held: list[tuple[Peer, Share]] = []
    async with (
        fake_pool() as best,
        fake_pool(verdict=lambda peer, share: held.append((peer, share))) as other,
    ):
        best.close()
        async with bench(best, other, failback_s=0.1) as it:
            trunk, extranonce1 = await it.seat(HALF)
            it.submit(trunk, await it.job_number(1), HALF, extranonce1)
            await other.until(lambda: held)
            await best.open()
            job = await it.job_number(2)
            assert it.events == ["opened pool1", "clean job", "opened pool0", "clean job"]
            # Who is left may still answer.
            peer, share = held[0]
            peer.answer(share.id, True)
            assert await it.verdict() == ACCEPTED
            await peer.closed()
            it.submit(trunk, job, HALF, extranonce1)
            assert await it.verdict(2) == ACCEPTED
            assert it.trunks.failovers == 1
            # Those with which it was proven are closed.
            assert sum(not each.gone.is_set() for each in best.peers) == 1


async def test_a_pool_that_is_left_and_does_not_answer_is_waited_for_in_vain() -> None:
    async with fake_pool() as best, fake_pool(verdict=lambda _peer, _share: None) as other:
        best.close()
        async with bench(best, other, failback_s=0.1, farewell_s=0.1) as it:
            trunk, extranonce1 = await it.seat(HALF)
            it.submit(trunk, await it.job_number(1), HALF, extranonce1)
            await best.open()
            assert await it.verdict() == LOST
            assert it.trunks.upstream == "pool0"
            assert not any(event.startswith("lost") for event in it.events)


async def test_a_pool_that_is_lost_again_and_again_comes_after_the_others() -> None:
    async with fake_pool() as first, fake_pool() as second, bench(first, second, stable_s=60.0) as it:
        await it.job_number(1)
        first.last.close()
        await it.job_number(2)
        assert it.trunks.upstream == "pool1"


async def test_names_are_for_the_pool_that_they_were_told_to() -> None:
    async with fake_pool() as first, fake_pool() as second, bench(first, second) as it:
        await it.job_number(1)
        told: list[Rejection | None] = []
        it.first.authorize("us.one", "k=secret", told.append)
        await first.until(lambda: len(first.last.names) == 2)
        first.close()
        await it.job_number(2)
        assert it.first.known_names == 0
        it.first.authorize("account.one", "x", told.append)
        await second.until(lambda: len(second.last.names) == 2)
        assert second.last.names == {"us": "x", "account.one": "x"}


async def test_a_further_connection_is_opened_and_its_seats_may_be_had_at_once() -> None:
    async with fake_pool(extranonce2_size=3) as pool, bench(pool, limits={"connections": 2}) as it:
        await it.job_number(1)
        further = it.trunks.more()
        assert further is not None
        assert it.trunks.more() is None
        extranonce1 = further.seat(BYTE)
        assert not further.is_connected
        job = await it.job_number(2)
        assert it.jobs[1][0] is further
        assert len(it.trunks) == it.count("trunks") == 2
        it.submit(further, job, BYTE, extranonce1)
        assert await it.verdict() == ACCEPTED
        assert job.granted.extranonce1 != it.jobs[0][1].granted.extranonce1
        assert job.number != it.jobs[0][1].number


async def test_further_connections_follow_to_another_pool_and_come_back_after_a_loss() -> None:
    async with fake_pool() as first, fake_pool() as second, bench(first, second) as it:
        await it.job_number(1)
        further = it.trunks.more()
        assert further is not None
        further.seat(HALF)
        await it.until(lambda: further.is_connected)
        first.last.close()
        await it.until(lambda: len(first.peers) == 3 and further.is_connected)
        assert it.first.is_connected
        first.close()
        await it.until(lambda: it.first.pool == further.pool == "pool1" and further.is_connected)
        assert len(second.peers) == 2


async def test_further_connections_stay_where_they_are_when_the_first_is_lost_alone() -> None:
    async with fake_pool() as pool, bench(pool) as it:
        await it.job_number(1)
        further = it.trunks.more()
        assert further is not None
        further.seat(HALF)
        await it.until(lambda: further.is_connected)
        pool.peers[0].close()
        await it.until(lambda: len(pool.peers) == 3 and it.first.is_connected)
        pool.peers[2].close()
        await it.until(lambda: len(pool.peers) == 4 and it.first.is_connected)
        other = it.trunks.more()
        assert other is not None
        other.seat(HALF)
        await it.until(lambda: other.is_connected)
        assert [peer.gone.is_set() for peer in pool.peers] == [True, False, True, False, False]


async def test_a_further_connection_that_fails_is_tried_again() -> None:
    async with fake_pool() as pool, bench(pool) as it:
        await it.job_number(1)
        pool.answers["mining.authorize"] = lambda peer, _id, _params: peer.close()
        further = it.trunks.more()
        assert further is not None
        further.seat(HALF)
        await pool.until(lambda: len(pool.peers) >= 3)
        assert it.first.is_connected
        del pool.answers["mining.authorize"]
        await it.until(lambda: further.is_connected)


async def test_a_further_connection_is_closed_when_nobody_has_sat_on_it_for_a_while() -> None:
    async with fake_pool() as pool, bench(pool) as it:
        it.trunks.idle_trunk_s = 0.05
        await it.job_number(1)
        further = it.trunks.more()
        assert further is not None
        await it.until(lambda: further.is_connected)
        await pool.last.closed()
        await pool.until(lambda: len(it.trunks) == 1)
        assert it.first.is_connected


async def test_a_session_is_gone_on_with_and_its_work_still_counts() -> None:
    async with fake_pool(resumes=True, keeps_tip=True) as pool, bench(pool) as it:
        trunk, extranonce1 = await it.seat(HALF)
        first = await it.job_number(1)
        pool.last.close()
        again = await it.job_number(2)
        assert pool.last.asked_session == first.granted.session
        assert again.granted == first.granted
        assert again.serial == first.serial
        assert not again.clean
        assert trunk.find(first.number) is first
        pool.last.jobs.update(pool.peers[0].jobs)
        it.submit(trunk, first, HALF, extranonce1)
        assert await it.verdict() == ACCEPTED
        assert it.count("sessions_resumed_total") == 1


async def test_a_session_that_is_not_gone_on_with_is_asked_for_once() -> None:
    async with fake_pool() as pool, bench(pool) as it:
        first = await it.job_number(1)
        pool.last.close()
        second = await it.job_number(2)
        assert pool.last.asked_session == first.granted.session
        assert second.serial != first.serial
        assert second.clean


async def test_a_session_is_not_asked_for_after_too_long() -> None:
    async with fake_pool() as pool, bench(pool, resume_s=0.0) as it:
        await it.job_number(1)
        pool.last.close()
        await it.job_number(2)
        assert pool.last.asked_session == ""


async def test_failback_can_be_turned_on_while_it_runs() -> None:
    async with fake_pool() as best, fake_pool() as other:
        best.close()
        async with bench(best, other) as it:
            await it.job_number(1)
            await best.open()
            it.trunks.failback(0.05)
            other.last.close()
            await it.until(lambda: it.trunks.upstream == "pool0")
            await asyncio.sleep(0)
            assert it.trunks.is_connected
