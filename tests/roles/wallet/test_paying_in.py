import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from protocols.bitcoin.secp256k1 import public_key
from protocols.lightning.invoice import Invoice as Bolt11
from protocols.lightning.invoice import encode
from roles.mint.api import MintApi, Refusals
from roles.mint.info import MintInfo
from roles.mint.melting.api import MeltApi
from roles.mint.request import Sizes
from roles.runtime.http import HttpBounds, HttpServer
from roles.wallet import history, invoice, purse
from roles.wallet.errors import MintDishonest, MintRefused, MintUnreachable, RequestError
from roles.wallet.paying_in import check_invoice
from roles.wallet.restore import restore
from roles.wallet.wallet import Wallet
from shared_config.address import Address
from shared_config.mint import InfoSettings
from tests.roles.mint.house import NOW
from tests.roles.mint.lightning.bank import Bank, foreign_invoice
from tests.roles.mint.lightning.conftest import bank
from tests.roles.wallet.conftest import Clock, Home
from tests.roles.wallet.test_with_the_mint import house

__all__ = ["bank", "house"]


@pytest.fixture
async def home(bank: Bank, tmp_path: Path) -> AsyncIterator[Home]:
    """A wallet's home beside a mint with sats, over HTTP."""
    info = MintInfo(
        InfoSettings(),
        "http://mint.example",
        bank.house.seed.info_key,
        public_key(bank.house.seed.quote_secret),
        Sizes(),
        bank.house.clock,
    )
    server = HttpServer(HttpBounds(), bank.house.registry, translate=Refusals(bank.house.meters))
    MintApi(bank.teller, bank.house.book, info).add_routes(server)
    MeltApi(bank.desk).add_routes(server)
    where = await server.start(Address("127.0.0.1", 0))
    async with AsyncExitStack() as stack:
        yield Home(tmp_path, f"http://{where}", Clock(NOW * 1000), stack)
    await server.close()


def pay(bank: Bank, found: invoice.Invoice) -> None:
    from protocols.lightning.invoice import decode

    bank.node.receive(decode(found.text or "").payment_hash)


async def sats(wallet: Wallet) -> int:
    held = await wallet.kit.database.read(purse.balances)
    return sum(item.amount for item in held if item.unit == "sat")


async def test_an_invoice_that_is_paid_becomes_tokens(bank: Bank, home: Home) -> None:
    wallet = await home.open()
    found = await wallet.paying_in.invoice(21, memo="for the jar")
    assert await wallet.paying_in.collect_all() == 0
    pay(bank, found)
    assert await wallet.paying_in.collect_all() == 21
    assert await sats(wallet) == 21
    assert await wallet.kit.database.read(invoice.waiting) == []
    events = await wallet.kit.database.read(lambda c: history.events(c, 5))
    assert [(event.kind, event.unit, event.amount) for event in events] == [("invoice", "sat", 21)]


async def test_waiting_for_an_invoice_ends_with_its_tokens(bank: Bank, home: Home) -> None:
    wallet = await home.open()
    found = await wallet.paying_in.invoice(5)
    pay(bank, found)
    assert await wallet.paying_in.wait(found.quote_id or "", lambda _: None) == 5
    assert await wallet.paying_in.wait(found.quote_id or "", lambda _: None) == 5
    with pytest.raises(RequestError, match="no such invoice"):
        await wallet.paying_in.wait("nothing", lambda _: None)


async def test_an_invoice_that_nobody_paid_expires(bank: Bank, home: Home) -> None:
    wallet = await home.open()
    found = await wallet.paying_in.invoice(5)
    home.clock.advance(3_601)
    bank.house.clock.now += 3_601
    with pytest.raises(RequestError, match="expired"):
        await wallet.paying_in.wait(found.quote_id or "", lambda _: None)
    home.clock.advance(90_000)
    bank.house.clock.now += 90_000
    assert await wallet.paying_in.collect_all() == 0
    assert await wallet.kit.database.read(invoice.waiting) == []


async def test_a_paid_invoice_of_a_former_life_is_minted_by_the_next(bank: Bank, home: Home) -> None:
    wallet = await home.open()
    found = await wallet.paying_in.invoice(9)
    await asyncio.to_thread(wallet.kit.database.close)
    pay(bank, found)
    again = await home.open()
    assert await again.paying_in.collect_all() == 9
    assert await sats(again) == 9


