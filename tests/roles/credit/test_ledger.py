import asyncio
from pathlib import Path
from typing import Any

import pytest

from protocols.bitcoin.secp256k1 import public_key
from protocols.bitcoin.target import from_work
from protocols.ehash.amount import Valuation
from protocols.ehash.errors import CreditCode
from protocols.ehash.shift import ShiftRule
from roles.credit.batch import PLACES
from roles.credit.errors import LedgerUnusable
from roles.credit.ledger_rows import Fate, Record
from roles.credit.shift_roll import Pricing
from roles.runtime.errors import CommitFailed
from roles.runtime.storage import Database, Done, IntegrityError, open_readonly

KEY = public_key(bytes(31) + b"\x02")
OTHER = public_key(bytes(31) + b"\x03")


async def test_rows_are_numbered_from_1_without_gaps_in_the_order_of_their_batch(
    open_ledger: Any, make_entry: Any
) -> None:
    ledger = await open_ledger()
    assert ledger.last_seq == 0
    first = await ledger.append([make_entry(number) for number in range(3)])
    second = await ledger.append([make_entry(number) for number in range(3, 5)])
    assert first == [Record(Fate.RECORDED, seq) for seq in (1, 2, 3)]
    assert second == [Record(Fate.RECORDED, seq) for seq in (4, 5)]
    assert ledger.last_seq == 5
    rows = await ledger.rows_after(0, 10)
    assert [row.seq for row in rows] == [1, 2, 3, 4, 5]
    assert [row.header for row in rows] == [make_entry(number).header for number in range(5)]


async def test_a_row_says_all_that_the_mint_must_know(open_ledger: Any, make_entry: Any) -> None:
    ledger = await open_ledger()
    entry = make_entry(7, amount=9, block=True)
    await ledger.append([entry])
    (row,) = await ledger.rows_after(0, 1)
    assert row.pricing == Pricing(8, Valuation.TARGET)
    assert (row.time, row.shift) == (1_700_000_000_000, 0)
    assert (row.share_hash, row.header, row.target) == (entry.share_hash, entry.header, entry.target)
    assert (row.amount, row.key, row.block) == (9, KEY, True)


async def test_concurrent_batches_share_commits_and_leave_no_gap(open_ledger: Any, make_entry: Any) -> None:
    ledger = await open_ledger()
    batches = [[make_entry(10 * batch + place) for place in range(10)] for batch in range(40)]
    fates = await asyncio.gather(*(ledger.append(batch) for batch in batches))
    seqs = sorted(record.seq for records in fates for record in records)
    assert seqs == list(range(1, 401))
    for records in fates:
        assert [record.seq for record in records] == list(range(records[0].seq, records[0].seq + 10))


async def test_callers_of_one_commit_hear_of_their_own_entries(open_ledger: Any, make_entry: Any) -> None:
    ledger = await open_ledger()
    await ledger.append([make_entry(1)])
    told = await asyncio.gather(
        ledger.append([make_entry(2)]),
        ledger.append([make_entry(1), make_entry(3)]),
        ledger.append([]),
        ledger.append([make_entry(4), make_entry(1, key=OTHER)]),
    )
    assert [[(record.fate, record.seq) for record in mine] for mine in told] == [
        [(Fate.RECORDED, 2)],
        [(Fate.REPEATED, 1), (Fate.RECORDED, 3)],
        [],
        [(Fate.RECORDED, 4), (Fate.DUPLICATE, 1)],
    ]


async def test_entries_that_fill_a_record_do_not_wait_for_others(open_ledger: Any, make_entry: Any) -> None:
    ledger = await open_ledger()
    ledger.gather_s = 3600.0
    callers = [asyncio.ensure_future(ledger.append([make_entry(number)])) for number in range(PLACES - 1)]
    await asyncio.sleep(0)
    assert ledger.last_seq == 0
    last = await asyncio.wait_for(ledger.append([make_entry(PLACES)]), 30)
    assert [record.seq for record in last] == [PLACES]
    assert [(await caller)[0].seq for caller in callers] == list(range(1, PLACES))


async def test_a_share_that_stands_there_is_a_repetition_for_its_key_and_a_duplicate_for_another(
    open_ledger: Any, make_entry: Any
) -> None:
    ledger = await open_ledger()
    await ledger.append([make_entry(1), make_entry(2)])
    records = await ledger.append(
        [make_entry(3), make_entry(1), make_entry(2, OTHER), make_entry(4), make_entry(4)]
    )
    assert records == [
        Record(Fate.RECORDED, 3),
        Record(Fate.REPEATED, 1),
        Record(Fate.DUPLICATE, 2),
        Record(Fate.RECORDED, 4),
        Record(Fate.REPEATED, 4),
    ]
    assert ledger.last_seq == 4
    assert [row.seq for row in await ledger.rows_after(0, 10)] == [1, 2, 3, 4]


