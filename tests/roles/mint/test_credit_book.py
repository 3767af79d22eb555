import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from protocols.bitcoin.hashing import sha256d
from protocols.bitcoin.secp256k1 import public_key
from protocols.bitcoin.target import from_work
from protocols.ehash.errors import CreditCode
from protocols.ehash.messages import CreditResult, CreditResults, Credits
from roles.credit.acceptor import Standing
from roles.credit.errors import LedgerBehind, LedgerForked, ShiftRefused, TimeReversed
from roles.mint.credit_book import DAY_S
from tests.roles.mint.house import ISSUER, MINER, NOW, OTHER_ISSUER, STORE, House, open_house


async def _quotes(house: House) -> list[tuple[bytes, int, int, bytes]]:
    rows = await house.database.read(
        lambda c: c.execute("SELECT share_hash, seq, paid, key FROM share_quote ORDER BY seq").fetchall()
    )
    return [tuple(row) for row in rows]


async def test_each_row_becomes_one_paid_quote_locked_to_its_key(house: House) -> None:
    rows = [house.row(1), house.row(20), house.row(300)]
    results = await house.settle(house.frame(rows))
    assert results == CreditResults(3, ())
    key = public_key(MINER)
    assert await _quotes(house) == [
        (sha256d(row.header), seq, amount, key)
        for seq, (row, amount) in enumerate(zip(rows, (1, 20, 300), strict=True), 1)
    ]
    assert house.metric("quotes_total") == 3
    assert house.metric("paid_ehash_total") == 321


async def test_a_new_ledger_stands_at_0_and_a_known_one_where_it_was(house: House) -> None:
    assert await house.credits.open_ledger(ISSUER, STORE, 1) == Standing(0, 0)
    await house.settle(house.frame([house.row(), house.row()]))
    assert await house.credits.open_ledger(ISSUER, STORE, 3) == Standing(2, 0)
    assert await house.credits.open_ledger(ISSUER, b"\x99" * 16, 1) == Standing(0, 1)


async def test_a_ledger_restored_from_an_old_backup_is_refused(house: House) -> None:
    await house.settle(house.frame([house.row(), house.row()]))
    with pytest.raises(LedgerBehind):
        await house.credits.open_ledger(ISSUER, STORE, 2)


async def test_a_clock_that_is_set_back_keeps_no_row_waiting(tmp_path: Path) -> None:
    house = await open_house(tmp_path)
    assert await house.settle(house.frame([house.row()])) == CreditResults(1, ())
    house.clock.now -= 3_600
    under_way = house.row(time=NOW * 1000 + 26)
    assert await house.settle(house.frame([under_way])) == CreditResults(2, ())
    await asyncio.to_thread(house.database.close)
    again = await open_house(tmp_path)
    again.clock.now -= 3_600
    rows = [house.row(time=NOW * 1000 + 27), house.row(time=NOW * 1000 + 7_200_000)]
    assert await again.settle(house.frame(rows, 3)) == CreditResults(3, (CreditResult(4, CreditCode.RETRY),))
    await asyncio.to_thread(again.database.close)


async def test_a_replayed_frame_gets_the_same_answer_and_no_second_quote(house: House) -> None:
    bad = replace(house.row(), target=from_work(1 << 60))
    frame = house.frame([house.row(), bad, house.row()])
    first = await house.settle(frame)
    assert first == CreditResults(3, (CreditResult(2, CreditCode.BAD_WORK),))
    for _ in range(3):
        assert await house.settle(frame) == first
    assert [seq for _, seq, _, _ in await _quotes(house)] == [1, 3]
    assert house.metric("quotes_total") == 2
    assert house.metric("credits_refused_total", code="bad-work") == 1


