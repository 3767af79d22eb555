import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from protocols.bitcoin.hashing import sha256
from protocols.bitcoin.secp256k1 import public_key, schnorr_sign
from protocols.cashu import bdhke, p2pk
from protocols.cashu.denominations import split
from protocols.cashu.errors import (
    AmountlessInvoiceError,
    AmountMismatchError,
    AmountOutOfLimitsError,
    CashuError,
    DuplicateInputsError,
    DuplicateOutputsError,
    InvoicePaidError,
    KeysetInactiveError,
    MalformedError,
    MintingDisabledError,
    NotBalancedError,
    OutputsPendingError,
    OutputsSignedError,
    PaymentFailedError,
    ProofsPendingError,
    ProofsSpentError,
    QuoteExpiredError,
    QuotePendingError,
    QuoteUnknownError,
    SeveralUnitsError,
    SignatureError,
    TooManyInputsError,
    TooManyOutputsError,
    UnitsDifferError,
    UnitUnsupportedError,
)
from protocols.cashu.models import Proof
from protocols.cashu.nut10 import ConditionSecret
from protocols.cashu.witness import Witness
from protocols.lightning.invoice import decode, encode
from roles.mint.errors import CountersBrokenError
from roles.mint.halts import method_scope
from roles.mint.lightning.method import METHOD
from roles.mint.melting.quote import MeltQuote
from roles.mint.melting.request import MeltRequest
from roles.mint.request import Sizes
from roles.mint.watchdog import Watchdog
from shared_config.mint import WatchdogSettings
from tests.roles.mint.house import NOW, Basket
from tests.roles.mint.lightning.bank import Bank, amounts, foreign_invoice, open_bank

OWNER = b"\x72" * 32


async def check_books(bank: Bank) -> None:
    """Counters and rows agree."""
    dog = Watchdog(bank.house.database, bank.halts, WatchdogSettings(), CollectorRegistry(), lambda *_: None)
    assert not await dog.recount()


async def test_an_invoice_of_others_is_paid_and_what_routing_did_not_cost_comes_back(bank: Bank) -> None:
    quote = await bank.melt_quote(foreign_invoice(100_000_000))
    assert quote.to_json() == {
        "quote": quote.quote_id,
        "method": "bolt11",
        "request": quote.request,
        "amount": 100_000,
        "unit": "sat",
        "fee_reserve": 1_000,
        "state": "UNPAID",
        "expiry": NOW + 900,
        "updated_at": NOW,
        "payment_preimage": None,
    }
    proofs, basket = await bank.change(101_000), bank.basket(*[1] * 10)
    paid = await bank.desk.melt(bank.melt(quote, proofs, basket))
    assert paid.state == "PAID"
    assert paid.preimage is not None
    assert paid.change is not None
    assert [signature.amount for signature in paid.change] == list(split(999))
    assert amounts(basket_open(bank, basket, paid)) == 999
    assert await bank.desk.quote(quote.quote_id) == paid
    assert set(await bank.states(proofs)) == {"SPENT"}
    assert await bank.totals() == (101_999, 101_000)
    assert bank.metrics.get_sample_value("hashpool_mint_melts_total", {"outcome": "paid"}) == 1
    assert bank.metrics.get_sample_value("hashpool_mint_melt_fees_msat_total") == 1_000
    await check_books(bank)
    swapped = await bank.teller.swap(
        bank.house.swap(basket_open(bank, basket, paid), bank.basket(*split(999)))
    )
    assert len(swapped) == len(split(999))


def basket_open(bank: Bank, basket: Basket, quote: MeltQuote) -> list[Proof]:
    """The tokens of a melt's change."""
    assert quote.change is not None
    used = len(quote.change)
    part = replace(
        basket,
        outputs=basket.outputs[:used],
        secrets=basket.secrets[:used],
        blindings=basket.blindings[:used],
    )
    return part.open(quote.change, bank.house.book)


