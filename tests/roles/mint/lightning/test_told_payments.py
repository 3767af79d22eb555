"""Payments that wallets are told of before the store counts them."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from protocols.cashu.errors import InvoicePaidError, QuoteIssuedError, QuoteUnknownError
from protocols.lightning.invoice import decode
from roles.mint import quote_rows
from roles.mint.lightning import till
from roles.mint.lightning.fresh_quotes import FreshQuotes
from roles.mint.lightning.method import METHOD
from roles.mint.quote import Quote
from roles.runtime.errors import CommitFailed
from tests.roles.mint.house import NOW, House
from tests.roles.mint.lightning.bank import Bank, open_bank

NEVER = 60.0


@pytest.fixture
async def bank(house: House, tmp_path: Path) -> AsyncIterator[Bank]:
    """One that counts late, where nobody has it count."""
    opened = await open_bank(house, tmp_path, count_after_s=NEVER)
    yield opened
    await opened.lightning.backend.close()


async def stored(bank: Bank, quote: Quote) -> Quote:
    (found,) = await bank.house.database.read(lambda c: quote_rows.find(c, METHOD, [quote.quote_id]))
    return found


def told(bank: Bank) -> float | None:
    return bank.metrics.get_sample_value("hashpool_mint_invoices_told")


def counted(bank: Bank) -> float | None:
    return bank.metrics.get_sample_value("hashpool_mint_invoices_paid_total")


async def test_a_payment_is_told_without_the_store_and_counted_by_the_write_that_mints_it(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    quote = await bank.quote(21)

    async def fail(_: object) -> None:
        raise AssertionError

    with monkeypatch.context() as patch:
        patch.setattr(bank.house.database, "read", fail)
        patch.setattr(bank.house.database, "write", fail)
        assert await bank.teller.quote(quote.quote_id, METHOD) == quote
        bank.pay(quote)
        paid = await bank.teller.quote(quote.quote_id, METHOD)
        assert paid.to_json() == quote.paid(NOW + 1).to_json()
        assert await bank.teller.quote(quote.quote_id, METHOD) == paid
    assert (await stored(bank, quote)).state == "UNPAID"
    assert (told(bank), counted(bank)) == (1, 0)
    basket = bank.basket(1, 4, 16)
    assert len(await bank.teller.mint(bank.claim(quote, basket), METHOD)) == 3
    issued = await bank.teller.quote(quote.quote_id, METHOD)
    assert issued == await stored(bank, quote)
    assert (issued.state, issued.amount_paid, issued.updated_at) == ("ISSUED", 21, NOW + 2)
    assert (told(bank), counted(bank)) == (0, 1)


async def test_what_was_told_is_counted_soon_if_nobody_mints_it(house: House, tmp_path: Path) -> None:
    bank = await open_bank(house, tmp_path, count_after_s=0.01)
    running = asyncio.create_task(bank.lightning.till.run())
    try:
        quote = await bank.quote(8)
        # Paid, and the node has not said so.
        del bank.node._unpaid[decode(quote.request).payment_hash]
        paid = await bank.teller.quote(quote.quote_id, METHOD)
        assert not paid.is_counted
        async with asyncio.timeout(10):
            while told(bank) or (found := await stored(bank, paid)).amount_paid == 0:
                await asyncio.sleep(0)
    finally:
        running.cancel()
    assert (found.updated_at, counted(bank)) == (paid.updated_at, 1)
    basket = bank.basket(8)
    assert len(await bank.teller.mint(bank.claim(paid, basket), METHOD)) == 1
    assert (await stored(bank, paid)).updated_at == NOW + 2
    assert counted(bank) == 1


async def test_after_a_crash_the_node_is_asked_again(bank: Bank, tmp_path: Path) -> None:
    paid = await bank.paid(8)
    risen = await open_bank(bank.house, tmp_path)
    assert (await stored(risen, paid)).state == "UNPAID"
    assert len(await risen.teller.mint(risen.claim(paid, risen.basket(8)), METHOD)) == 1
    assert (await risen.teller.quote(paid.quote_id, METHOD)).state == "ISSUED"


async def test_an_invoice_that_was_told_as_paid_is_not_paid_again_by_tokens(bank: Bank) -> None:
    tokens = await bank.tokens(8)
    early, late = await bank.quote(8), await bank.quote(8)
    melt = await bank.melt_quote(early.request)
    for quote in (early, late):
        bank.pay(quote)
        await bank.teller.quote(quote.quote_id, METHOD)
    with pytest.raises(InvoicePaidError):
        await bank.melt_quote(late.request)
    with pytest.raises(InvoicePaidError):
        await bank.desk.melt(bank.melt(melt, tokens))
    assert await bank.states(tokens) == ["UNSPENT"]


async def test_an_invoice_that_tokens_pay_is_seen_as_the_store_has_it(bank: Bank) -> None:
    tokens = await bank.tokens(8)
    quote = await bank.quote(8)
    await bank.desk.melt(bank.melt(await bank.melt_quote(quote.request), tokens))
    seen = await bank.teller.quote(quote.quote_id, METHOD)
    assert (seen.state, seen.is_counted) == ("PAID", True)


async def test_what_the_node_tells_meanwhile_is_counted_once(bank: Bank) -> None:
    quote = await bank.paid(8)
    receipts = await bank.lightning.till.receive([decode(quote.request).payment_hash])
    assert [each.quote_id for each in receipts.values()] == [quote.quote_id]
    await bank.lightning.till.count()
    assert (told(bank), counted(bank)) == (0, 1)
    assert await bank.teller.quote(quote.quote_id, METHOD) == await stored(bank, quote)


async def test_a_told_quote_is_minted_once_however_many_try(bank: Bank) -> None:
    quote = await bank.paid(8)
    bodies = [bank.claim(quote, bank.basket(8)) for _ in range(16)]
    outcomes = await asyncio.gather(
        *(bank.teller.mint(body, METHOD) for body in bodies), return_exceptions=True
    )
    assert Counter(type(outcome) for outcome in outcomes) == {list: 1, QuoteIssuedError: 15}
    assert await bank.totals() == (8, 0)
    assert counted(bank) == 1


async def test_several_told_quotes_are_minted_at_once_beside_one_that_was_not(bank: Bank) -> None:
    quotes = [await bank.paid(amount) for amount in (1, 2)]
    quotes.append(await bank.quote(4))
    bank.pay(quotes[2])
    outputs = [output.to_json() for output in bank.basket(1, 2, 4).outputs]
    body = {"quotes": [quote.quote_id for quote in quotes], "outputs": outputs}
    assert len(await bank.teller.mint_batch(body, METHOD)) == 3
    assert [(await stored(bank, quote)).state for quote in quotes] == ["ISSUED"] * 3
    assert (told(bank), counted(bank)) == (0, 3)


async def test_a_write_that_fails_leaves_what_was_told_to_be_counted(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    quote = await bank.paid(8)

    async def fail(_: object) -> None:
        raise CommitFailed("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(bank.house.database, "write", fail)
        with pytest.raises(CommitFailed):
            await bank.teller.mint(bank.claim(quote, bank.basket(8)), METHOD)
        with pytest.raises(CommitFailed):
            await bank.lightning.till.count()
    assert told(bank) == 1
    await bank.lightning.till.count()
    assert (await stored(bank, quote)).state == "PAID"


async def test_beyond_a_number_payments_are_counted_before_they_are_told(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(till, "TOLD_LIMIT", 1)
    first, second = await bank.paid(8), await bank.paid(8)
    assert [first.is_counted, second.is_counted] == [False, True]
    assert [(await stored(bank, quote)).state for quote in (first, second)] == ["UNPAID", "PAID"]


async def test_quotes_that_an_operator_corrects_are_read_again(bank: Bank) -> None:
    quote = await bank.quote(8)
    bank.lightning.till.leave([quote.quote_id])
    correct = "UPDATE quote SET amount_paid = 3 WHERE quote_id = ?"
    await bank.house.database.write(lambda c: c.execute(correct, (quote.quote_id,)).rowcount)
    assert (await bank.teller.quote(quote.quote_id, METHOD)).amount_paid == 3


async def test_quotes_that_have_expired_are_read_again_and_may_be_gone(bank: Bank) -> None:
    unpaid, paid = await bank.quote(8), await bank.paid(8)
    bank.house.clock.now = NOW + 3601
    assert (await bank.teller.quote(paid.quote_id, METHOD)).state == "PAID"
    forget = "DELETE FROM invoice WHERE quote_no IN (SELECT quote_no FROM quote WHERE quote_id = ?)"
    await bank.house.database.write(lambda c: c.execute(forget, (unpaid.quote_id,)).rowcount)
    await bank.house.database.write(
        lambda c: c.execute("DELETE FROM quote WHERE quote_id = ?", (unpaid.quote_id,)).rowcount
    )
    with pytest.raises(QuoteUnknownError):
        await bank.teller.quote(unpaid.quote_id, METHOD)


def test_the_oldest_quotes_are_forgotten_and_none_is_left_behind() -> None:
    fresh = FreshQuotes(limit=2)
    quotes = [
        replace(Quote(str(number), METHOD, "sat", "", 8, 0, 0, 1, None), payment_hash=bytes([number]) * 32)
        for number in range(3)
    ]
    for quote in quotes:
        fresh.keep(quote)
    assert fresh.find(["0"]) is None
    assert fresh.find(["2", "1"]) == [quotes[2], quotes[1]]
    assert fresh.of_payment(b"\x00" * 32) is None
    assert fresh.of_payment(b"\x02" * 32) == quotes[2]
    fresh.forget_payments([b"\x02" * 32, b"\x07" * 32])
    fresh.forget(["1", "7"])
    assert len(fresh) == 0
