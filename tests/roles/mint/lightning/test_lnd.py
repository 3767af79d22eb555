import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from protocols.bitcoin.hashing import sha256
from protocols.lightning.invoice import decode
from roles.mint.lightning import lnd as lnd_module
from roles.mint.lightning.backend import Fate
from roles.mint.lightning.errors import BackendUnavailable, InvoiceRefused
from roles.mint.lightning.lnd import Access, LndBackend
from tests.roles.mint.house import NOW, Clock
from tests.roles.mint.lightning.bank import Bank, foreign_invoice
from tests.roles.mint.lightning.fake_lnd import MACAROON, PREIMAGE, FakeLnd, certificate, serving


@pytest.fixture
async def lnd(tmp_path: Path) -> AsyncIterator[FakeLnd]:
    async with serving(FakeLnd(Clock()), tmp_path) as made:
        yield made


@pytest.fixture
async def node(lnd: FakeLnd) -> AsyncIterator[LndBackend]:
    made = LndBackend(Access(lnd.url, MACAROON, lnd.certificate), pay_s=30)
    yield made
    await made.close()


def hash_of(request: str) -> bytes:
    return decode(request).payment_hash


async def test_an_invoice_is_made_paid_and_told_of(lnd: FakeLnd, node: LndBackend) -> None:
    made = await node.create_invoice(5_000, "tea", 60)
    invoice = decode(made.request)
    assert (invoice.amount_msat, invoice.description, made.expires_at) == (5_000, "tea", NOW + 60)
    assert made.payment_hash == invoice.payment_hash
    assert not await node.is_paid(made.payment_hash)
    receipts = aiter(node.receipts())
    told = asyncio.ensure_future(anext(receipts))
    async with asyncio.timeout(30):
        while not lnd.listeners:
            await asyncio.sleep(0.001)
        lnd.receive(made.payment_hash)
        assert await told == [made.payment_hash]
        assert await node.is_paid(made.payment_hash)
        lnd.listeners[0].put_nowait(b"")
        with pytest.raises(BackendUnavailable):
            await anext(receipts)
    assert not await node.is_paid(sha256(b"never made"))
    with pytest.raises(InvoiceRefused, match="too large"):
        await node.create_invoice(10**10, "", 60)


async def test_a_subscription_that_says_nothing_is_made_anew(
    node: LndBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lnd_module, "QUIET_S", 0.05)
    assert [batch async for batch in node.receipts()] == []


async def test_an_invoice_is_cancelled_and_one_that_is_unknown_needs_it_not(
    lnd: FakeLnd, node: LndBackend
) -> None:
    made = await node.create_invoice(5_000, "", 60)
    await node.cancel_invoice(made.payment_hash)
    assert lnd.invoices[made.payment_hash] == "CANCELED"
    await node.cancel_invoice(sha256(b"never made"))
    lnd.receive(made.payment_hash)
    with pytest.raises(BackendUnavailable, match="already settled"):
        await node.cancel_invoice(made.payment_hash)


async def test_a_payment_is_paid_once_within_its_fee(lnd: FakeLnd, node: LndBackend) -> None:
    request = foreign_invoice(8_000)
    paid = Fate("paid", 1_000, PREIMAGE)
    assert await node.pay(request, 8_000, 2_000) == paid
    assert await node.find_payment(hash_of(request)) == paid
    # It says that it has paid already, and then what came of it.
    assert await node.pay(request, 8_000, 2_000) == paid
    assert lnd.sent[0] == {
        "payment_request": request,
        "timeout_seconds": 30,
        "fee_limit_msat": "2000",
        "no_inflight_updates": True,
    }
    open_amount = foreign_invoice(None, number=2)
    assert await node.pay(open_amount, 7_000, 0) == paid
    assert (lnd.sent[-1]["amt_msat"], lnd.sent[-1]["fee_limit_msat"]) == ("7000", "0")