async def test_an_invoice_of_this_mint_is_paid_by_tokens_at_once_and_without_a_reserve(bank: Bank) -> None:
    mine = await bank.quote(10)
    quote = await bank.melt_quote(mine.request)
    assert quote.fee_reserve == 0
    proofs, basket = await bank.tokens(8, 4), bank.basket(1, 1)
    paid = await bank.desk.melt(bank.melt(quote, proofs, basket))
    assert (paid.state, paid.preimage) == ("PAID", None)
    assert [signature.amount for signature in paid.change or ()] == [2]
    assert (await bank.teller.quote(mine.quote_id, METHOD)).state == "PAID"
    await bank.teller.mint(bank.claim(mine, bank.basket(2, 8)), METHOD)
    assert await bank.totals() == (24, 12)
    assert await bank.desk.melt(bank.melt(quote, proofs, basket)) == paid
    waiting = bank.node._paid.qsize()
    bank.node.receive(decode(mine.request).payment_hash)
    assert bank.node._paid.qsize() == waiting, "nobody can pay it any more"
    await check_books(bank)


async def test_an_invoice_of_this_mint_is_paid_by_tokens_once_and_never_beside_a_payment(bank: Bank) -> None:
    mine = await bank.quote(8)
    quotes = [await bank.melt_quote(mine.request) for _ in range(3)]
    stakes = [await bank.tokens(8) for _ in quotes]
    outcomes = await asyncio.gather(
        *(bank.desk.melt(bank.melt(*pair)) for pair in zip(quotes, stakes, strict=True)),
        return_exceptions=True,
    )
    kinds = Counter(type(each).__name__ for each in outcomes)
    assert kinds["MeltQuote"] == 1
    assert set(kinds) <= {"MeltQuote", "QuotePendingError", "InvoicePaidError"}
    assert sorted(await bank.states([each[0] for each in stakes]), key=str) == ["SPENT", "UNSPENT", "UNSPENT"]
    other = await bank.quote(8)
    late = await bank.melt_quote(other.request)
    bank.pay(other)
    await bank.teller.quote(other.quote_id, METHOD)
    with pytest.raises(InvoicePaidError):
        await bank.desk.melt(bank.melt(late, await bank.tokens(8)))
    with pytest.raises(InvoicePaidError):
        await bank.melt_quote(other.request)
    await check_books(bank)


async def test_an_invoice_that_only_looks_like_one_of_this_mint_is_refused(bank: Bank) -> None:
    mine = await bank.quote(1_000)
    invoice = decode(mine.request)
    cheap = encode(replace(invoice, amount_msat=1_000), b"\x68" * 32)
    with pytest.raises(AmountMismatchError):
        await bank.melt_quote(cheap)
    bank.house.clock.now += 3_601
    with pytest.raises(QuoteExpiredError):
        await bank.melt_quote(mine.request)


async def test_the_identical_request_is_answered_the_same_for_ever(bank: Bank) -> None:
    quote = await bank.melt_quote(foreign_invoice(10_000))
    proofs = await bank.tokens(8, 4)
    body = bank.melt(quote, proofs, bank.basket(1))
    paid = await bank.desk.melt(body)
    bank.house.clock.now += 10**6
    for _ in range(3):
        assert await bank.desk.melt(body) == paid
    assert await bank.totals() == (13, 12)
    with pytest.raises(InvoicePaidError):
        await bank.desk.melt(bank.melt(quote, await bank.tokens(8, 4)))


