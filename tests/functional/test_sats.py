"""Sats in and out over the fake Lightning node, at the mint as a process."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from protocols.cashu import bdhke
from protocols.cashu.keyset import Keyset
from protocols.cashu.models import BlindedMessage, BlindSignature, Proof
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
        async with asyncio.timeout(10):
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


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("sats")) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mint(site: Site) -> Daemon:
    development = Development(site)
    daemon = development.daemon(
        "mint", bolt11__fake__pays_after_s="0.1", bolt11__fake__pays_when_asked="false"
    )
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


async def test_invoices_that_were_paid_while_the_mint_was_away_are_counted_when_it_is_back(
    wallet: Wallet, mint: Daemon
) -> None:
    quote = await wallet.post("/v1/mint/quote/bolt11", {"amount": 5, "unit": "sat"})
    mint.kill()
    mint.start()
    await mint.ready()
    async with asyncio.timeout(10):
        while (await wallet.get(f"/v1/mint/quote/bolt11/{quote['quote']}"))["state"] != "PAID":
            await asyncio.sleep(0.02)
