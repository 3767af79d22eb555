import asyncio
from collections import Counter
from pathlib import Path
from uuid import UUID

import pytest

from protocols.bitcoin.secp256k1 import public_key
from protocols.cashu.errors import (
    AmountOutOfLimitsError,
    CashuError,
    MalformedError,
    MintingDisabledError,
    NotBalancedError,
    PubkeyRequiredError,
    QuoteExpiredError,
    QuoteIssuedError,
    QuoteNotPaidError,
    QuoteUnknownError,
    SignatureError,
    UnitsDifferError,
    UnitUnsupportedError,
)
from protocols.lightning.invoice import decode
from roles.mint import quote_rows
from roles.mint.errors import OverloadedError
from roles.mint.halts import method_scope
from roles.mint.lightning.errors import BackendUnavailable
from roles.mint.lightning.method import METHOD
from roles.mint.listening import offer_all
from roles.mint.notice_board import State, Subject
from roles.mint.quote import Quote
from roles.mint.random_id import random_id
from roles.runtime.task_group import TaskGroup
from tests.roles.mint.house import NOW
from tests.roles.mint.lightning.bank import NODE, Bank, amounts, open_bank

OWNER = b"\x71" * 32


async def test_a_quote_is_paid_by_its_invoice_and_minted(bank: Bank) -> None:
    quote = await bank.quote(21, description="beans")
    invoice = decode(quote.request)
    assert (invoice.amount_msat, invoice.description, invoice.payee) == (21_000, "beans", public_key(NODE))
    assert quote.to_json() == {
        "quote": quote.quote_id,
        "request": quote.request,
        "method": "bolt11",
        "unit": "sat",
        "amount": 21,
        "state": "UNPAID",
        "amount_paid": 0,
        "amount_issued": 0,
        "updated_at": NOW,
        "expiry": NOW + 3600,
        "pubkey": None,
    }
    assert await bank.teller.quote(quote.quote_id, METHOD) == quote
    bank.pay(quote)
    paid = await bank.teller.quote(quote.quote_id, METHOD)
    assert (paid.state, paid.amount_paid, paid.updated_at) == ("PAID", 21, NOW + 1)
    basket = bank.basket(1, 4, 16)
    proofs = basket.open(await bank.teller.mint(bank.claim(quote, basket), METHOD), bank.house.book)
    assert amounts(proofs) == 21
    assert (await bank.teller.quote(quote.quote_id, METHOD)).state == "ISSUED"
    assert await bank.totals() == (21, 0)


async def test_ids_of_quotes_are_random_and_tell_nothing_but_their_time(bank: Bank) -> None:
    first, second = await bank.quote(1), await bank.quote(1)
    for quote in (first, second):
        made = UUID(quote.quote_id)
        assert (made.version, made.variant) == (7, "specified in RFC 4122")
        assert made.int >> 80 == NOW * 1000
    assert first.quote_id != second.quote_id
    random = (1 << 74) - 1
    assert UUID(random_id(0, b"\xff" * 10)).int.bit_count() == random.bit_count() + 3 + 1
    assert UUID(random_id(0, bytes(10))).int.bit_count() == 3 + 1


async def test_an_unpaid_quote_cannot_be_minted_and_expires(bank: Bank) -> None:
    quote = await bank.quote(8)
    with pytest.raises(QuoteNotPaidError):
        await bank.teller.mint(bank.claim(quote, bank.basket(8)), METHOD)
    bank.house.clock.now = NOW + 3601
    with pytest.raises(QuoteExpiredError):
        await bank.teller.mint(bank.claim(quote, bank.basket(8)), METHOD)
    assert (await bank.teller.quote(quote.quote_id, METHOD)).state == "UNPAID"


async def test_what_was_paid_stays_mintable_after_the_invoice_has_expired(bank: Bank) -> None:
    quote = await bank.paid(8)
    bank.house.clock.now = NOW + 10**6
    await bank.teller.mint(bank.claim(quote, bank.basket(8)), METHOD)
    with pytest.raises(QuoteIssuedError):
        await bank.teller.mint(bank.claim(quote, bank.basket(8)), METHOD)


async def test_a_payment_that_comes_while_the_invoice_expires_still_counts(bank: Bank) -> None:
    quote = await bank.quote(8)
    bank.house.clock.now = NOW + 3700
    bank.pay(quote)
    assert (await bank.teller.quote(quote.quote_id, METHOD)).state == "PAID"


async def test_nobody_is_asked_about_an_invoice_that_expired_long_ago(bank: Bank) -> None:
    quote = await bank.quote(8)
    bank.pay(quote)
    bank.house.clock.now = NOW + 3600 + 86_400
    assert (await bank.teller.quote(quote.quote_id, METHOD)).state == "UNPAID"


async def test_minting_needs_no_look_at_the_quote_before(bank: Bank) -> None:
    quote = await bank.quote(8)
    bank.pay(quote)
    await bank.teller.mint(bank.claim(quote, bank.basket(8)), METHOD)


