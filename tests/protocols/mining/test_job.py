from typing import Any

import pytest

from protocols.bitcoin.errors import CoinbaseError
from protocols.bitcoin.transaction import TxOut
from protocols.mining.errors import StaleShare, UnknownJob
from protocols.mining.job import (
    MAX_FUTURE,
    MAX_PAST,
    Job,
    JobIds,
    JobStore,
    Template,
    Tip,
    Work,
    build_work,
    coinbase_tag,
)


def job(store: JobStore[Job], work: Work, tip: Tip) -> Job:
    return Job(store.next_id(), work, tip, 1)


def test_a_job_is_future_then_active_then_past_then_stale_then_unknown(make_work: Any, make_tip: Any) -> None:
    store, work = JobStore[Job](), make_work()
    first, second, third, fourth = (job(store, work, make_tip()) for _ in range(4))
    store.queue(first)
    with pytest.raises(UnknownJob):
        store.find(first.job_id)
    store.activate(first.job_id)
    assert store.find(first.job_id) is first
    store.replace(second)
    assert store.find(first.job_id) is first
    assert store.find(second.job_id) is second
    assert [store.age(job) for job in (second, first)] == [0, 1]
    store.queue(third)
    store.activate(third.job_id)
    for stale in (first, second):
        with pytest.raises(StaleShare) as caught:
            store.find(stale.job_id)
        assert caught.value.code == "stale-share"
    store.queue(fourth)
    store.activate(fourth.job_id)
    with pytest.raises(UnknownJob) as unknown:
        store.find(first.job_id)
    assert unknown.value.code == "invalid-job-id"


def test_only_a_future_job_can_be_activated_and_others_are_dropped_then(
    make_work: Any, make_tip: Any
) -> None:
    store, work = JobStore[Job](), make_work()
    first, second = (job(store, work, make_tip()) for _ in range(2))
    store.queue(first)
    store.queue(second)
    store.activate(second.job_id)
    for job_id in (first.job_id, second.job_id, 99):
        with pytest.raises(UnknownJob):
            store.activate(job_id)


def test_the_oldest_future_and_past_jobs_give_way(make_work: Any, make_tip: Any) -> None:
    store, work = JobStore[Job](), make_work()
    queued = [job(store, work, make_tip()) for _ in range(MAX_FUTURE + 1)]
    for one in queued:
        store.queue(one)
    with pytest.raises(UnknownJob):
        store.activate(queued[0].job_id)
    store.activate(queued[1].job_id)
    kept = [job(store, work, make_tip()) for _ in range(MAX_PAST + 1)]
    for one in kept:
        store.replace(one)
    with pytest.raises(UnknownJob):
        store.find(queued[1].job_id)
    assert store.find(kept[0].job_id) is kept[0]


def test_a_job_may_start_without_a_tip_before_it(make_work: Any, make_tip: Any) -> None:
    store = JobStore[Job]()
    first = job(store, make_work(), make_tip())
    store.replace(first)
    assert store.find(first.job_id) is first


def test_job_ids_are_never_zero_and_start_again_after_the_last() -> None:
    ids = JobIds()
    assert ids.next() == 1
    ids._last = 0xFFFFFFFF
    assert ids.next() == 1


def test_stores_with_common_ids_never_give_the_same_one() -> None:
    ids = JobIds()
    one, other = JobStore[Job](ids), JobStore[Job](ids)
    assert [one.next_id(), other.next_id(), one.next_id()] == [1, 2, 3]


def test_a_tip_without_work_leaves_nothing_to_mine_on(make_work: Any, make_tip: Any) -> None:
    store, work = JobStore[Job](), make_work()
    first, second, third = (job(store, work, make_tip()) for _ in range(3))
    store.replace(first)
    store.replace(second)
    store.queue(third)
    store.retire()
    assert store.active is None
    for stale in (first, second):
        with pytest.raises(StaleShare):
            store.find(stale.job_id)
    with pytest.raises(UnknownJob):
        store.activate(third.job_id)
    store.retire()
    with pytest.raises(UnknownJob):
        store.find(first.job_id)


def test_the_coinbase_says_pool_and_revision(make_template: Any) -> None:
    assert coinbase_tag("pool", 0) == b"Sv2/pool//"
    assert coinbase_tag("pool", 26) == b"Sv2/pool/1a/"
    with pytest.raises(CoinbaseError):
        coinbase_tag("x" * 56, 0)
    built = build_work(make_template(), [TxOut(5_000_000_000, b"\x51")], pool="pool", revision=26)
    assert b"Sv2/pool/1a/" in built.coinbase(bytes(20))
    assert built.revision == 26
    assert built.coinbase(b"\7" * 20) == built.prefix + b"\7" * 20 + built.suffix


def test_the_rewards_take_the_whole_value(make_template: Any) -> None:
    with pytest.raises(CoinbaseError):
        build_work(make_template(), [TxOut(1, b"\x51")], pool="pool", revision=0)


def test_a_template_names_its_origin(make_template: Any) -> None:
    template: Template = make_template(7)
    assert build_work(template, [TxOut(5_000_000_000, b"")], pool="", revision=0).origin == 7


def test_work_is_proved_on_the_tip_that_is_asked_for(make_work: Any, make_tip: Any) -> None:
    work = make_work()
    one, other = make_tip(), make_tip(2)
    headers = [work.prover(tip).prove(b"x", 1, 2, 3)[0] for tip in (one, other, one)]
    assert [header[4:36] for header in headers] == [one.previous, other.previous, one.previous]
    assert work.prover(one) is work.prover(one)
