"""SV1 pools that misbehave: a fake pool does on purpose what some do by mistake."""

import json
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest

from protocols.translation.errors import ExtranonceTooSmall
from protocols.translation.extranonce import Layout
from roles.stratum.submissions import ACCEPTED, LOST, Outcome, Verdict
from tests.roles.stratum.fake_pool import COINBASE1, FakePool, Params, Peer, Share, accept, fake_pool, swapped
from tests.roles.stratum.trunk_bench import Bench, bench

HALF = Layout(4)


def once(pool: FakePool, method: str, act: Callable[[Peer, int, Params], None]) -> None:
    """The pool does this on a method, the first time that it is asked."""

    def answer(peer: Peer, id: int, params: Params) -> None:
        del pool.answers[method]
        act(peer, id, params)

    pool.answers[method] = answer


def hang_up(peer: Peer, _id: int, _params: Params) -> None:
    peer.close()


def authorize_and_hang_up(peer: Peer, id: int, _params: Params) -> None:
    peer.answer(id, True)
    peer.close()


def begin_work_and_hang_up(peer: Peer, id: int, _params: Params) -> None:
    peer.answer(id, True)
    peer.set_difficulty(1.0)
    peer.writer.write(b'{"id": null, "method": "mining.notify", "params": ["1", "00')
    peer.close()


@pytest.mark.parametrize(
    ("method", "act"),
    [
        ("mining.configure", hang_up),
        ("mining.subscribe", hang_up),
        ("mining.authorize", hang_up),
        ("mining.authorize", authorize_and_hang_up),
        ("mining.authorize", begin_work_and_hang_up),
        ("mining.extranonce.subscribe", hang_up),
    ],
)
async def test_a_pool_that_hangs_up_while_we_introduce_ourselves_is_dialled_again(
    method: str, act: Callable[[Peer, int, Params], None]
) -> None:
    async with fake_pool() as pool:
        once(pool, method, act)
        async with bench(pool) as it:
            await it.until(lambda: len(pool.peers) > 1 and it.first.is_connected)
            await mine_one(it)
            assert pool.shares[-1].fault == ""


async def test_a_pool_that_accepts_and_hangs_up_is_dialled_again() -> None:
    async with fake_pool() as pool, bench(pool) as it:
        await it.job_number(1)
        pool.last.close()
        pool.close()
        await it.until(lambda: it.changes[-1] is False)
        await pool.open()
        await it.until(lambda: it.changes[-1] is True)
        await mine_one(it)


async def test_a_pool_that_hangs_up_with_shares_unanswered_leaves_their_fate_unknown() -> None:
    def hang_up_once(peer: Peer, _share: Share) -> None:
        pool.verdict = accept
        peer.close()

    async with fake_pool(verdict=hang_up_once) as pool, bench(pool) as it:
        trunk, extranonce1 = await it.seat(HALF)
        first = await it.job_number(1)
        it.submit(trunk, first, HALF, extranonce1)
        assert await it.verdict() == LOST
        second = await it.job_number(2)
        assert second.serial != first.serial
        assert second.clean
        it.submit(trunk, first, HALF, extranonce1)
        assert await it.verdict(2) == LOST
        it.submit(trunk, second, HALF, extranonce1)
        assert await it.verdict(3) == ACCEPTED
        assert it.count("verdicts_total", result="lost") == 2
        assert it.count("pending_shares") == 0


async def test_a_pool_that_hangs_up_on_what_it_does_not_know_is_asked_for_less() -> None:
    async with fake_pool(answers={"mining.configure": hang_up}) as pool, bench(pool) as it:
        job = await it.job_number(1)
        assert job.mask == 0
        assert [method for method, _ in pool.last.heard] == ["mining.subscribe", "mining.authorize"]