async def test_never_more_is_minted_than_was_paid(bank: Bank) -> None:
    quote = await bank.paid(8)
    with pytest.raises(NotBalancedError):
        await bank.teller.mint(bank.claim(quote, bank.basket(1, 8)), METHOD)
    bodies = [bank.claim(quote, bank.basket(8)) for _ in range(16)]
    outcomes = await asyncio.gather(
        *(bank.teller.mint(body, METHOD) for body in bodies), return_exceptions=True
    )
    assert Counter(type(outcome) for outcome in outcomes) == {list: 1, QuoteIssuedError: 15}
    assert await bank.totals() == (8, 0)


async def test_a_locked_quote_needs_its_keys_signature_in_either_form(bank: Bank) -> None:
    quote = await bank.paid(8, pubkey=public_key(OWNER).hex())
    assert quote.to_json()["pubkey"] == public_key(OWNER).hex()
    basket = bank.basket(8)
    with pytest.raises(SignatureError):
        await bank.teller.mint(bank.claim(quote, basket), METHOD)
    with pytest.raises(SignatureError):
        await bank.teller.mint(bank.claim(quote, basket, NODE), METHOD)
    await bank.teller.mint(bank.claim(quote, basket, OWNER), METHOD)


async def test_an_unlocked_quote_with_a_signature_is_refused(bank: Bank) -> None:
    quote = await bank.paid(8)
    with pytest.raises(SignatureError):
        await bank.teller.mint(bank.claim(quote, bank.basket(8), OWNER), METHOD)


async def test_several_quotes_are_looked_at_and_minted_at_once(bank: Bank) -> None:
    quotes = [await bank.quote(amount) for amount in (1, 2, 4)]
    for quote in quotes[:2]:
        bank.pay(quote)
    ids = [quote.quote_id for quote in quotes]
    seen = await bank.teller.check_quotes({"quotes": ids}, METHOD)
    assert [(quote.quote_id, quote.state) for quote in seen] == list(
        zip(ids, ["PAID", "PAID", "UNPAID"], strict=True)
    )
    basket = bank.basket(1, 2)
    body = {"quotes": ids[:2], "outputs": [output.to_json() for output in basket.outputs]}
    assert len(await bank.teller.mint_batch(body, METHOD)) == 2
    with pytest.raises(CashuError):
        await bank.teller.mint_batch(
            {"quotes": ids, "outputs": [o.to_json() for o in bank.basket(1, 2, 4).outputs]}, METHOD
        )


async def test_quotes_of_one_method_are_unknown_to_another(bank: Bank) -> None:
    (share,) = await bank.house.credit(4)
    quote = await bank.paid(4)
    for quote_id, method in ((share.quote_id, METHOD), (quote.quote_id, "ehash")):
        with pytest.raises(QuoteUnknownError):
            await bank.teller.quote(quote_id, method)
    with pytest.raises(QuoteUnknownError):
        await bank.teller.mint(bank.claim(quote, bank.basket(4)))
    with pytest.raises(UnitUnsupportedError, match="ehash, bolt11"):
        await bank.teller.create_quote({"amount": 1, "unit": "sat"}, "bolt12")


