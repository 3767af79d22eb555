"""Quotes of closed shifts that have nothing left to mint shrink, and nobody notices."""

from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from protocols.bitcoin.hashing import sha256d
from protocols.bitcoin.secp256k1 import public_key
from protocols.cashu.errors import QuoteIssuedError, QuoteUnknownError
from protocols.cashu.lookup import sign
from protocols.cashu.models import BlindSignature
from protocols.ehash.errors import CreditCode
from protocols.ehash.messages import CreditResult, CreditResults, CreditRow, Credits
from protocols.ehash.shift import METHOD, ShiftRule
from roles.credit.errors import LedgerForked
from roles.mint import accounts, repair
from roles.mint.accounts import Difference
from roles.mint.compaction import AT_ONCE, Window
from roles.mint.compactor import Compactor
from roles.mint.errors import RepairRefused
from roles.mint.halts import Halts
from roles.mint.quote import Quote
from roles.mint.stocktaking import Stocktaking
from roles.mint.teller import ShareClaim
from roles.mint.watchdog import Watchdog
from shared_config.mint import WatchdogSettings
from tests.roles.mint.house import MINER, OTHER_ISSUER, House

DAY = 86_400
WINDOW = Window(7 * DAY, 2)
Answer = tuple[dict[str, object], list[BlindSignature]]


def _compactor(house: House, after_s: int = DAY) -> Compactor:
    return Compactor(house.database, CollectorRegistry(), after_s=after_s, window=WINDOW, clock=house.clock)


async def _mined(house: House, *, mint: bool = True) -> tuple[list[CreditRow], list[Quote], list[Answer]]:
    """Three shares of three shifts, of which all are minted but the second; the last shift is open."""
    house.credits._rule = ShiftRule(block_hashes=1)
    rows, quotes, answers = [], [], []
    for shift in range(3):
        row = house.row(4)
        await house.settle(Credits(house.seq, shift, 0, 0, (row,)))
        rows.append(row)
        ids = await house.open_teller(public_share_lookup=True).look_up_shares([sha256d(row.header)], None)
        quote = await house.teller.quote(ids[sha256d(row.header)], METHOD)
        quotes.append(quote)
        if mint and shift != 1:
            body = await _claim(house, quote)
            answers.append((body, await house.teller.mint(body, METHOD)))
    return rows, quotes, answers


async def _claim(house: House, quote: Quote) -> dict[str, object]:
    keyset = next(each for each in house.book if each.unit == quote.unit)
    basket = house.basket(4)
    basket.outputs[:] = [replace(output, keyset_id=keyset.keyset_id) for output in basket.outputs]
    return house.claim(quote, basket)


async def _count(house: House, table: str) -> int:
    return int(await house.database.read(lambda c: c.execute(f"SELECT count(*) FROM {table}").fetchone()[0]))


async def _archived(house: House) -> int:
    """How many quotes there are in archives, as these count them; they hold what they say."""
    rows = await house.database.read(
        lambda c: c.execute("SELECT archive_no, quotes FROM archive WHERE ended_at IS NULL").fetchall()
    )
    for row in rows:
        assert await _count(house, f"archive_{row['archive_no']}") == row["quotes"]
    return sum(row["quotes"] for row in rows)


async def _compact(house: House) -> int:
    """Compact what there is; gives how many rows were."""
    compactor = _compactor(house)
    total = 0
    while done := await compactor.step():
        total += done
    return total


async def test_only_minted_quotes_of_shifts_closed_long_ago_shrink_and_all_of_their_credits(
    house: House,
) -> None:
    await _mined(house)
    assert await _compact(house) == 0
    house.clock.now += DAY
    assert await _compact(house) == 2
    assert (await _archived(house), await _count(house, "quote")) == (1, 2)
    assert (await _count(house, "credit"), await _count(house, "issue")) == (1, 2)