async def test_of_many_melts_of_one_quote_or_one_token_at_once_one_wins(bank: Bank) -> None:
    quote = await bank.melt_quote(foreign_invoice(8_000))
    stakes = [await bank.tokens(8, 2) for _ in range(6)]
    outcomes = await asyncio.gather(
        *(bank.desk.melt(bank.melt(quote, stake)) for stake in stakes), return_exceptions=True
    )
    kinds = Counter(type(each).__name__ for each in outcomes)
    assert kinds["MeltQuote"] == 1
    assert set(kinds) <= {"MeltQuote", "QuotePendingError", "InvoicePaidError"}
    stake = await bank.tokens(8, 2)
    quotes = [await bank.melt_quote(foreign_invoice(8_000, number=number)) for number in range(10, 16)]
    outcomes = await asyncio.gather(
        *(bank.desk.melt(bank.melt(each, stake)) for each in quotes), return_exceptions=True
    )
    kinds = Counter(type(each).__name__ for each in outcomes)
    assert kinds["MeltQuote"] == 1
    assert set(kinds) <= {"MeltQuote", "ProofsPendingError", "ProofsSpentError"}
    await check_books(bank)


async def test_two_quotes_for_one_invoice_pay_it_once(bank: Bank) -> None:
    request = foreign_invoice(8_000, "fake: pending 5")
    first, second = await bank.melt_quote(request), await bank.melt_quote(request)
    await bank.desk.melt(bank.melt(first, await bank.tokens(8, 2)), respond_async=True)
    with pytest.raises(QuotePendingError):
        await bank.desk.melt(bank.melt(second, await bank.tokens(8, 2)))
    with pytest.raises(QuotePendingError):
        await bank.melt_quote(request)
    await settled(bank, first.quote_id, after=6)
    with pytest.raises(InvoicePaidError):
        await bank.desk.melt(bank.melt(second, await bank.tokens(8, 2)))
    with pytest.raises(InvoicePaidError):
        await bank.melt_quote(request)


async def settled(bank: Bank, quote_id: str, *, after: float = 0.0) -> None:
    """Let time pass until a melt is not pending any more."""
    bank.house.clock.now += after
    async with asyncio.timeout(30):
        while (await bank.desk.quote(quote_id)).state == "PENDING":
            await asyncio.sleep(0.01)


async def test_a_payment_that_takes_its_time_is_pending_and_so_are_its_tokens(
    bank: Bank, tmp_path: Path
) -> None:
    quick = await open_bank(bank.house, tmp_path, respond_s=0)
    quote = await quick.melt_quote(foreign_invoice(8_000, "fake: pending 5"))
    proofs, basket = await quick.tokens(8, 2), quick.basket(1)
    body = quick.melt(quote, proofs, basket)
    assert (await quick.desk.melt(body)).state == "PENDING"
    assert await quick.states(proofs) == ["PENDING", "PENDING"]
    assert (await quick.desk.melt(body)).state == "PENDING"
    with pytest.raises(QuotePendingError):
        await quick.desk.melt(quick.melt(quote, await quick.tokens(8, 2)))
    with pytest.raises(ProofsPendingError):
        await quick.teller.swap(quick.house.swap(proofs, quick.basket(2, 8)))
    other = await quick.melt_quote(foreign_invoice(8_000, number=2))
    with pytest.raises(ProofsPendingError):
        await quick.desk.melt(quick.melt(other, proofs))
    with pytest.raises(OutputsPendingError):
        await quick.desk.melt(quick.melt(other, await quick.tokens(8, 2), basket))
    await check_books(quick)
    await settled(quick, quote.quote_id, after=6)
    paid = await quick.desk.melt(body)
    assert (paid.state, [each.amount for each in paid.change or ()]) == ("PAID", [1])
    assert await quick.states(proofs) == ["SPENT", "SPENT"]
    await check_books(quick)


async def test_who_prefers_not_to_wait_is_told_that_it_is_pending(bank: Bank) -> None:
    quote = await bank.melt_quote(foreign_invoice(8_000))
    body = bank.melt(quote, await bank.tokens(8, 2)) | {"prefer_async": True}
    assert (await bank.desk.melt(body)).state == "PENDING"
    await settled(bank, quote.quote_id)
    assert (await bank.desk.quote(quote.quote_id)).state == "PAID"