async def test_a_sat_quote_gives_no_ehash(bank: Bank) -> None:
    quote = await bank.paid(4)
    with pytest.raises(UnitsDifferError):
        await bank.teller.mint(bank.claim(quote, bank.house.basket(4)), METHOD)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"unit": "sat"}, MalformedError),
        ({"amount": "4", "unit": "sat"}, MalformedError),
        ({"amount": 4.0, "unit": "sat"}, MalformedError),
        ({"amount": True, "unit": "sat"}, MalformedError),
        ({"amount": -1, "unit": "sat"}, MalformedError),
        ({"amount": 4}, MalformedError),
        ({"amount": 4, "unit": "usd"}, UnitUnsupportedError),
        ({"amount": 0, "unit": "sat"}, AmountOutOfLimitsError),
        ({"amount": 100_000_001, "unit": "sat"}, AmountOutOfLimitsError),
        ({"amount": 1 << 53, "unit": "sat"}, AmountOutOfLimitsError),
        ({"amount": 4, "unit": "sat", "description": 4}, MalformedError),
        ({"amount": 4, "unit": "sat", "description": "x" * 640}, MalformedError),
        ({"amount": 4, "unit": "sat", "description": "\u4e16" * 300}, MalformedError),
        ({"amount": 4, "unit": "sat", "pubkey": "02"}, PubkeyRequiredError),
        ({"amount": 4, "unit": "sat", "pubkey": "02" + "ff" * 32}, PubkeyRequiredError),
        ([], MalformedError),
    ],
)
async def test_requests_for_quotes_that_are_wrong_are_refused(
    bank: Bank, body: object, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await bank.teller.create_quote(body, METHOD)


async def test_the_unit_may_be_written_in_capitals(bank: Bank) -> None:
    assert (await bank.teller.create_quote({"amount": 4, "unit": "SAT"}, METHOD)).unit == "sat"


async def test_no_quotes_are_made_while_minting_is_off_or_paused(bank: Bank, tmp_path: Path) -> None:
    await bank.halts.stop(method_scope(METHOD), "for a while")
    with pytest.raises(MintingDisabledError):
        await bank.quote(4)
    await bank.halts.release(method_scope(METHOD), "again")
    await bank.quote(4)
    off = await open_bank(bank.house, tmp_path, minting=False)
    with pytest.raises(MintingDisabledError):
        await off.quote(4)
    assert off.lightning.method.settings(["sat"]) == []


async def test_more_unpaid_quotes_than_there_may_be_are_turned_away(bank: Bank, tmp_path: Path) -> None:
    few = await open_bank(bank.house, tmp_path, open_quotes=2)
    quotes = [await few.quote(1), await few.quote(1)]
    with pytest.raises(OverloadedError):
        await few.quote(1)
    few.pay(quotes[0])
    await few.teller.quote(quotes[0].quote_id, METHOD)
    bank.house.clock.now += 11
    await few.quote(1)


async def test_a_node_that_does_not_answer_makes_no_quote_and_leaves_quotes_as_they_are(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    quote = await bank.quote(4)

    async def fail(*_: object) -> bool:
        raise OSError("no route to the node")

    monkeypatch.setattr(bank.node, "is_paid", fail)
    monkeypatch.setattr(bank.node, "create_invoice", fail)
    assert (await bank.teller.quote(quote.quote_id, METHOD)).state == "UNPAID"
    with pytest.raises(BackendUnavailable):
        await bank.quote(4)
    failures = bank.metrics.get_sample_value(
        "hashpool_mint_lightning_failures_total", {"call": "create-invoice", "reason": "unavailable"}
    )
    assert failures == 1


async def test_the_till_hears_of_payments_and_of_those_it_has_missed(bank: Bank) -> None:
    missed, told, unpaid = [await bank.quote(4) for _ in range(3)]
    bank.pay(missed)
    while not bank.node._paid.empty():
        bank.node._paid.get_nowait()
    running = asyncio.create_task(bank.lightning.till.run())
    try:
        bank.pay(told)
        await _until(bank, missed, told)
    finally:
        running.cancel()
    assert await _state(bank, unpaid) == 0
    assert bank.metrics.get_sample_value("hashpool_mint_invoices_paid_total") == 2
    again = "hashpool_mint_invoices_paid_again_total"
    before = bank.metrics.get_sample_value(again) or 0
    await bank.lightning.till.receive([decode(told.request).payment_hash, b"\x01" * 32])
    assert bank.metrics.get_sample_value(again) == before + 2


async def _state(bank: Bank, quote: Quote) -> int:
    found = await bank.house.database.read(lambda c: quote_rows.find(c, METHOD, [quote.quote_id]))
    return found[0].amount_paid


async def _until(bank: Bank, *quotes: Quote) -> None:
    async with asyncio.timeout(30):
        while not all([await _state(bank, quote) for quote in quotes]):
            await asyncio.sleep(0.01)


async def test_who_listens_to_a_quote_hears_that_its_invoice_was_paid(bank: Bank) -> None:
    quote = await bank.quote(8)
    heard: list[State] = []
    board = bank.house.board

    class Ear:
        def hear(self, subject: Subject, state: State) -> None:
            assert subject == Subject("bolt11_mint_quote", quote.quote_id)
            heard.append(state)

    offer_all(board, bank.teller)
    board.listen([Subject("bolt11_mint_quote", quote.quote_id)], Ear())
    async with asyncio.timeout(30), TaskGroup() as tasks:
        telling = tasks.create_task(board.run())
        while not heard:
            await asyncio.sleep(0)
        bank.pay(quote)
        await bank.teller.quote(quote.quote_id, METHOD)
        while len(heard) < 2:
            await asyncio.sleep(0)
        telling.cancel()
    assert [state["state"] for state in heard] == ["UNPAID", "PAID"]


async def test_quotes_that_expired_unpaid_are_forgotten_in_time_and_paid_ones_never(bank: Bank) -> None:
    unpaid, paid = await bank.quote(4), await bank.paid(4)
    mine = await bank.quote(4)
    bank.house.clock.now = NOW + 3_500
    melt = await bank.melt_quote(mine.request)
    stale = bank.lightning.stale
    bank.house.clock.now = NOW + 3_600 + 172_800
    assert await stale.forget() == 0
    bank.house.clock.now += 1
    assert await stale.forget() == 1, "what a melt was to pay stays beside it"
    bank.house.clock.now += 800
    assert await stale.forget() == 2
    for quote in (unpaid, mine):
        with pytest.raises(QuoteUnknownError):
            await bank.teller.quote(quote.quote_id, METHOD)
    with pytest.raises(QuoteUnknownError):
        await bank.desk.quote(melt.quote_id)
    assert (await bank.teller.quote(paid.quote_id, METHOD)).state == "PAID"
