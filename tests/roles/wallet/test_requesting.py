import asyncio
from typing import Any

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from protocols.cashu import payment_request, token
from protocols.cashu.payment import Payload, PaymentRequest, Transport
from roles.wallet import purse
from roles.wallet.desk import Desk
from roles.wallet.errors import ForeignTokenError, RequestError, TokenLockedError
from roles.wallet.wallet import Wallet
from tests.roles.wallet.conftest import Home, Told
from tests.roles.wallet.fake_mint import UNIT


@pytest.fixture
async def payer(home: Home, tell: Told) -> Desk:
    wallet = await home.open("payer")
    await tell(wallet, 1, 32)
    await wallet.minter.mint_due()
    return Desk(wallet)


@pytest.fixture
async def payee(home: Home) -> Wallet:
    return await home.open_stranger("payee")


async def total(wallet: Wallet) -> int:
    return sum(item.amount for item in await wallet.kit.database.read(purse.balances))


@pytest.mark.parametrize("form", ["request", "request_bech32m"])
@pytest.mark.parametrize("lock", [None, "shop"])
async def test_a_request_of_one_wallet_is_paid_by_another(
    home: Home, payer: Desk, payee: Wallet, form: str, lock: str | None
) -> None:
    asked = await Desk(payee).do(
        {"order": "request", "amount": "5", "unit": "ehash", "memo": "a coffee", "lock": lock}
    )
    assert asked["unit"] == UNIT
    paid = await payer.do({"order": "send", "request": asked[form]})
    assert (paid["amount"], paid["handed_over"], paid["description"]) == (5, False, "a coffee")
    text = paid["tokens"][0]["token"]
    if lock:
        with pytest.raises(TokenLockedError):
            await (await home.open_stranger("thief", 9)).receiver.receive(text)
    assert (await payee.receiver.receive(text)).amount == 5


async def test_a_payment_is_posted_where_the_request_says_so(payer: Desk, payee: Wallet) -> None:
    heard: list[Any] = []

    async def hear(request: web.Request) -> web.Response:
        heard.append(await request.json())
        return web.json_response({})

    app = web.Application()
    app.router.add_post("/pay", hear)
    async with TestServer(app) as server:
        transports = (Transport("nostr", "npub1"), Transport("post", str(server.make_url("/pay"))))
        request = PaymentRequest("id7", 6, UNIT, mints=(payee.kit.mint.url,), transports=transports)
        paid = await payer.do({"order": "send", "request": payment_request.encode_cbor(request)})
    assert paid["handed_over"]
    request.check(Payload.from_json(heard[0]))
    received = await payee.receiver.receive(orjson.dumps(heard[0]).decode())
    assert received.amount == 6


async def test_where_it_cannot_be_handed_over_the_token_stays_with_the_payer(payer: Desk) -> None:
    request = PaymentRequest("id8", 6, UNIT, transports=(Transport("post", "http://127.0.0.1:1/"),))
    paid = await payer.do({"order": "send", "request": payment_request.encode_cbor(request)})
    assert not paid["handed_over"]
    assert token.decode(paid["tokens"][0]["token"]).amount == 6


async def test_what_cannot_be_paid_is_said(payer: Desk) -> None:
    foreign = PaymentRequest("i", 5, "sat", mints=("https://elsewhere.example",))
    with pytest.raises(ForeignTokenError, match=r"elsewhere\.example"):
        await payer.do({"order": "send", "request": payment_request.encode_cbor(foreign)})
    with pytest.raises(RequestError, match="no payment request"):
        await payer.do({"order": "send", "request": "creqAxx"})
    with pytest.raises(RequestError, match="leaves the amount open"):
        await payer.do({"order": "send", "request": payment_request.encode_cbor(PaymentRequest("i"))})
    free = payment_request.encode_cbor(PaymentRequest("i", None, UNIT))
    assert (await payer.do({"order": "send", "request": free, "amount": "3"}))["amount"] == 3
    await asyncio.sleep(0)
