"""A wallet of sats at a row of mint processes, which sends its requests as it is told to."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import aiohttp

from protocols.cashu.curve import secret_point
from protocols.cashu.keyset import Keyset
from protocols.cashu.models import Proof
from protocols.lightning.invoice import Invoice, encode
from tests.functional.mint_peer import Basket, Wallet
from tests.functional.mint_row import MintRow

Send = Callable[[str, object], Awaitable[Any]]
"""Posts a body to a path and gives the answer, once it is granted."""


def invoice_of_others(amount_msat: int, description: str = "") -> str:
    """One that nobody has used before; the fake node pays it as its description says."""
    payment_hash = secrets.token_bytes(32)
    invoice = Invoice("bc", amount_msat, int(time.time()), payment_hash, description=description)
    return encode(invoice, b"\x31" * 32)


def points(proofs: Sequence[Proof]) -> list[str]:
    """The Ys of tokens."""
    return [secret_point(proof.secret).hex() for proof in proofs]


class SatWallet:
    """Mints, swaps and melts sats; `wallet` makes its outputs."""

    def __init__(self, wallet: Wallet, send: Send) -> None:
        self.wallet = wallet
        self.send = send

    @classmethod
    async def begin(cls, row: MintRow, session: aiohttp.ClientSession, send: Send) -> "SatWallet":
        """A wallet that knows the keys of sat."""
        wallet = await row.wallet(session)
        found = [Keyset.from_json(item) for item in (await wallet.get("/v1/keys"))["keysets"]]
        wallet.keyset = next(keyset for keyset in found if keyset.unit == "sat")
        return cls(wallet, send)

    async def tokens(self, *amounts: int) -> list[Proof]:
        """Sats of these amounts, paid in by an invoice."""
        quote = await self.send("/v1/mint/quote/bolt11", {"amount": sum(amounts), "unit": "sat"})
        while (await self._look(quote["quote"]))["state"] != "PAID":
            await asyncio.sleep(0.01)
        basket = self.wallet.basket(*amounts)
        body = {"quote": quote["quote"], "outputs": basket.to_json()}
        return self.wallet.open(basket, await self.send("/v1/mint/bolt11", body))

    async def melt_quote(self, amount: int, description: str = "") -> Any:
        """What it costs to have others' invoice of so many sats paid."""
        request = invoice_of_others(amount * 1_000, description)
        return await self.send("/v1/melt/quote/bolt11", {"unit": "sat", "request": request})

    def change(self, basket: Basket, answer: Any) -> list[Proof]:
        """The tokens that came back from a melt; its blank outputs are a basket's."""
        signatures = answer.get("change", [])
        number = len(signatures)
        used = Basket(basket.outputs[:number], basket.texts[:number], basket.blindings[:number])
        return self.wallet.open(used, {"signatures": signatures})

    async def _look(self, quote_id: str) -> Any:
        (quote,) = await self.send("/v1/mint/quote/bolt11/check", {"quotes": [quote_id]})
        return quote
