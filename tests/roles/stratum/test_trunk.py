"""What a trunk says to a pool, and what it makes of the pool's words."""

import asyncio
from fractions import Fraction

import pytest

from protocols.sv1.errors import Rejection
from protocols.translation.errors import ExtranonceTooSmall, SlicesExhausted
from protocols.translation.extranonce import Layout
from roles.stratum.errors import NamesFull
from roles.stratum.submissions import ACCEPTED, LOST, Outcome, Verdict
from tests.roles.stratum.fake_pool import DIFFICULTY_ONE, Params, Peer, fake_pool
from tests.roles.stratum.trunk_bench import bench

HALF = Layout(4)


async def test_a_share_goes_to_the_pool_and_its_verdict_comes_back() -> None:
    async with fake_pool() as pool, bench(pool) as it:
        trunk, extranonce1 = await it.seat(HALF)
        job = await it.job_number(1)
        it.submit(trunk, job, HALF, extranonce1, version_bits=0x6000)
        assert await it.verdict() == ACCEPTED
        assert [share.fault for share in pool.shares] == [""]
        assert it.events == ["opened pool0", "clean job"]
        assert it.changes == [True]
        assert pool.last.agent.startswith("hashpool-sv1_proxy/")
        assert it.count("verdicts_total", result="accepted") == 1
        assert it.trunks.latencies.count == 1
        assert trunk.find(job.number) is job


async def test_a_pool_hears_who_we_are_in_the_order_that_all_of_them_take() -> None:
    async with fake_pool() as pool, bench(pool) as it:
        await it.job_number(1)
        await pool.until(lambda: len(pool.last.heard) >= 4)
        assert [method for method, _ in pool.last.heard] == [
            "mining.configure",
            "mining.subscribe",
            "mining.authorize",
            "mining.extranonce.subscribe",
        ]


async def test_a_difficulty_counts_from_the_next_job_on() -> None:
    async with fake_pool() as pool, bench(pool) as it:
        trunk, extranonce1 = await it.seat(HALF)
        first = await it.job_number(1)
        pool.last.set_difficulty(2**-20)
        pool.last.notify()
        second = await it.job_number(2)
        assert first.target == DIFFICULTY_ONE << 24
        assert second.target == DIFFICULTY_ONE << 20
        it.submit(trunk, first, HALF, extranonce1)
        it.submit(trunk, second, HALF, extranonce1)
        await it.verdict(2)
        assert it.verdicts == [ACCEPTED, ACCEPTED]
        assert [share.fault for share in pool.shares] == ["", ""]


async def test_an_extranonce_and_a_mask_count_from_the_next_job_on() -> None:
    async with fake_pool() as pool, bench(pool) as it:
        trunk, extranonce1 = await it.seat(HALF)
        first = await it.job_number(1)
        pool.last.set_extranonce(b"\x01\x02\x03", 9)
        pool.last.set_mask(0x00C00000)
        pool.last.notify()
        second = await it.job_number(2)
        assert (second.granted.extranonce1, second.granted.extranonce2_size) == (b"\x01\x02\x03", 9)
        assert (first.mask, second.mask) == (0x1FFFE000, 0x00C00000)
        for job in (first, second):
            it.submit(trunk, job, HALF, extranonce1, version_bits=0x00400000)
        await it.verdict(2)
        assert [share.fault for share in pool.shares] == ["", ""]
        assert [len(share.extranonce2) for share in pool.shares] == [8, 9]


async def test_a_pool_without_version_rolling_is_sent_five_parameters() -> None:
    async with fake_pool(mask=0) as pool, bench(pool) as it:
        trunk, extranonce1 = await it.seat(HALF)
        it.submit(trunk, await it.job_number(1), HALF, extranonce1, version_bits=0x6000)
        assert await it.verdict() == ACCEPTED
        assert len(pool.last.heard[-1][1]) == 5


async def test_a_job_with_bits_inside_the_mask_is_mined_with_them() -> None:
    async with fake_pool() as pool, bench(pool) as it:
        trunk, extranonce1 = await it.seat(HALF)
        pool.last.notify(version=0x20006000)
        job = await it.job_number(2)
        it.submit(trunk, job, HALF, extranonce1, version_bits=0x00008000)
        assert await it.verdict() == ACCEPTED
        assert pool.last.heard[-1][1][5] == "0000e000"