async def test_repetitions_are_known_after_a_restart(open_ledger: Any, make_entry: Any) -> None:
    ledger = await open_ledger()
    store_id = ledger.store_id
    await ledger.append([make_entry(1), make_entry(2)])
    again = await open_ledger()
    assert again.store_id == store_id
    assert again.last_seq == 2
    assert await again.append([make_entry(2), make_entry(3)]) == [
        Record(Fate.REPEATED, 2),
        Record(Fate.RECORDED, 3),
    ]


async def test_the_same_hash_on_another_tip_is_another_share(open_ledger: Any, make_entry: Any) -> None:
    ledger = await open_ledger()
    here, there = make_entry(1), make_entry(1, tip=2)
    twin = there._replace(share_hash=here.share_hash)
    assert [record.fate for record in await ledger.append([here, twin])] == [Fate.RECORDED] * 2


async def test_time_never_decreases_even_when_the_clock_does(
    open_ledger: Any, make_entry: Any, clock: Any
) -> None:
    ledger = await open_ledger()
    await ledger.append([make_entry(1)])
    clock.now -= 3600
    await ledger.append([make_entry(2)])
    ledger = await open_ledger()
    await ledger.append([make_entry(3)])
    clock.now += 7200
    await ledger.append([make_entry(4)])
    times = [row.time for row in await ledger.rows_after(0, 10)]
    start = 1_700_000_000_000
    assert times == [start, start, start, start + 3_600_000]


async def test_unattributed_shares_stand_apart_and_take_no_number(open_ledger: Any, make_entry: Any) -> None:
    ledger = await open_ledger()
    records = await ledger.append([make_entry(1, None), make_entry(2), make_entry(3, None)])
    assert records == [Record(Fate.RECORDED, 0), Record(Fate.RECORDED, 1), Record(Fate.RECORDED, 0)]
    assert await ledger.append([make_entry(1, None)]) == [Record(Fate.DUPLICATE, 0)]
    assert [row.seq for row in await ledger.rows_after(0, 10)] == [1]
    ledger = await open_ledger()
    assert ledger.metrics.unattributed._value.get() == 2


async def test_the_issuer_is_woken_by_rows_and_by_nothing_else(open_ledger: Any, make_entry: Any) -> None:
    ledger = await open_ledger()
    await ledger.append([make_entry(1, None)])
    assert not ledger.grown.is_set()
    await ledger.append([make_entry(2)])
    assert ledger.grown.is_set()


async def test_rows_are_read_in_pages_of_one_shift(open_ledger: Any, make_entry: Any) -> None:
    ledger = await open_ledger(rule=ShiftRule(block_hashes=10 * 5 * 5 << 8))
    await ledger.append([make_entry(number) for number in range(5)])
    await ledger.append([make_entry(number) for number in range(5, 8)])
    assert [row.seq for row in await ledger.rows_after(0, 3)] == [1, 2, 3]
    assert [row.seq for row in await ledger.rows_after(3, 100)] == [4, 5]
    assert [row.seq for row in await ledger.rows_after(5, 100)] == [6, 7, 8]
    assert await ledger.rows_after(8, 100) == []


async def test_refused_rows_are_kept_with_their_reason_for_the_audit(
    open_ledger: Any, make_entry: Any, tmp_path: Path
) -> None:
    ledger = await open_ledger()
    await ledger.append([make_entry(1), make_entry(2)])
    await ledger.refuse([(2, CreditCode.BAD_WORK)])
    await ledger.refuse([(2, CreditCode.BAD_KEY)])
    with open_readonly(tmp_path / "ledger.sqlite") as store:
        told = store.execute("SELECT seq, refusal, key, amount FROM audit_share ORDER BY seq").fetchall()
    assert [tuple(row) for row in told] == [(1, None, KEY, 5), (2, 1, KEY, 5)]


async def test_a_new_ledger_begins_in_the_shift_that_the_mint_wants(
    open_ledger: Any, make_entry: Any
) -> None:
    ledger = await open_ledger()
    await ledger.append([make_entry(1)])
    await ledger.begin_in(3)
    await ledger.append([make_entry(2)])
    assert [row.shift for row in await ledger.rows_after(0, 10)] == [3, 3]
    assert (await open_ledger()).shift == 3


async def test_another_identity_does_not_go_on_with_this_ledger(open_ledger: Any) -> None:
    await open_ledger()
    with pytest.raises(LedgerUnusable, match="another identity"):
        await open_ledger(identity=OTHER)