async def test_a_lost_answer_to_the_minting_is_asked_for_again(
    bank: Bank, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    wallet = await home.open()
    pay(bank, await wallet.paying_in.invoice(9))
    mint = type(wallet.kit.mint).mint

    async def lost(self: object, path: str, body: bytes) -> object:
        await mint(wallet.kit.mint, path, body)
        raise MintUnreachable("the answer was lost")

    with monkeypatch.context() as patch:
        patch.setattr(type(wallet.kit.mint), "mint", lost)
        with pytest.raises(MintUnreachable):
            await wallet.paying_in.collect_all()
    await wallet.exchanger.settle_open()
    assert await sats(wallet) == 9
    assert await wallet.paying_in.collect_all() == 0
    assert await sats(wallet) == 9


async def test_each_invoice_is_locked_to_a_key_that_no_look_up_goes_by(bank: Bank, home: Home) -> None:
    wallet = await home.open()
    await wallet.key_for("alice")
    first, second = await wallet.paying_in.invoice(1), await wallet.paying_in.invoice(1)
    assert first.key_index != second.key_index
    assert await wallet.discovery.look_up_all() == (1, 0)
    assert (await wallet.key_for("bob")).key_index == 1


async def test_an_invoice_that_the_mint_does_not_make_leaves_nothing(bank: Bank, home: Home) -> None:
    wallet = await home.open()
    with pytest.raises(MintRefused):
        await wallet.paying_in.invoice(1 << 52)
    assert await wallet.kit.database.read(invoice.waiting) == []
    with pytest.raises(RequestError, match="nothing but sat"):
        await wallet.paying_in.invoice(5, "usd")


@pytest.mark.parametrize("text", ["lnbc", encode(Bolt11("bc", 22_000, NOW, bytes(32)), b"\x01" * 32)])
def test_an_invoice_over_another_amount_is_not_shown_to_anybody(text: str) -> None:
    with pytest.raises(MintDishonest):
        check_invoice(text, 21)


def test_the_quotes_of_older_mints_are_understood() -> None:
    from roles.wallet.mint_api import InvoiceQuote

    told = {"quote": "q", "request": "lnbc1", "amount": 5, "unit": "sat", "state": "PAID", "expiry": 7}
    assert InvoiceQuote.from_json(json.loads(json.dumps(told))) == InvoiceQuote("q", "lnbc1", "sat", 5, 0, 7)


async def test_the_mint_pays_an_invoice_of_others_and_gives_change(bank: Bank, home: Home) -> None:
    wallet = await home.open()
    pay(bank, await wallet.paying_in.invoice(500))
    await wallet.paying_in.collect_all()
    paid = await wallet.paying_out.pay(foreign_invoice(100_000))
    assert (paid.amount, paid.fee, len(paid.preimage or "")) == (100, 1, 64)
    assert await sats(wallet) == 399
    issued, redeemed = await bank.totals()
    assert issued - redeemed == 399
    with pytest.raises(MintRefused):
        await wallet.paying_out.pay(foreign_invoice(100_000))
    assert await sats(wallet) == 399


async def test_one_wallet_pays_the_invoice_of_another_within_the_mint(bank: Bank, home: Home) -> None:
    wallet, other = await home.open(), await home.open_stranger("other")
    pay(bank, await wallet.paying_in.invoice(500))
    await wallet.paying_in.collect_all()
    asked = await other.paying_in.invoice(80)
    paid = await wallet.paying_out.pay(asked.text or "")
    assert (paid.amount, paid.fee) == (80, 0)
    assert await other.paying_in.collect_all() == 80
    assert (await sats(wallet), await sats(other)) == (420, 80)


async def test_a_payment_that_fails_at_the_mint_gives_all_back(bank: Bank, home: Home) -> None:
    wallet = await home.open()
    pay(bank, await wallet.paying_in.invoice(500))
    await wallet.paying_in.collect_all()
    with pytest.raises(RequestError, match="nothing was spent"):
        await wallet.paying_out.pay(foreign_invoice(100_000, "fake:failed"))
    assert await sats(wallet) == 500


async def test_a_restore_finds_invoices_by_their_keys_and_mints_those_that_were_paid(
    bank: Bank, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roles.wallet.restore.UNUSED_STRETCHES", 1)
    monkeypatch.setattr("roles.wallet.lost_invoices.UNUSED_STRETCHES", 1)
    first = await home.open("first")
    minted, paid, unpaid = [await first.paying_in.invoice(amount) for amount in (5, 9, 17)]
    pay(bank, minted)
    assert await first.paying_in.collect(minted) == 5
    pay(bank, paid)
    second = await home.open("second")
    result = await restore(second)
    assert (await sats(second), result.invoices) == (14, 9)
    assert [each.amount for each in await second.kit.database.read(invoice.waiting)] == [17]
    pay(bank, unpaid)
    assert await second.paying_in.collect_all() == 17
    following = await second.paying_in.invoice(3)
    assert following.key_index == unpaid.key_index + 1
    assert (await restore(second)).invoices == 0
    assert await sats(second) == 31