async def test_work_sent_again_is_the_same_content() -> None:
    async with fake_pool() as pool, bench(pool) as it:
        first = await it.job_number(1)
        pool.last.notify(again=True)
        again = await it.job_number(2)
        assert again.content == first.content
        assert again.number != first.number
        assert not again.clean


async def test_another_tip_ends_all_work_whatever_the_pool_says_of_it() -> None:
    async with fake_pool() as pool, bench(pool) as it:
        trunk, extranonce1 = await it.seat(HALF)
        first = await it.job_number(1)
        pool.tip += 1
        pool.last.notify()
        assert (await it.job_number(2)).clean
        assert trunk.find(first.number) is None
        it.submit(trunk, first, HALF, extranonce1)
        assert await it.verdict() == Verdict(Outcome.REFUSED, "stale-share")
        assert not pool.shares


async def test_names_are_let_in_now_and_after_each_reconnection() -> None:
    async with fake_pool(refused={"bad"}) as pool, bench(pool, limits={"names": 2}) as it:
        await it.job_number(1)
        told: list[Rejection | None] = []

        def hear(refusal: Rejection | None) -> None:
            told.append(refusal)
            it.changed.set()

        it.first.authorize("us.one", "k=1", hear)
        it.first.authorize("bad", "", hear)
        with pytest.raises(NamesFull):
            it.first.authorize("us.two", "", hear)
        await it.until(lambda: len(told) == 2)
        assert told[0] is None
        assert told[1] is not None
        assert it.first.known_names == it.count("names") == 2
        it.first.forget("bad")
        it.first.forget("bad")
        pool.last.close()
        await it.until(lambda: len(told) == 3)
        assert pool.last.names == {"us": "x", "us.one": "k=1"}
        assert it.first.known_names == it.count("names") == 1


async def test_a_trunk_has_seats_for_as_many_as_it_may() -> None:
    async with fake_pool() as pool, bench(pool, limits={"seats_per_connection": 2}) as it:
        await it.seat(HALF)
        trunk, extranonce1 = await it.seat(Layout(6, 2))
        with pytest.raises(ExtranonceTooSmall):
            trunk.seat(Layout(8))
        with pytest.raises(SlicesExhausted):
            trunk.seat(HALF)
        assert len(trunk) == it.count("seats") == 2
        trunk.give_back(Layout(6, 2), extranonce1)
        trunk.seat(HALF)


async def test_more_shares_than_may_wait_are_not_sent() -> None:
    async with (
        fake_pool(verdict=lambda _peer, _share: None) as pool,
        bench(pool, limits={"open_submits": 1}) as it,
    ):
        trunk, extranonce1 = await it.seat(HALF)
        job = await it.job_number(1)
        it.submit(trunk, job, HALF, extranonce1)
        it.submit(trunk, job, HALF, extranonce1, start=500)
        assert await it.verdict() == LOST
        assert it.trunks.pending == it.count("pending_shares") == 1


async def test_shares_wait_for_others_to_go_up_with_and_a_block_for_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with fake_pool(bits=0x1D00FFFF) as pool, bench(pool, gather_s=60.0) as it:
        trunk, extranonce1 = await it.seat(HALF)
        first = await it.job_number(1)
        pool.bits = 0x207FFFFF
        pool.last.notify()
        second = await it.job_number(2)
        writes: list[int] = []
        line = trunk._line
        assert line is not None
        connection = line.link.connection
        send = connection.send

        def note(*lines: bytes) -> None:
            writes.append(len(lines))
            send(*lines)

        monkeypatch.setattr(type(connection), "send", lambda _, *lines: note(*lines))
        it.submit(trunk, first, HALF, extranonce1)
        it.submit(trunk, first, HALF, extranonce1, start=5_000)
        assert (writes, trunk.pending) == ([], 2)
        it.submit(trunk, second, HALF, extranonce1)
        assert writes == [3]
        await it.verdict(3)
        assert it.verdicts == [ACCEPTED] * 3