async def test_a_pool_that_shrinks_the_extranonce_leaves_no_work_for_whom_it_is_too_small() -> None:
    async with fake_pool() as pool, bench(pool) as it:
        await it.seat(HALF)
        pool.last.set_extranonce(b"\x01", 6)
        pool.last.notify()
        job = await it.job_number(2)
        with pytest.raises(ExtranonceTooSmall):
            job.work(HALF)
        assert job.work(Layout(4, 2))


async def test_a_pool_that_shrinks_the_extranonce_is_left_where_there_is_another() -> None:
    async with fake_pool() as bad, fake_pool() as good, bench(bad, good) as it:
        await it.seat(HALF)
        bad.last.set_extranonce(b"\x01", 6)
        bad.last.notify()
        await it.until(lambda: it.trunks.upstream == "pool1")
        await mine_one(it)
        assert len(good.shares) == 1


async def test_a_pool_that_grants_less_than_miners_here_need_is_turned_to_last() -> None:
    async with (
        fake_pool() as first,
        fake_pool(extranonce2_size=6) as small,
        fake_pool() as good,
        bench(first, small, good) as it,
    ):
        await it.seat(HALF)
        first.close()
        await it.until(lambda: it.trunks.upstream == "pool2")
        good.close()
        await it.until(lambda: it.trunks.upstream == "pool1")
        assert it.trunks.extranonce2_size == 6


async def test_a_pool_that_grants_hardly_any_extranonce_is_of_no_use() -> None:
    async with (
        fake_pool(extranonce2_size=2) as bad,
        fake_pool(extranonce2_size=3) as good,
        bench(bad, good) as it,
    ):
        await it.job_number(1)
        assert it.trunks.upstream == "pool1"
        assert "2 bytes" in it.trunks.upstreams[0].failure


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({"result": None, "error": "Above target"}, "difficulty-too-low"),
        ({"result": None, "error": {"code": 21, "message": "Stale"}}, "stale-share"),
        ({"result": False, "error": None, "reject-reason": "Duplicate"}, "duplicate-share"),
        ({"result": False, "error": None}, "Rejected"),
        ({"result": None, "error": [21, "Job not found", None]}, "invalid-job-id"),
        ({"result": True, "error": [20, "Ntime out of range", None]}, "invalid-share"),
        ({"result": None, "error": None}, "No verdict in the answer"),
        ({"result": None, "error": {"code": "x", "message": None}}, "Rejected"),
    ],
)
async def test_a_rejection_is_understood_in_whatever_form_it_comes(answer: dict[str, Any], code: str) -> None:
    def reject(peer: Peer, share: Share) -> None:
        peer.line(json.dumps({"id": share.id} | answer).encode())

    async with fake_pool(verdict=reject) as pool, bench(pool) as it:
        await mine_one(it, Verdict(Outcome.REFUSED, code))


async def test_verdicts_out_of_order_and_twice_are_each_told_once_to_whom_they_are_for() -> None:
    shares: list[Share] = []

    def answer_three(peer: Peer, share: Share) -> None:
        shares.append(share)
        if len(shares) == 3:
            for each in (shares[2], shares[0], shares[0], shares[2], shares[1]):
                peer.answer(each.id, each is not shares[1], None)

    async with fake_pool(verdict=answer_three) as pool, bench(pool) as it:
        trunk, extranonce1 = await it.seat(HALF)
        job = await it.job_number(1)
        settled: dict[int, list[Verdict]] = {0: [], 1: [], 2: []}
        for place, verdicts in settled.items():
            it.submit(trunk, job, HALF, extranonce1, start=1000 * place, settle=verdicts.append)
        await pool.until(lambda: len(shares) == 3)
        pool.last.notify()
        await it.job_number(2)
        assert settled[0] == settled[2] == [ACCEPTED]
        assert [verdict.outcome for verdict in settled[1]] == [Outcome.REFUSED]
        assert it.count("odd_lines_total", what="answer") == 2