async def test_a_compacted_quote_is_answered_as_issued(house: House) -> None:
    rows, quotes, answers = await _mined(house)
    before = await house.teller.quote(quotes[0].quote_id, METHOD)
    house.clock.now += DAY
    await _compact(house)
    after = await house.teller.quote(quotes[0].quote_id, METHOD)
    assert after == replace(before, updated_at=after.updated_at, pubkey=None)
    assert after.updated_at >= before.updated_at
    assert after.state == "ISSUED"
    share_hash = sha256d(rows[0].header)
    assert await _look_up(house, share_hash, MINER) == {share_hash: quotes[0].quote_id}
    assert await _look_up(house, share_hash, b"\x09" * 32) == {}
    body, answer = answers[0]
    assert await house.teller.mint(body, METHOD) == answer
    with pytest.raises(QuoteIssuedError):
        await house.teller.mint(await _claim(house, quotes[0]), METHOD)
    with pytest.raises(QuoteUnknownError):
        await house.teller.quote(quotes[0].quote_id.upper(), METHOD)


async def _look_up(house: House, share_hash: bytes, secret: bytes) -> dict[bytes, str]:
    key, now = public_key(secret), int(house.clock())
    signature = sign(secret, house.seed.info_key, key, now, bytes(32))
    return await house.teller.look_up_shares([share_hash], ShareClaim(key, now, signature))


async def test_a_row_that_comes_again_is_answered_as_it_was_and_never_makes_a_second_quote(
    house: House,
) -> None:
    rows, _, _ = await _mined(house)
    house.clock.now += DAY
    await _compact(house)
    for seq, row in enumerate(rows, 1):
        assert await house.settle(Credits(seq, seq - 1, 0, 0, (row,))) == CreditResults(seq, ())
    for number in (0, 1):
        thief = replace(rows[number], locking_key=public_key(b"\x09" * 32))
        other = bytes([number] * 16)
        elsewhere = await house.settle(Credits(1, number, 0, 0, (thief,)), issuer=OTHER_ISSUER, store=other)
        assert elsewhere.results == (CreditResult(1, CreditCode.DUPLICATE_ELSEWHERE),)
        with pytest.raises(LedgerForked):
            await house.settle(Credits(number + 1, number, 0, 0, (thief,)))
    with pytest.raises(LedgerForked):
        await house.settle(Credits(2, 1, 0, 0, (rows[0],)))
    assert (await _archived(house), await _count(house, "quote")) == (1, 2)


async def test_a_refused_row_that_comes_again_is_refused_as_it_was(house: House) -> None:
    house.credits._rule = ShiftRule(block_hashes=1)
    refused = replace(house.row(4), locking_key=b"\x02" + b"\xff" * 32)
    results = await house.settle(Credits(1, 0, 0, 0, (refused,)))
    await house.settle(Credits(2, 1, 0, 0, (house.row(4),)))
    house.clock.now += DAY
    assert await _compact(house) == 1
    assert await house.settle(Credits(1, 0, 0, 0, (refused,))) == results
    assert results.results == (CreditResult(1, CreditCode.BAD_KEY),)


async def test_the_books_agree_before_and_after_and_while_rows_are_counted(house: House) -> None:
    await _mined(house)
    halts = Halts(house.database, house.clock)
    watchdog = Watchdog(house.database, halts, WatchdogSettings(), CollectorRegistry(), lambda *_: None)
    assert not await watchdog.check()
    house.clock.now += DAY
    await _compact(house)
    assert not await watchdog.check()
    assert not await watchdog.recount(duty=1.0)
    await house.database.write(lambda c: c.execute("UPDATE archive_sum SET amount = amount + 1") and None)
    assert [each.account for each in await watchdog.recount(duty=1.0)] == ["credited"]


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM archive_1",
        "UPDATE archive_1 SET amount = amount + 1",
        "UPDATE archive SET quotes = quotes + 1 WHERE archive_no = 1",
    ],
)
async def test_an_archive_whose_rows_are_not_what_went_there_stops_issuing(
    house: House, statement: str
) -> None:
    await _mined(house)
    house.clock.now += DAY
    await _compact(house)
    halts = Halts(house.database, house.clock)
    watchdog = Watchdog(house.database, halts, WatchdogSettings(), CollectorRegistry(), lambda *_: None)
    assert not await watchdog.check()
    await house.database.write(lambda c: c.execute(statement) and None)
    assert [(each.account, each.part) for each in await watchdog.recount(duty=1.0)] == [("archived", "1")]
    assert halts.stops_all is not None


