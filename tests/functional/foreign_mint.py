"""A mint for wallets of others: an issuer of its own, sats over fake Lightning, no bounds on pace."""

import secrets
import time
from typing import Any, Final

import aiohttp

from protocols.bitcoin.secp256k1 import public_key
from protocols.lightning.invoice import Invoice, encode
from tests.functional.development import Development
from tests.functional.mint_peer import Issuer, Wallet, mine
from tests.functional.processes import Daemon, Site
from tests.functional.sv2_peer import Server

KINDS: Final = {"plain": "a coffee", "pending": "fake: pending 4", "failed": "fake: failed"}
"""Invoices of somebody else's, and what the fake node reads of how paying them goes."""
INVOICES: Final = 12
"""Of each kind."""
PAYEE: Final = bytes(31) + b"\x52"
ISSUER: Final = bytes(31) + b"\x51"
AMOUNTS: Final = {64: 12, 100: 12, 128: 12}
"""Quotes made of shares: how many of which amount."""
SETTINGS: Final = {
    **{f"http__{kind}_per_s": "0" for kind in ("requests", "quotes", "exchanges", "checks")},
    "bolt11__backend": "fake",
    "bolt11__input_fee_ppk": "100",
    "bolt11__fake__pays_after_s": "0.3",
}


class ForeignMint:
    """A mint that is not started yet."""

    def __init__(self, site: Site, name: str | None = None) -> None:
        self._development = Development(site, issuers=(public_key(ISSUER),))
        self.daemon: Daemon = self._development.daemon("mint", name, **SETTINGS)

    @property
    def url(self) -> str:
        """Where wallets are served."""
        return f"http://{self.daemon.settings['http_address']}"

    async def ehash(self) -> dict[str, Any]:
        """What a script is told for the issuer's unit: quotes that shares have made, and the key to them."""
        server = Server.of(self.daemon, "issuance_address", self._development.keys.mint, "issuance")
        issuer = await Issuer(server, ISSUER).begin()
        async with aiohttp.ClientSession() as session:
            wallet = await Wallet(session, self.url, issuer.identity).begin()
            rows = [
                (amount, mine(amount, wallet.key)) for amount, count in AMOUNTS.items() for _ in range(count)
            ]
            assert not (await issuer.credit(*(row for _, row in rows))).results
            quotes = [{"quote": wallet.quote(row), "amount": amount} for amount, row in rows]
        issuer.link.close()
        return {
            "url": f"{self.url}/hash",
            "unit": wallet.keyset.unit,
            "method": "ehash",
            "privkey": wallet.secret.hex(),
            "quotes": quotes,
        }

    @property
    def sat(self) -> dict[str, Any]:
        """What a script is told for sats: invoices of somebody else's, besides."""
        invoices = {kind: [invoice(words) for _ in range(INVOICES)] for kind, words in KINDS.items()}
        return {"url": self.url, "unit": "sat", "method": "bolt11", "invoices": invoices}


def invoice(words: str) -> str:
    """An invoice of 2,000 sats of another node; how paying it goes, its description tells the fake node."""
    payment_hash = secrets.token_bytes(32)
    secret = secrets.token_bytes(32)
    return encode(Invoice("bc", 2_000_000, int(time.time()), payment_hash, secret, words), PAYEE)