async def test_shares_that_have_waited_go_up_and_those_of_a_lost_connection_are_lost() -> None:
    async with fake_pool(bits=0x1D00FFFF) as pool, bench(pool, gather_s=0.01) as it:
        trunk, extranonce1 = await it.seat(HALF)
        job = await it.job_number(1)
        it.submit(trunk, job, HALF, extranonce1)
        assert await it.verdict() == ACCEPTED
        line = trunk._line
        assert line is not None
        line._gather_s = 60.0
        it.submit(trunk, job, HALF, extranonce1, start=5_000)
        pool.last.close()
        assert await it.verdict(2) == LOST
        assert len(pool.shares) == 1


async def test_a_flood_of_jobs_is_thinned_out_to_the_newest() -> None:
    async with fake_pool() as pool, bench(pool, limits={"notifies_per_s": 20}) as it:
        await it.job_number(1)
        for _ in range(500):
            last = pool.last.notify()
        pool.last.notify(clean=True)
        last = pool.last.notify()
        await it.until(lambda: it.jobs[-1][1].notify.job_id == last)
        assert len(it.jobs) < 50
        assert it.jobs[-1][1].clean
        assert it.count("jobs_total", result="left-out") + len(it.jobs) == 503


async def test_old_jobs_of_a_tip_are_forgotten_when_there_are_many() -> None:
    async with fake_pool() as pool, bench(pool, limits={"jobs": 2}) as it:
        trunk, _ = await it.seat(HALF)
        pool.last.notify()
        pool.last.notify()
        await it.job_number(3)
        assert [bool(trunk.find(job.number)) for _, job in it.jobs] == [False, True, True]


async def test_a_pool_that_asks_is_answered_and_what_makes_no_sense_is_counted() -> None:
    async with fake_pool() as pool, bench(pool) as it:
        await it.job_number(1)
        pool.last.line(b'{"id": 7, "method": "mining.ping", "params": []}')
        pool.last.line(b'{"id": 7, "method": "client.get_version", "params": []}')
        pool.last.tell("client.show_message", "hello")
        pool.last.tell("mining.notify", "x")
        pool.last.line(b"{")
        pool.last.notify()
        await it.job_number(2)
        await pool.until(lambda: len(pool.last.heard) >= 6)
        assert it.count("odd_lines_total", what="notify") == it.count("odd_lines_total", what="line") == 1


async def test_work_that_comes_before_its_difficulty_has_it() -> None:
    def authorized(peer: Peer, id: int, params: Params) -> None:
        peer.names[params[0]] = params[1]
        peer.answer(id, True)
        peer.difficulty = Fraction(1, 1 << 20)
        peer.notify(clean=True)
        peer.set_difficulty(float(peer.difficulty))

    async with fake_pool(answers={"mining.authorize": authorized}) as pool, bench(pool) as it:
        assert (await it.job_number(1)).target == DIFFICULTY_ONE << 20


async def test_a_pool_that_suggests_nothing_has_difficulty_one() -> None:
    def authorized(peer: Peer, id: int, params: Params) -> None:
        peer.answer(id, True)
        peer.notify(clean=True)

    async with fake_pool(answers={"mining.authorize": authorized}) as pool, bench(pool) as it:
        assert (await it.job_number(1)).target == DIFFICULTY_ONE


async def test_ids_of_any_form_and_any_order_are_matched() -> None:
    held: list[tuple[Peer, int]] = []
    async with (
        fake_pool(verdict=lambda peer, share: held.append((peer, share.id))) as pool,
        bench(pool) as it,
    ):
        trunk, extranonce1 = await it.seat(HALF)
        job = await it.job_number(1)
        it.submit(trunk, job, HALF, extranonce1)
        await pool.until(lambda: len(held) == 1)
        it.submit(trunk, job, HALF, extranonce1, start=500)
        await pool.until(lambda: len(held) == 2)
        (peer, first), (_, second) = held
        peer.answer(str(second), True)
        await it.verdict(1)
        peer.answer(first, False)
        await it.verdict(2)
        assert it.verdicts == [ACCEPTED, Verdict(Outcome.REFUSED, "Rejected")]


async def test_trunks_end_when_they_are_told_to() -> None:
    async with fake_pool() as pool:
        async with bench(pool) as it:
            await it.job_number(1)
        await pool.last.closed()
        assert it.trunks.more() is None
        await asyncio.sleep(0)
        assert it.events[-1].startswith("lost")