async def test_a_verdict_that_comes_too_late_is_counted_and_changes_nothing() -> None:
    held: list[Share] = []
    async with (
        fake_pool(verdict=lambda _peer, share: held.append(share)) as pool,
        bench(pool, answer_s=0.1) as it,
    ):
        await mine_one(it, LOST)
        await pool.until(lambda: held)
        pool.last.answer(held[0].id, True)
        pool.last.notify()
        await it.job_number(2)
        assert it.verdicts == [LOST]
        assert it.count("verdicts_total", result="late") == it.count("verdicts_total", result="lost") == 1
        assert it.first.is_connected


async def test_a_pool_that_never_answers_shares_is_left_where_there_is_another() -> None:
    async with (
        fake_pool(verdict=lambda _peer, _share: None) as mute,
        fake_pool() as good,
        bench(mute, good, answer_s=0.1) as it,
    ):
        await mine_one(it, LOST)
        await it.until(lambda: it.trunks.upstream == "pool1")
        assert "does not answer shares" in it.trunks.upstreams[0].failure


async def test_a_pool_that_says_nothing_any_more_is_asked_and_left() -> None:
    async with fake_pool() as mute, fake_pool() as good, bench(mute, good, stall_s=0.1) as it:
        await it.job_number(1)
        mute.answers["mining.authorize"] = lambda _peer, _id, _params: None
        await it.until(lambda: it.trunks.upstream == "pool1")
        assert "says nothing" in it.trunks.upstreams[0].failure


async def test_a_pool_that_answers_when_it_is_asked_is_stayed_with() -> None:
    async with fake_pool() as pool, bench(pool, stall_s=1.0) as it:
        await it.job_number(1)
        await pool.until(lambda: [method for method, _ in pool.last.heard].count("mining.authorize") >= 3)
        assert len(pool.peers) == 1


async def test_a_pool_that_gives_no_more_work_is_left() -> None:
    async with fake_pool() as pool, bench(pool, work_s=1.0) as it:
        await it.until(lambda: len(it.jobs) == 2)
        assert "lost: the pool gives no work" in it.events


async def test_a_notify_of_200_kilobytes_ends_the_connection_and_says_why() -> None:
    async with fake_pool() as pool, bench(pool) as it:
        await it.job_number(1)
        pool.last.tell(
            "mining.notify", "1", swapped(bytes(32)), (COINBASE1 * 2000).hex(), "", [], "0", "0", "0", True
        )
        await it.job_number(2)
        assert "lost: the pool sends a line that is too long" in it.events


async def test_a_notify_of_200_kilobytes_right_at_the_beginning_does_too() -> None:
    def flood(peer: Peer, id: int, _params: Params) -> None:
        peer.answer(id, True)
        peer.line(b'{"id": null, "method": "mining.notify", "params": ["' + b"0" * 200_000 + b'"]}')

    async with fake_pool() as pool:
        once(pool, "mining.authorize", flood)
        async with bench(pool) as it:
            await it.job_number(1)
            assert len(pool.peers) == 2


async def test_a_pool_that_says_far_too_much_is_not_read_from_for_a_while() -> None:
    async with fake_pool() as pool, bench(pool, limits={"lines_per_s": 100}) as it:
        await it.job_number(1)
        for _ in range(1_010):
            pool.last.tell("mining.new_thing")
        pool.last.notify()
        await it.job_number(2)
        assert it.count("throttled_total") >= 1
        assert it.count("odd_lines_total", what="method") == 1_010


async def test_a_difficulty_that_moves_between_notify_and_submit_does_not_touch_the_present_work() -> None:
    def judge_by_present(peer: Peer, share: Share) -> None:
        judged = [21, "Difficulty too low", None] if peer.difficulty > Fraction(1, 1 << 20) else None
        peer.answer(share.id, judged is None, judged)

    async with fake_pool(verdict=judge_by_present) as pool, bench(pool) as it:
        trunk, extranonce1 = await it.seat(HALF)
        job = await it.job_number(1)
        pool.last.set_difficulty(2**-10)
        it.submit(trunk, job, HALF, extranonce1)
        assert await it.verdict() == Verdict(Outcome.REFUSED, "difficulty-too-low")
        assert it.jobs[-1][1] is job