@pytest.mark.parametrize("pricing", [Pricing(9, Valuation.TARGET), Pricing(8, Valuation.ACHIEVED)])
async def test_another_price_counts_from_the_next_shift(
    open_ledger: Any, make_entry: Any, pricing: Pricing
) -> None:
    old, rule = Pricing(8, Valuation.TARGET), ShiftRule(block_hashes=10 * 12 << 8)
    entries = [make_entry(number, target=from_work(4 << 9)) for number in range(6)]
    ledger = await open_ledger(rule=rule)
    await ledger.append(entries[:1])
    ledger = await open_ledger(pricing=pricing, rule=rule)
    await ledger.append(entries[1:4])
    told = [(row.shift, row.pricing, row.amount) for row in await ledger.rows_after(0, 10)]
    told += [(row.shift, row.pricing, row.amount) for row in await ledger.rows_after(len(told), 10)]
    assert told[:3] == [(0, old, 5), (0, old, 8), (1, pricing, 5)]
    assert ledger.shift == 1


async def test_a_batch_with_an_impossible_row_is_not_recorded_at_all(
    open_ledger: Any, make_entry: Any, tmp_path: Path
) -> None:
    ledger = await open_ledger()
    await ledger.append([make_entry(1)])
    for amount in (0, 1 << 53):
        with pytest.raises(IntegrityError):
            await ledger.append([make_entry(2), make_entry(3, amount=amount)])
    assert ledger.last_seq == 1
    assert await ledger.append([make_entry(2)]) == [Record(Fate.RECORDED, 2)]


async def test_one_callers_impossible_row_does_not_harm_those_who_write_at_the_same_time(
    open_ledger: Any, make_entry: Any
) -> None:
    ledger = await open_ledger()
    first = asyncio.ensure_future(ledger.append([make_entry(0)]))
    await asyncio.sleep(0)
    batches = [[make_entry(1), make_entry(2)], [make_entry(3), make_entry(4, amount=0)], [make_entry(5)]]
    writes = [ledger.append(batch) for batch in batches]
    good, bad, late = await asyncio.gather(*writes, return_exceptions=True)
    assert await first == [Record(Fate.RECORDED, 1)]
    assert good == [Record(Fate.RECORDED, 2), Record(Fate.RECORDED, 3)]
    assert isinstance(bad, IntegrityError)
    assert late == [Record(Fate.RECORDED, 4)]


async def test_a_failed_commit_fails_every_caller_and_the_next_write_goes_on(
    open_ledger: Any, make_entry: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = await open_ledger()

    def fail(_database: Database, _fn: object, done: Done) -> None:
        done(None, CommitFailed("the disk is full"))

    with monkeypatch.context() as patch:
        patch.setattr(Database, "submit", fail)
        fates = await asyncio.gather(
            *(ledger.append([make_entry(number)]) for number in range(3)), return_exceptions=True
        )
    assert [type(fate) for fate in fates] == [CommitFailed] * 3
    assert await ledger.append([make_entry(0)]) == [Record(Fate.RECORDED, 1)]


async def test_a_caller_who_leaves_takes_nothing_from_the_others(open_ledger: Any, make_entry: Any) -> None:
    ledger = await open_ledger()
    tasks = [asyncio.ensure_future(ledger.append([make_entry(number)])) for number in range(3)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    assert [await tasks[0], await tasks[2]] == [[Record(Fate.RECORDED, 1)], [Record(Fate.RECORDED, 3)]]
    assert ledger.last_seq == 3


async def test_a_fault_of_ours_is_raised_to_whoever_waits(
    open_ledger: Any, make_entry: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = await open_ledger()
    handled: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: handled.append(context))
    with monkeypatch.context() as patch:
        patch.setattr(Database, "submit", None)
        with pytest.raises(TypeError):
            await ledger.append([make_entry(1)])
    assert await ledger.append([make_entry(1)]) == [Record(Fate.RECORDED, 1)]


async def test_shares_that_come_during_a_fault_of_ours_are_recorded_after_it(
    open_ledger: Any, make_entry: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = await open_ledger()
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    submit = Database.submit
    faults = iter([RuntimeError("a fault")])

    second: asyncio.Future[Any] | None = None

    def fail_once(database: Database, fn: Any, done: Done) -> None:
        nonlocal second
        for fault in faults:
            second = asyncio.ensure_future(ledger.append([make_entry(2)]))
            asyncio.get_running_loop().call_later(0.01, done, None, fault)
            return
        submit(database, fn, done)

    monkeypatch.setattr(Database, "submit", fail_once)
    with pytest.raises(RuntimeError, match="a fault"):
        await ledger.append([make_entry(1)])
    assert second is not None
    assert await asyncio.wait_for(second, 30) == [Record(Fate.RECORDED, 1)]
    assert await asyncio.wait_for(ledger.append([make_entry(3)]), 30) == [Record(Fate.RECORDED, 2)]
