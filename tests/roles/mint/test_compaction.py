"""Quotes of closed shifts that have nothing left to mint shrink, and nobody notices."""

from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from protocols.bitcoin.hashing import sha256d
from protocols.bitcoin.secp256k1 import public_key
from protocols.cashu.errors import QuoteIssuedError, QuoteUnknownError
from protocols.cashu.models import BlindSignature
from protocols.ehash.errors import CreditCode
from protocols.ehash.messages import CreditResult, CreditResults, CreditRow, Credits
from protocols.ehash.shift import METHOD, ShiftRule
from roles.mint import repair
from roles.mint.accounts import ACCOUNTS
from roles.mint.compaction import AT_ONCE, Compactor
from roles.mint.errors import RepairRefused
from roles.mint.halts import Halts
from roles.mint.quote import Quote
from roles.mint.watchdog import Watchdog
from shared_config.mint import WatchdogSettings
from tests.roles.mint.house import MINER, OTHER_ISSUER, House

DAY = 86_400
Answer = tuple[dict[str, object], list[BlindSignature]]


def _compactor(house: House, after_s: int = DAY) -> Compactor:
    return Compactor(house.database, CollectorRegistry(), after_s=after_s, clock=house.clock)


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


async def test_only_minted_quotes_of_shifts_closed_long_ago_shrink(house: House) -> None:
    await _mined(house)
    compactor = _compactor(house)
    assert await compactor.step() == 0
    house.clock.now += DAY
    assert await compactor.step() == 1
    assert await compactor.step() == 0
    assert (await _count(house, "compacted"), await _count(house, "quote")) == (1, 2)


async def test_a_compacted_quote_is_answered_as_issued(house: House) -> None:
    rows, quotes, answers = await _mined(house)
    before = await house.teller.quote(quotes[0].quote_id, METHOD)
    house.clock.now += DAY
    await _compactor(house).step()
    after = await house.teller.quote(quotes[0].quote_id, METHOD)
    assert after == before
    assert after.state == "ISSUED"
    open_to_all = house.open_teller(public_share_lookup=True)
    share_hash = sha256d(rows[0].header)
    assert await open_to_all.look_up_shares([share_hash], None) == {share_hash: quotes[0].quote_id}
    body, answer = answers[0]
    assert await house.teller.mint(body, METHOD) == answer
    with pytest.raises(QuoteIssuedError):
        await house.teller.mint(await _claim(house, quotes[0]), METHOD)
    with pytest.raises(QuoteUnknownError):
        await house.teller.quote(quotes[0].quote_id.upper(), METHOD)


async def test_a_row_that_comes_again_is_answered_as_it_was_and_never_makes_a_second_quote(
    house: House,
) -> None:
    rows, _, _ = await _mined(house)
    house.clock.now += DAY
    await _compactor(house).step()
    assert await house.settle(Credits(1, 0, 0, 0, (rows[0],))) == CreditResults(1, ())
    thief = replace(rows[0], locking_key=public_key(b"\x09" * 32))
    elsewhere = await house.settle(Credits(1, 0, 0, 0, (thief,)), issuer=OTHER_ISSUER)
    assert elsewhere.results == (CreditResult(1, CreditCode.DUPLICATE_ELSEWHERE),)
    assert (await _count(house, "compacted"), await _count(house, "quote")) == (1, 2)


async def test_the_books_agree_before_and_after(house: House) -> None:
    await _mined(house)
    audited = "SELECT share_hash, issuer, seq, amount, key, unit, paid, issued FROM share_quote ORDER BY seq"

    async def told() -> list[tuple[object, ...]]:
        return await house.database.read(lambda c: [tuple(row) for row in c.execute(audited).fetchall()])

    before = await told()
    house.clock.now += DAY
    await _compactor(house).step()
    assert await told() == before
    assert len(before) == 3
    settings = WatchdogSettings()
    halts = Halts(house.database, house.clock)
    watchdog = Watchdog(house.database, halts, settings, CollectorRegistry(), lambda *_: None)
    assert not await watchdog.recount(duty=1.0)
    assert {account.name for account in ACCOUNTS} >= {"credited"}


async def test_the_newest_quote_of_a_store_stays_so_that_its_number_is_not_given_again(house: House) -> None:
    house.credits._rule = ShiftRule(block_hashes=1)
    rows, quotes, _ = await _mined(house)
    body = await _claim(house, quotes[1])
    await house.teller.mint(body, METHOD)
    keyless = replace(house.row(4), locking_key=b"\x02" + b"\xff" * 32)
    await house.settle(Credits(house.seq, 3, 0, 0, (keyless,)))
    house.clock.now += DAY
    assert await _compactor(house).step() == 2
    assert await _count(house, "quote") == 1
    assert len(rows) == 3


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
    compactor = _compactor(house)
    await compactor.step()
    await house.teller.mint(await _claim(house, quotes[1]), METHOD)
    assert await compactor.step() == 1
    assert (await house.teller.quote(quotes[1].quote_id, METHOD)).state == "ISSUED"
    assert MINER


async def test_an_operator_still_finds_a_compacted_quote_and_what_was_issued_for_it(house: House) -> None:
    _, quotes, _ = await _mined(house)
    before = await house.database.read(lambda c: repair.look(c, quotes[0].quote_id))
    house.clock.now += DAY
    assert await _compactor(house).step() == 1
    after = await house.database.read(lambda c: repair.look(c, quotes[0].quote_id))
    assert after == before
    assert [issue.amount for issue in after.issues] == [4]
    with pytest.raises(RepairRefused, match="made of a share"):
        await house.database.write(lambda c: repair.correct(c, quotes[0].quote_id, 0, "x", 0))