async def test_a_frame_that_overlaps_what_is_settled_settles_the_rest(house: House) -> None:
    bad = replace(house.row(), locking_key=b"\x02" + b"\xff" * 32)
    rows = [bad, house.row(), house.row(), house.row()]
    await house.settle(house.frame(rows[:2]))
    results = await house.settle(house.frame(rows[1:], first_seq=2))
    assert results == CreditResults(4, ())
    behind = await house.settle(house.frame(rows[:3], first_seq=1))
    assert behind == CreditResults(3, (CreditResult(1, CreditCode.BAD_KEY),))
    again = await house.settle(house.frame(rows, first_seq=1))
    assert again == CreditResults(4, (CreditResult(1, CreditCode.BAD_KEY),))
    assert len(await _quotes(house)) == 3


async def test_a_row_that_differs_from_the_settled_one_is_a_fork(house: House) -> None:
    row = house.row()
    await house.settle(house.frame([row]))
    for other in (house.row(), replace(row, locking_key=public_key(b"\x09" * 32))):
        with pytest.raises(LedgerForked):
            await house.settle(house.frame([other], first_seq=1))
    with pytest.raises(LedgerForked):
        await house.settle(house.frame([house.row()], first_seq=0))


async def test_rows_behind_a_gap_wait_for_the_missing_ones(house: House) -> None:
    results = await house.settle(house.frame([house.row()], first_seq=2))
    assert results == CreditResults(0, (CreditResult(1, CreditCode.RETRY),))
    assert await _quotes(house) == []


async def test_a_frame_without_rows_tells_the_standing(house: House) -> None:
    await house.settle(house.frame([house.row()]))
    assert await house.settle(house.frame([])) == CreditResults(1, ())


async def test_a_share_is_credited_once_whoever_brings_it_again(house: House) -> None:
    row = house.row(5)
    await house.settle(house.frame([row]))
    same_ledger = await house.settle(house.frame([row]))
    assert same_ledger == CreditResults(2, (CreditResult(2, CreditCode.DUPLICATE_ELSEWHERE),))
    other_key = await house.settle(house.frame([replace(row, locking_key=public_key(b"\x09" * 32))]))
    assert [result.code for result in other_key.results] == [CreditCode.DUPLICATE_ELSEWHERE]
    elsewhere = await house.settle(house.frame([row, row], first_seq=1), issuer=OTHER_ISSUER)
    assert [result.code for result in elsewhere.results] == [CreditCode.DUPLICATE_ELSEWHERE] * 2
    assert await house.settle(house.frame([row, row], first_seq=1), issuer=OTHER_ISSUER) == elsewhere
    other_store = await house.settle(house.frame([row], first_seq=1, shift=1), store=b"\x98" * 16)
    assert [result.code for result in other_store.results] == [CreditCode.DUPLICATE_ELSEWHERE]
    assert len(await _quotes(house)) == 1


async def test_the_same_share_twice_in_one_frame_is_credited_once(house: House) -> None:
    row = house.row()
    results = await house.settle(house.frame([row, row]))
    assert results == CreditResults(2, (CreditResult(2, CreditCode.DUPLICATE_ELSEWHERE),))
    shift = await house.database.read(
        lambda c: dict(c.execute("SELECT * FROM shift ORDER BY issuer_no").fetchone())
    )
    assert (shift["credited"], shift["rows"]) == (1, 2)


async def test_a_row_from_the_future_holds_itself_and_all_after_it(house: House) -> None:
    ahead = house.row(time=(NOW + 3600) * 1000)
    results = await house.settle(house.frame([house.row(), ahead, house.row()]))
    assert results == CreditResults(1, (CreditResult(2, CreditCode.RETRY),))
    house.clock.now += 3600
    assert await house.settle(house.frame([ahead])) == CreditResults(2, ())


@pytest.fixture
async def bounded(tmp_path: Path) -> AsyncIterator[House]:
    house = await open_house(tmp_path, {ISSUER: 100})
    yield house
    house.signatory.close()
    await asyncio.to_thread(house.database.close)