async def test_a_failed_payment_gives_the_tokens_back_and_may_be_tried_again(bank: Bank) -> None:
    quote = await bank.melt_quote(foreign_invoice(8_000, "fake: failed"))
    proofs, basket = await bank.tokens(8, 2), bank.basket(1)
    body = bank.melt(quote, proofs, basket)
    for _ in range(2):
        with pytest.raises(PaymentFailedError, match="says that it fails"):
            await bank.desk.melt(body)
        assert (await bank.desk.quote(quote.quote_id)).state == "UNPAID"
        assert await bank.states(proofs) == ["UNSPENT", "UNSPENT"]
    assert await bank.totals() == (10, 0)
    await check_books(bank)
    other = await bank.melt_quote(foreign_invoice(8_000, number=2))
    assert (await bank.desk.melt(bank.melt(other, proofs, basket))).state == "PAID"


async def test_outputs_that_a_pending_payment_keeps_for_its_change_are_signed_for_nobody_else(
    bank: Bank,
) -> None:
    quote = await bank.melt_quote(foreign_invoice(8_000, "fake: pending 5"))
    proofs, basket, quick = await bank.tokens(8, 2), bank.basket(1, 1), {"prefer_async": True}
    assert (await bank.desk.melt(bank.melt(quote, proofs, basket) | quick)).state == "PENDING"
    others = await bank.tokens(1, 1)
    for number in range(2):
        body = {
            "inputs": [others[number].to_json()],
            "outputs": [basket.outputs[number].to_json()],
        }
        with pytest.raises(OutputsPendingError):
            await bank.teller.swap(body)
    claim = bank.claim(await bank.paid(2), basket)
    with pytest.raises(OutputsPendingError):
        await bank.teller.mint(claim, METHOD)
    assert await bank.states(others) == ["UNSPENT", "UNSPENT"]
    assert await bank.teller.swap(body | {"outputs": [bank.basket(1).outputs[0].to_json()]})
    await settled(bank, quote.quote_id, after=6)
    assert len((await bank.desk.quote(quote.quote_id)).change or ()) == 1
    body = {"inputs": [others[0].to_json()], "outputs": [basket.outputs[0].to_json()]}
    with pytest.raises(OutputsSignedError):
        await bank.teller.swap(body)
    # What got nothing may be used again.
    assert await bank.teller.swap(body | {"outputs": [basket.outputs[1].to_json()]})
    await check_books(bank)