async def test_a_redirect_to_another_domain_is_not_followed() -> None:
    async with fake_pool() as pool, bench(pool) as it:
        await it.job_number(1)
        pool.last.tell("client.reconnect", "evil.example", 3333, 0)
        pool.last.tell("client.reconnect", "127.0.0.2", 3333, 0)
        pool.last.notify()
        await it.job_number(2)
        assert len(pool.peers) == 1
        assert it.count("redirects_total", result="refused") == 2


async def test_a_redirect_within_the_domain_is_followed_and_says_nothing_against_the_pool() -> None:
    async with (
        fake_pool() as pool,
        fake_pool() as same,
        fake_pool() as other,
        bench(pool, other, stable_s=60.0) as it,
    ):
        await it.job_number(1)
        pool.last.tell("client.reconnect", "127.0.0.1", same.address.port, 0)
        await it.job_number(2)
        assert (len(same.peers), len(other.peers)) == (1, 0)
        assert it.trunks.upstream == "pool0"


async def test_a_pool_that_redirects_for_ever_is_followed_a_few_times_only() -> None:
    def send_away(peer: Peer, id: int, params: Params) -> None:
        peer.subscribed(id, params)
        peer.tell("client.reconnect", "", pool.address.port, 0)

    async with fake_pool(answers={"mining.subscribe": send_away}) as pool, bench(pool, stable_s=60.0) as it:
        await it.job_number(1)
        assert len(pool.peers) == 4


async def test_a_pool_that_refuses_our_name_or_a_subscription_says_why_no_work_comes() -> None:
    def full(peer: Peer, id: int, _params: Params) -> None:
        peer.answer(id, None, [20, "Full house", None])

    async with (
        fake_pool(refused={"us"}) as closed,
        fake_pool(answers={"mining.subscribe": full}) as busy,
        fake_pool() as good,
        bench(closed, busy, good) as it,
    ):
        await it.job_number(1)
        assert it.trunks.upstream == "pool2"
        assert "does not let our name in: Unauthorized worker" in it.trunks.upstreams[0].failure
        assert "Full house" in it.trunks.upstreams[1].failure


@pytest.mark.parametrize(
    ("method", "lack"),
    [
        ("mining.subscribe", "an answer to the subscription"),
        ("mining.authorize", "a word on our name"),
    ],
)
async def test_a_pool_that_does_not_answer_is_given_up_in_time(method: str, lack: str) -> None:
    async with fake_pool() as mute:
        once(mute, method, lambda _peer, _id, _params: None)
        async with bench(mute, setup_s=0.5) as it:
            await it.until(lambda: it.changes)
            assert it.changes == [False]
            assert lack in it.trunks.failure
            await it.job_number(1)
            assert it.trunks.failure == ""


async def test_a_pool_that_hung_up_for_want_of_work_has_versions_rolled_all_the_same() -> None:
    async with fake_pool() as pool:
        once(pool, "mining.configure", hang_up)
        async with bench(pool) as it:
            assert (await it.job_number(1)).mask == pool.mask
            await mine_one(it)


async def test_a_pool_that_hangs_up_on_version_rolling_is_mined_at_without() -> None:
    async with fake_pool(answers={"mining.configure": hang_up}) as pool, bench(pool) as it:
        assert (await it.job_number(1)).mask == 0
        await mine_one(it)
        assert it.first.is_connected
        assert len(pool.peers) == 3


async def mine_one(it: Bench, expected: Verdict = ACCEPTED) -> None:
    """Find a share for the present job and have it answered."""
    await it.until(lambda: it.first.job is not None)
    trunk, extranonce1 = await it.seat(HALF)
    job, before = trunk.job, len(it.verdicts)
    assert job is not None
    it.submit(trunk, job, HALF, extranonce1)
    assert await it.verdict(before + 1) == expected