async def test_work_above_the_issuers_bound_waits_and_loses_nothing(bounded: House) -> None:
    house = bounded
    rows = [house.row(40) for _ in range(4)]
    results = await house.settle(house.frame(rows))
    assert results == CreditResults(2, (CreditResult(3, CreditCode.OVER_BOUND),))
    assert await house.settle(house.frame(rows[2:])) == CreditResults(2, results.results)
    house.bounds[ISSUER] = 1000
    assert await house.settle(house.frame(rows[2:])) == CreditResults(4, ())


async def test_a_shift_above_the_number_that_an_issuer_may_open_in_a_day_waits(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.credits._shifts_per_day = {ISSUER: 2}
    ledgers = [bytes((number,)) * 16 for number in range(1, 4)]
    for shift, ledger in enumerate(ledgers[:2]):
        await house.credits.open_ledger(ISSUER, ledger, 1)
        frame = Credits(1, shift, 0, 0, (house.row(),))
        assert await house.credits.settle(ISSUER, ledger, frame) == CreditResults(1, ())
    await house.credits.open_ledger(ISSUER, ledgers[2], 1)
    frame = Credits(1, 2, 0, 0, (house.row(),))
    waits = CreditResults(0, (CreditResult(1, CreditCode.OVER_BOUND),))
    assert await house.credits.settle(ISSUER, ledgers[2], frame) == waits
    assert "shifts_per_day" in caplog.records[-1].__dict__["hint"]
    assert house.metric("credits_refused_total", code="over-bound") == 1
    # Shifts that are open go on.
    more = Credits(2, 1, 0, 0, (house.row(),))
    assert await house.credits.settle(ISSUER, ledgers[1], more) == CreditResults(2, ())
    house.clock.now += DAY_S + 1
    assert await house.credits.settle(ISSUER, ledgers[2], frame) == CreditResults(1, ())


async def test_a_refusal_of_a_frame_leaves_nothing_of_it(house: House) -> None:
    early = house.row(time=NOW * 1000 - 5)
    with pytest.raises(TimeReversed):
        await house.settle(house.frame([house.row(), early]))
    with pytest.raises(ShiftRefused):
        await house.settle(Credits(1, 0, 0, 7, (house.row(),)))
    assert await _quotes(house) == []


async def test_the_price_of_a_shift_stays_with_it(house: House) -> None:
    await house.settle(house.frame([house.row()]))
    with pytest.raises(ShiftRefused, match="minimum and valuation"):
        await house.settle(Credits(2, 0, 1, 0, (house.row(),)))


async def test_frames_of_one_issuer_from_two_links_at_once_are_settled_once(house: House) -> None:
    frames = [house.frame([house.row() for _ in range(20)])] * 4
    answers = await asyncio.gather(*map(house.settle, frames))
    assert answers == [CreditResults(20, ())] * 4
    assert len(await _quotes(house)) == 20


async def test_everything_stands_after_a_restart(tmp_path: Path) -> None:
    house = await open_house(tmp_path)
    quotes = await house.credit(3, 4)
    basket = house.basket(1, 2)
    body = house.claim(quotes[0], basket)
    signatures = await house.teller.mint(body)
    await asyncio.to_thread(house.database.close)
    again = await open_house(tmp_path)
    assert [keyset.keyset_id for keyset in again.book] == [keyset.keyset_id for keyset in house.book]
    assert await again.credits.open_ledger(ISSUER, STORE, 3) == Standing(2, 0)
    assert await again.teller.mint(body) == signatures
    assert (await again.teller.quote(quotes[1].quote_id)).mintable == 4
    await asyncio.to_thread(again.database.close)


async def test_a_crowd_of_wallets_does_not_hold_up_credits(house: House) -> None:
    gate = threading.Event()
    crowd = [asyncio.ensure_future(house.signatory.run(gate.wait)) for _ in range(8)]
    await asyncio.sleep(0)
    results = await asyncio.wait_for(house.settle(house.frame([house.row()])), 30)
    assert results == CreditResults(1, ())
    gate.set()
    await asyncio.gather(*crowd)