async def test_an_archive_that_grows_while_it_is_counted_is_counted_the_next_time(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "BATCH", 1)
    await _mined(house)
    house.clock.now += DAY
    await _compact(house)
    grown = "UPDATE archive SET quotes = quotes + 1 WHERE archive_no = 1"
    stocktaking = Stocktaking()
    assert await house.database.read(stocktaking.advance) == (1, [])
    await house.database.write(lambda c: c.execute(grown) and None)
    assert [await house.database.read(stocktaking.advance) for _ in range(3)] == [(1, []), (1, []), (0, [])]
    again = Stocktaking()
    found: list[Difference] = []
    passed = 1
    while passed:
        passed, differences = await house.database.read(again.advance)
        found += differences
    assert [str(each) for each in found] == [
        "archived of 1: the counters say 2 quotes of 4, the rows are 1 quotes of 4"
    ]


async def test_the_newest_quote_of_a_store_stays_so_that_its_number_is_not_given_again(house: House) -> None:
    house.credits._rule = ShiftRule(block_hashes=1)
    _, quotes, _ = await _mined(house)
    await house.teller.mint(await _claim(house, quotes[1]), METHOD)
    keyless = replace(house.row(4), locking_key=b"\x02" + b"\xff" * 32)
    await house.settle(Credits(house.seq, 3, 0, 0, (keyless,)))
    house.clock.now += DAY
    await _compact(house)
    assert (await _archived(house), await _count(house, "quote")) == (2, 1)
    await house.settle(Credits(house.seq, 4, 0, 0, (house.row(4),)))
    assert await _compact(house) == 1
    assert (await _archived(house), await _count(house, "quote")) == (3, 1)


async def test_much_is_compacted_in_small_steps_and_nothing_by_a_mint_that_is_told_so(house: House) -> None:
    house.credits._rule = ShiftRule(block_hashes=1 << 40)
    count = AT_ONCE + 5
    await house.settle(house.frame([house.row(1) for _ in range(count)]))
    await house.database.write(lambda c: c.execute("UPDATE quote SET amount_issued = amount") and None)
    house.credits._rule = ShiftRule(block_hashes=1)
    await house.database.write(lambda c: c.execute("UPDATE shift SET full_at = '1'") and None)
    await house.settle(Credits(house.seq, 1, 0, 0, (house.row(1),)))
    house.clock.now += DAY
    compactor = _compactor(house)
    assert [await compactor.step() for _ in range(3)] == [AT_ONCE, 5, 0]
    await _compactor(house, after_s=0).run()


async def test_an_unminted_quote_is_compacted_when_it_has_been_minted(house: House) -> None:
    _, quotes, _ = await _mined(house)
    house.clock.now += DAY
    await _compact(house)
    await house.teller.mint(await _claim(house, quotes[1]), METHOD)
    assert await _compact(house) == 1
    assert (await house.teller.quote(quotes[1].quote_id, METHOD)).state == "ISSUED"


async def test_what_a_request_took_of_several_quotes_stays_the_sum_of_its_signatures(house: House) -> None:
    quotes = await house.credit(2, 2)
    await house.teller.mint_batch(house.batch(quotes, house.basket(4)), METHOD)
    await house.database.write(lambda c: c.execute("UPDATE shift SET full_at = '1'") and None)
    house.credits._rule = ShiftRule(block_hashes=1)
    await house.settle(Credits(house.seq, 1, 0, 0, (house.row(1),)))
    house.clock.now += DAY
    assert await _compact(house) == 2
    issues = await house.database.read(lambda c: c.execute("SELECT quote_no, amount FROM issue").fetchall())
    assert [tuple(row) for row in issues] == [(0, 4)]
    halts = Halts(house.database, house.clock)
    watchdog = Watchdog(house.database, halts, WatchdogSettings(), CollectorRegistry(), lambda *_: None)
    assert not await watchdog.recount(duty=1.0)


async def test_what_an_operator_can_see_and_not_mend_of_a_compacted_quote(house: House) -> None:
    _, quotes, _ = await _mined(house)
    house.clock.now += DAY
    await _compact(house)
    told = await house.database.read(lambda c: repair.look(c, quotes[0].quote_id))
    assert (told.state, told.amount_issued, told.issues) == ("ISSUED", 4, [])
    with pytest.raises(RepairRefused):
        await house.database.write(lambda c: repair.correct(c, quotes[0].quote_id, 0, "a test", 1))
    with pytest.raises(RepairRefused):
        await house.database.read(lambda c: repair.look(c, "no-quote"))