async def test_what_fails_for_good_is_told_apart_from_what_nobody_knows(
    lnd: FakeLnd, node: LndBackend
) -> None:
    requests = [foreign_invoice(8_000, number=number) for number in range(6)]
    plans: list[str | int] = ["failed", "breaks", "ends", 2, 13, 3]
    for request, plan in zip(requests, plans, strict=True):
        lnd.plans[hash_of(request)] = plan
    assert await node.pay(requests[0], 8_000, 2_000) == Fate("failed", reason="no route")
    assert (await node.find_payment(hash_of(requests[0]))).outcome == "failed"
    for request in requests[1:5]:
        with pytest.raises(BackendUnavailable):
            await node.pay(request, 8_000, 2_000)
    with pytest.raises(InvoiceRefused):
        await node.pay(requests[5], 8_000, 2_000)
    fates = [(await node.find_payment(hash_of(request))).outcome for request in requests[1:]]
    assert fates == ["pending", "pending", "unknown", "unknown", "unknown"]
    lnd.settle(hash_of(requests[1]), "SUCCEEDED")
    assert (await node.find_payment(hash_of(requests[1]))).outcome == "paid"
    lnd.settle(hash_of(requests[2]), "SOMETHING_NEW")
    assert (await node.find_payment(hash_of(requests[2]))).outcome == "pending"


async def test_a_node_that_is_not_the_one_or_does_not_let_us_in_is_away_and_no_secret_is_told(
    lnd: FakeLnd, node: LndBackend, tmp_path: Path
) -> None:
    await node.probe()
    lnd.synced = False
    with pytest.raises(BackendUnavailable, match="behind"):
        await node.probe()
    access = Access(lnd.url, MACAROON, lnd.certificate)
    assert MACAROON not in repr(access)
    others = [
        replace(access, macaroon="00ff"),
        replace(access, certificate=certificate(tmp_path)),
        replace(access, certificate=None),
        replace(access, url="https://127.0.0.1:1"),
    ]
    for other in others:
        stranger = LndBackend(other, pay_s=30)
        with pytest.raises(BackendUnavailable) as told:
            await stranger.probe()
        assert MACAROON not in str(told.value)
        request = foreign_invoice(8_000, number=7)
        for asked in (stranger.pay(request, 8_000, 2_000), stranger.find_payment(hash_of(request))):
            with pytest.raises(BackendUnavailable):
                await asked
        await stranger.close()
    assert lnd.payments == {}


async def test_an_invoice_of_another_network_or_that_has_expired_is_not_considered(node: LndBackend) -> None:
    invoice = decode(foreign_invoice(8_000))
    await node.consider(invoice, NOW)
    with pytest.raises(InvoiceRefused, match="expired"):
        await node.consider(invoice, invoice.expires_at + 1)
    with pytest.raises(InvoiceRefused, match="network"):
        await node.consider(replace(invoice, currency="tb"), NOW)


@pytest.mark.parametrize(
    ("status", "state", "tokens"), [("SUCCEEDED", "PAID", "SPENT"), ("FAILED", "UNPAID", "UNSPENT")]
)
async def test_a_melt_whose_payment_breaks_off_is_pending_until_lnd_knows(
    bank: Bank, lnd: FakeLnd, node: LndBackend, status: str, state: str, tokens: str
) -> None:
    proofs = await bank.tokens(8, 2)
    bank.lightning.backend._backend = node
    request = foreign_invoice(8_000)
    lnd.plans[hash_of(request)] = "breaks"
    quote = await bank.melt_quote(request)
    body = bank.melt(quote, proofs, bank.basket(1))
    assert (await bank.desk.melt(body, respond_async=True)).state == "PENDING"
    async with asyncio.timeout(30):
        while not lnd.payments:
            await asyncio.sleep(0.001)
        # However late it is: lnd says that it still tries.
        bank.house.clock.now += 1_000
        await bank.lightning.cashier.sweep()
        assert await bank.states(proofs) == ["PENDING", "PENDING"]
        lnd.settle(hash_of(request), status)
        while (await bank.desk.quote(quote.quote_id)).state == "PENDING":
            await asyncio.sleep(0.01)
    assert (await bank.desk.quote(quote.quote_id)).state == state
    assert await bank.states(proofs) == [tokens, tokens]
    assert len(lnd.sent) == 1