async def test_a_payment_that_failed_before_anybody_could_look_is_told_as_failed(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    quote = await bank.melt_quote(foreign_invoice(8_000, "fake: failed"))
    desk, put_up = bank.desk, bank.desk._put_up

    async def put_up_and_wait(*given: Any) -> Any:
        paying = await put_up(*given)
        assert paying is not None
        await asyncio.wait([paying])
        return paying

    monkeypatch.setattr(desk, "_put_up", put_up_and_wait)
    for respond_async in (False, True):
        with pytest.raises(PaymentFailedError, match="says that it fails"):
            await desk.melt(bank.melt(quote, await bank.tokens(8, 2)), respond_async=respond_async)


async def test_who_has_failed_is_not_told_that_another_wallets_payment_for_the_quote_is_pending(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    quote = await bank.melt_quote(foreign_invoice(8_000, "fake: pending 5 failed"))
    mine, others = await bank.tokens(8, 2), await bank.tokens(8, 2)
    cashier, begun = bank.lightning.cashier, bank.desk._begun
    first = bank.melt(quote, mine)
    looks = 0

    async def look(request: MeltRequest) -> MeltQuote | None:
        nonlocal looks
        if request.inputs[0].secret == mine[0].secret:
            looks += 1
            if looks == 2:
                await settled(bank, quote.quote_id)
                assert (
                    await bank.desk.melt(bank.melt(quote, others) | {"prefer_async": True})
                ).state == "PENDING"
        return await begun(request)

    monkeypatch.setattr(bank.desk, "_begun", look)
    melting = asyncio.create_task(bank.desk.melt(first))
    while await bank.states(mine) != ["PENDING", "PENDING"] or not bank.node._journal._payments:
        await asyncio.sleep(0.01)
    bank.house.clock.now += 6
    with pytest.raises(PaymentFailedError):
        await melting
    assert cashier.awaited((await bank.desk.quote(quote.quote_id)).melt_no) is not None
    assert await bank.states(mine + others) == ["UNSPENT", "UNSPENT", "PENDING", "PENDING"]


async def test_a_payment_that_fails_after_a_while_gives_the_tokens_back_as_soon_as_it_has(bank: Bank) -> None:
    quote = await bank.melt_quote(foreign_invoice(8_000, "fake: pending 5 failed"))
    proofs = await bank.tokens(8, 2)
    melting = asyncio.create_task(bank.desk.melt(bank.melt(quote, proofs)))
    while await bank.states(proofs) != ["PENDING", "PENDING"] or not bank.node._journal._payments:
        await asyncio.sleep(0.01)
    bank.house.clock.now += 6
    with pytest.raises(PaymentFailedError):
        await melting
    assert await bank.states(proofs) == ["UNSPENT", "UNSPENT"]


async def test_an_answer_that_is_lost_costs_nothing(bank: Bank) -> None:
    quote = await bank.melt_quote(foreign_invoice(8_000, "fake: lost"))
    proofs = await bank.tokens(8, 2)
    assert (await bank.desk.melt(bank.melt(quote, proofs, bank.basket(1)))).state == "PAID"


async def test_what_was_left_pending_is_resolved_and_what_was_never_sent_only_when_it_cannot_be_any_more(
    bank: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = await bank.melt_quote(foreign_invoice(8_000))
    unsent = await bank.melt_quote(foreign_invoice(8_000, number=2))
    stakes = [await bank.tokens(8, 2) for _ in range(2)]
    monkeypatch.setattr(bank.lightning.cashier, "pay", lambda _: None)
    for quote, stake in zip((sent, unsent), stakes, strict=True):
        assert (await bank.desk.melt(bank.melt(quote, stake), respond_async=True)).state == "PENDING"
    await bank.node.pay(sent.request, 8_000, 2_000)
    again = await open_bank(bank.house, tmp_path)
    again.node._journal._payments.update(bank.node._journal._payments)
    running = asyncio.create_task(again.lightning.cashier.run())
    await settled(again, sent.quote_id)
    assert await again.states(stakes[0]) == ["SPENT", "SPENT"]
    assert (await again.desk.quote(unsent.quote_id)).state == "PENDING"
    await settled(again, unsent.quote_id, after=71)
    assert (await again.desk.quote(unsent.quote_id)).state == "UNPAID"
    assert await again.states(stakes[1]) == ["UNSPENT", "UNSPENT"]
    running.cancel()
    await check_books(again)


async def test_two_mints_on_one_store_settle_a_melt_once(
    bank: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quotes = [await bank.melt_quote(foreign_invoice(8_000, number=number)) for number in range(6)]
    monkeypatch.setattr(bank.lightning.cashier, "pay", lambda _: None)
    for number, quote in enumerate(quotes):
        body = bank.melt(quote, await bank.tokens(8, 2), bank.basket(1))
        assert (await bank.desk.melt(body, respond_async=True)).state == "PENDING"
        if number % 2:
            await bank.node.pay(quote.request, 8_000, 2_000)
    bank.house.clock.now += 71
    other = await open_bank(bank.house, tmp_path)
    other.node._journal = bank.node._journal
    await asyncio.gather(*(each.lightning.cashier.sweep() for each in (bank, other)))
    for quote in quotes:
        await settled(bank, quote.quote_id)
    states = [(await bank.desk.quote(quote.quote_id)).state for quote in quotes]
    assert states == ["UNPAID", "PAID"] * 3
    told = [
        each.metrics.get_sample_value("hashpool_mint_melts_total", {"outcome": "paid"}) or 0
        for each in (bank, other)
    ]
    assert sum(told) == 3
    assert await bank.totals() == (63, 30)
    await check_books(bank)


async def test_a_token_locked_to_a_key_melts_with_its_signature_over_the_quote(bank: Bank) -> None:
    secret = ConditionSecret("P2PK", "n", public_key(OWNER).hex(), (("sigflag", "SIG_ALL"),)).to_text()
    plain = await bank.tokens(16)
    basket = bank.basket(16)
    basket.secrets = [secret]
    basket.outputs = [replace(basket.outputs[0], blinded=bdhke.blind(secret, basket.blindings[0]))]
    (proof,) = basket.open(await bank.teller.swap(bank.house.swap(plain, basket)), bank.house.book)
    quote = await bank.melt_quote(foreign_invoice(8_000))
    blanks = bank.basket(1, 1, 1)
    with pytest.raises(SignatureError):
        await bank.desk.melt(bank.melt(quote, [proof], blanks))
    for told, works in (("", False), (quote.quote_id, True)):
        message = sha256(p2pk.all_message([proof], blanks.outputs, told).encode())
        signed = replace(proof, witness=Witness((schnorr_sign(OWNER, message, bytes(32)),)).to_text())
        if works:
            assert (await bank.desk.melt(bank.melt(quote, [signed], blanks))).state == "PAID"
        else:
            with pytest.raises(SignatureError):
                await bank.desk.melt(bank.melt(quote, [signed], blanks))


async def test_a_melt_that_leaves_nothing_tells_an_empty_change(bank: Bank) -> None:
    quote = await bank.melt_quote(foreign_invoice(8_000))
    paid = await bank.desk.melt(bank.melt(quote, await bank.tokens(8, 2)))
    assert paid.to_json()["change"] == []
    assert (await bank.desk.quote(quote.quote_id)).to_json() == paid.to_json()


async def test_melts_that_are_wrong_are_refused_each_with_its_code(bank: Bank) -> None:
    quote = await bank.melt_quote(foreign_invoice(8_000))
    proofs = await bank.tokens(8, 2)
    ehash = await bank.house.tokens(8, 2)

    async def refused(
        error: type[CashuError], inputs: Sequence[Proof], basket: Basket | None = None, **more: object
    ) -> None:
        with pytest.raises(error):
            await bank.desk.melt(bank.melt(quote, inputs, basket) | more)

    await refused(NotBalancedError, proofs[:1])
    await refused(MalformedError, [])
    await refused(DuplicateInputsError, [proofs[0], proofs[0]])
    await refused(UnitsDifferError, ehash)
    await refused(SeveralUnitsError, [ehash[0], proofs[0]])
    await refused(UnitsDifferError, proofs, bank.house.basket(1))
    mixed = bank.basket(1)
    mixed.outputs += bank.house.basket(1).outputs
    await refused(SeveralUnitsError, proofs, mixed)
    basket = bank.basket(1)
    basket.outputs *= 2
    await refused(DuplicateOutputsError, proofs, basket)
    await refused(QuoteUnknownError, proofs, quote="nothing")
    used = bank.basket(2)
    spent = await bank.tokens(2)
    await bank.teller.swap(bank.house.swap(spent, used))
    await refused(OutputsSignedError, proofs, used)
    await refused(ProofsSpentError, [*proofs[:1], *spent])
    bank.desk._sizes = Sizes(array=1)
    await refused(TooManyInputsError, proofs)
    await refused(TooManyOutputsError, proofs[:1], bank.basket(1, 1))
    bank.desk._sizes = Sizes()
    keyset = bank.house.book.get(bank.keyset_id)
    basket = bank.basket(1)
    bank.house.book.add(replace(keyset, active=False))
    await refused(KeysetInactiveError, proofs, basket)
    bank.house.book.add(keyset)
    bank.house.clock.now += 901
    await refused(QuoteExpiredError, proofs)
    assert await bank.states(proofs) == ["UNSPENT", "UNSPENT"]


async def test_tokens_beyond_what_was_issued_pay_for_nothing_and_stop_the_mint(bank: Bank) -> None:
    quote = await bank.melt_quote(foreign_invoice(8_000))
    proofs = await bank.tokens(8, 2)
    await bank.house.database.write(
        lambda c: c.execute("UPDATE keyset SET issued = 9 WHERE unit = 'sat'").rowcount
    )
    with pytest.raises(CountersBrokenError):
        await bank.desk.melt(bank.melt(quote, proofs))
    assert not bank.node._journal._payments
    with pytest.raises(MintingDisabledError):
        await bank.melt_quote(foreign_invoice(8_000, number=2))


@pytest.mark.parametrize(
    ("request_text", "more", "error"),
    [
        ("lnbc1nothing", {}, MalformedError),
        (foreign_invoice(8_000), {"unit": "usd"}, UnitUnsupportedError),
        (foreign_invoice(None), {}, AmountlessInvoiceError),
        (foreign_invoice(None), {"options": {"amountless": {"amount_msat": 0}}}, AmountlessInvoiceError),
        (foreign_invoice(8_000), {"options": {"amountless": {"amount_msat": 9_000}}}, AmountMismatchError),
        (foreign_invoice(8_000), {"options": {"amountless": {}}}, MalformedError),
        (foreign_invoice(8_000), {"options": {"mpp": {"amount": 4}}}, MalformedError),
        (foreign_invoice(8_000), {"options": []}, MalformedError),
        (foreign_invoice(10**13), {}, AmountOutOfLimitsError),
    ],
)
async def test_requests_for_melt_quotes_that_are_wrong_are_refused(
    bank: Bank, request_text: str, more: dict[str, object], error: type[CashuError]
) -> None:
    with pytest.raises(error):
        await bank.melt_quote(request_text, **more)


async def test_the_wallet_names_the_amount_of_an_invoice_that_names_none(bank: Bank) -> None:
    quote = await bank.melt_quote(
        foreign_invoice(None).upper(), options={"amountless": {"amount_msat": 4_001}}
    )
    assert (quote.amount, quote.amount_msat) == (5, 4_001)
    paid = await bank.desk.melt(bank.melt(quote, await bank.tokens(8), bank.basket(1, 1)))
    assert [each.amount for each in paid.change or ()] == [2]


async def test_nothing_is_paid_while_melting_is_off_or_paused(bank: Bank, tmp_path: Path) -> None:
    quote = await bank.melt_quote(foreign_invoice(8_000))
    proofs = await bank.tokens(8, 2)
    await bank.halts.stop(method_scope(METHOD), "for a while")
    with pytest.raises(MintingDisabledError):
        await bank.melt_quote(foreign_invoice(8_000))
    with pytest.raises(MintingDisabledError):
        await bank.desk.melt(bank.melt(quote, proofs))
    await bank.halts.release(method_scope(METHOD), "again")
    await bank.desk.melt(bank.melt(quote, proofs))
    off = await open_bank(bank.house, tmp_path, melting=False)
    with pytest.raises(MintingDisabledError):
        await off.melt_quote(foreign_invoice(8_000, number=3))
    assert off.lightning.method.melt_settings(["sat"]) == []


async def test_fees_for_inputs_are_those_of_their_keyset(bank: Bank) -> None:
    quote = await bank.melt_quote(foreign_invoice(8_000))
    proofs = await bank.tokens(8, 2, 1)
    keyset = bank.house.book.get(bank.keyset_id)
    bank.house.book.add(replace(keyset, input_fee_ppk=100))
    with pytest.raises(NotBalancedError, match="input fee 1"):
        await bank.desk.melt(bank.melt(quote, proofs[:2]))
    paid = await bank.desk.melt(bank.melt(quote, proofs, bank.basket(1)))
    assert [each.amount for each in paid.change or ()] == [1]
    await check_books(bank)
