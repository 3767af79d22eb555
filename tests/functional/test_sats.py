"""Sats in and out over the fake Lightning node, at the mint as a process."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from protocols.cashu import bdhke
from protocols.cashu.denominations import split
from protocols.cashu.keyset import Keyset
from protocols.cashu.models import BlindedMessage, BlindSignature, Proof
from protocols.lightning.invoice import Invoice, encode
from tests.functional.development import Development
from tests.functional.processes import Daemon, Site

pytestmark = [pytest.mark.functional, pytest.mark.asyncio(loop_scope="module")]


@dataclass
class Wallet:
    """A small wallet of sats, over HTTP."""

    session: aiohttp.ClientSession
    url: str
    counter: int = 0

    async def get(self, path: str) -> Any:
        async with self.session.get(self.url + path) as reply:
            assert reply.status == 200, await reply.text()
            return await reply.json()

    async def post(self, path: str, body: object, status: int = 200) -> Any:
        async with self.session.post(self.url + path, json=body) as reply:
            assert reply.status == status, await reply.text()
            return await reply.json()

    async def keyset(self) -> Keyset:
        found = await self.get("/v1/keys")
        return next(Keyset.from_json(item) for item in found["keysets"] if item["unit"] == "sat")

    async def paid_quote(self, amount: int) -> Any:
        """A quote whose invoice has paid itself."""
        quote = await self.post("/v1/mint/quote/bolt11", {"amount": amount, "unit": "sat"})
        async with asyncio.timeout(60):
            while (found := await self.get(f"/v1/mint/quote/bolt11/{quote['quote']}"))["state"] != "PAID":
                await asyncio.sleep(0.02)
        return found

    async def tokens(self, *amounts: int) -> list[Proof]:
        """Sats."""
        keyset = await self.keyset()
        quote = await self.paid_quote(sum(amounts))
        numbers = range(self.counter, self.counter + len(amounts))
        self.counter += len(amounts)
        secrets = [f"secret {number}" for number in numbers]
        blindings = [bytes(24) + (number + 1).to_bytes(8, "big") for number in numbers]
        outputs = [
            BlindedMessage(amount, keyset.keyset_id, bdhke.blind(secret, blinding))
            for amount, secret, blinding in zip(amounts, secrets, blindings, strict=True)
        ]
        body = {"quote": quote["quote"], "outputs": [output.to_json() for output in outputs]}
        answer = await self.post("/v1/mint/bolt11", body)
        signatures = [BlindSignature.from_json(item) for item in answer["signatures"]]
        return [
            Proof(
                signature.amount,
                signature.keyset_id,
                secret,
                bdhke.unblind(signature.signature, blinding, keyset.keys[signature.amount]),
            )
            for signature, secret, blinding in zip(signatures, secrets, blindings, strict=True)
        ]

    async def melt(self, quote: Any, blanks: int = 0) -> dict[str, object]:
        """The body that melts, with tokens of its own and so many blank outputs."""
        proofs = await self.tokens(*split(quote["amount"] + quote["fee_reserve"]))
        keyset = await self.keyset()
        body: dict[str, object] = {
            "quote": quote["quote"],
            "inputs": [proof.to_json() for proof in proofs],
        }
        if blanks:
            self.counter += blanks
            body["outputs"] = [
                BlindedMessage(
                    1, keyset.keyset_id, bdhke.blind(f"blank {self.counter - number}", bytes(31) + b"\x07")
                ).to_json()
                for number in range(blanks)
            ]
        return body

    async def until_settled(self, quote: Any) -> Any:
        """The melt quote when it is not pending any more."""
        async with asyncio.timeout(60):
            while (now := await self.get(f"/v1/melt/quote/bolt11/{quote['quote']}"))["state"] == "PENDING":
                await asyncio.sleep(0.02)
        return now


def invoice_of_others(amount_msat: int, description: str = "") -> str:
    """One that no test has used before."""
    now = int(time.time())
    return encode(Invoice("bc", amount_msat, now, os.urandom(32), description=description), b"\x31" * 32)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("sats")) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mint(site: Site) -> Daemon:
    development = Development(site)
    settings = {
        "bolt11__fake__pays_after_s": "2",
        "bolt11__call_s": "0.5",
        "bolt11__pay_s": "0.5",
        "bolt11__watch_s": "0.05",
    }
    daemon = development.daemon("mint", **settings)
    await development.start()
    return daemon


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def wallet(mint: Daemon) -> AsyncIterator[Wallet]:
    async with aiohttp.ClientSession() as session:
        yield Wallet(session, f"http://{mint.settings['http_address']}")


async def test_sats_are_minted_and_told_of_in_the_mints_description(wallet: Wallet) -> None:
    proofs = await wallet.tokens(1, 4, 16)
    assert sum(proof.amount for proof in proofs) == 21
    nuts = (await wallet.get("/v1/info"))["nuts"]
    assert [item["unit"] for item in nuts["4"]["methods"] if item["method"] == "bolt11"] == ["sat"]
    assert "bolt11" in nuts["29"]["methods"]


async def test_sats_pay_an_invoice_and_the_rest_of_the_fee_comes_back(wallet: Wallet) -> None:
    quote = await wallet.post("/v1/melt/quote/bolt11", {"unit": "sat", "request": invoice_of_others(10_000)})
    assert (quote["amount"], quote["fee_reserve"], quote["state"]) == (10, 2, "UNPAID")
    body = await wallet.melt(quote, blanks=1)
    paid = await wallet.post("/v1/melt/bolt11", body)
    assert paid["state"] == "PAID"
    assert [item["amount"] for item in paid["change"]] == [1]
    assert await wallet.post("/v1/melt/bolt11", body) == paid
    assert await wallet.get(f"/v1/melt/quote/bolt11/{quote['quote']}") == paid
    nuts = (await wallet.get("/v1/info"))["nuts"]
    assert nuts["5"]["methods"][0]["options"] == {"amountless": True}
    assert nuts["8"] == {"supported": True}


async def test_who_prefers_an_answer_at_once_is_told_that_the_payment_is_pending(wallet: Wallet) -> None:
    quote = await wallet.post("/v1/melt/quote/bolt11", {"unit": "sat", "request": invoice_of_others(10_000)})
    body = await wallet.melt(quote)
    headers = {"Prefer": "wait=10, respond-async"}
    async with wallet.session.post(f"{wallet.url}/v1/melt/bolt11", json=body, headers=headers) as reply:
        assert (reply.status, (await reply.json())["state"]) == (200, "PENDING")
    await wallet.until_settled(quote)


async def test_invoices_that_were_paid_while_the_mint_was_away_are_counted_when_it_is_back(
    wallet: Wallet, mint: Daemon
) -> None:
    quote = await wallet.post("/v1/mint/quote/bolt11", {"amount": 5, "unit": "sat"})
    mint.kill()
    mint.start()
    await mint.ready()
    async with asyncio.timeout(60):
        while (await wallet.get(f"/v1/mint/quote/bolt11/{quote['quote']}"))["state"] != "PAID":
            await asyncio.sleep(0.02)


async def test_while_the_lightning_node_is_away_the_mint_says_so_and_goes_on_with_all_else(
    wallet: Wallet, mint: Daemon
) -> None:
    ask, pay = "/v1/mint/quote/bolt11", "/v1/melt/quote/bolt11"
    quote = await wallet.post(pay, {"unit": "sat", "request": invoice_of_others(10_000)})
    own = await wallet.post(ask, {"amount": 10, "unit": "sat"})
    own_quote = await wallet.post(pay, {"unit": "sat", "request": own["request"]})
    bodies = [await wallet.melt(each) for each in (quote, own_quote)]
    away = mint.state / "fake_lightning.away"
    away.touch()
    async for _ in mint.polls("to say that its node is away"):
        if "lightning" in await mint.reasons():
            break
    assert "hashpool_mint_lightning_up 0.0" in (await mint.health("/metrics"))[1]
    for path, body in (
        (ask, {"amount": 5, "unit": "sat"}),
        (pay, {"unit": "sat", "request": invoice_of_others(9_000)}),
        ("/v1/melt/bolt11", bodies[0]),
    ):
        async with wallet.session.post(wallet.url + path, json=body) as reply:
            assert (reply.status, reply.headers["Retry-After"]) == (503, "5"), path
    assert (await wallet.get(f"{pay}/{quote['quote']}"))["state"] == "UNPAID"
    assert (await wallet.post("/v1/melt/bolt11", bodies[1]))["state"] == "PAID"
    away.unlink()
    await mint.ready()
    assert (await wallet.post("/v1/melt/bolt11", bodies[0]))["state"] == "PAID"
    assert "hashpool_mint_lightning_up 1.0" in (await mint.health("/metrics"))[1]
