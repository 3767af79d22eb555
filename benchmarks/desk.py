"""A wallet and an issuer of a benchmark that ask one mint for everything it does, one request at a time."""

import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import cycle, islice
from typing import Final
from uuid import UUID

import orjson

from benchmarks.closed_loop import OperationFailed
from benchmarks.counter import keyset_of
from benchmarks.issuer import LinkedIssuer, Workshop, linked_issuer
from benchmarks.lean_http import LeanClient
from benchmarks.purse import Basket, Purse
from benchmarks.site import Site
from protocols.bitcoin.secp256k1 import public_key
from protocols.cashu import lookup
from protocols.cashu.denominations import split
from protocols.ehash.quote_id import quote_id, shared_secret
from protocols.ehash.shift import METHOD
from protocols.lightning.invoice import Invoice, encode
from shared_config.bolt11 import FakeLightning

MINER: Final = bytes(31) + b"\x01"
"""Secret of the key that locks the quotes: nothing is won by knowing it."""
OUTPUTS: Final = tuple(1 << bit for bit in range(8))
SHARE: Final = 16
"""What a share is worth."""
BATCH: Final = 20
MANY: Final = 100
"""Points of a request that checks or restores."""
CHUNK: Final = 500
FRAME: Final = 100
"""Shares that are credited at once."""
NONE: Final = "HTTP 4"
"""How a refusal of what there is not begins."""

Act = Callable[[], Awaitable[object]]


class Desk:
    """The kinds of requests, each with as many prepared as were asked for."""

    def __init__(self, client: LeanClient, kinds: dict[str, Iterator[Act]]) -> None:
        self._client = client
        self.kinds = kinds

    def prepared(self, name: str, number: int) -> list[Act]:
        """The next requests of a kind."""
        return list(islice(self.kinds[name], number))


@asynccontextmanager
async def open_desk(site: Site, count: int, archived: Sequence[str]) -> AsyncIterator[Desk]:
    """A desk at the mint of a site; `archived` are quotes that it has compacted, none for a mint that has no
    such.
    """
    client = LeanClient(site.address("mint", "http_address"))
    async with linked_issuer(site) as issuer:
        yield Desk(client, await _Maker(client, issuer, count).kinds(archived))
    client.close()


class _Maker:
    def __init__(self, client: LeanClient, issuer: LinkedIssuer, count: int) -> None:
        self._client = client
        self._issuer = issuer
        self._count = count
        self._workshop = Workshop(SHARE)

    async def kinds(self, archived: Sequence[str]) -> dict[str, Iterator[Act]]:
        """Everything prepared."""
        purse = Purse(await keyset_of(self._client, "sat"))
        shared = shared_secret(MINER, bytes.fromhex((await self._get("/v1/info"))["quote_key"]))
        shares = self._workshop.entries([public_key(MINER)] * (self._count * BATCH))
        for at in range(0, len(shares), CHUNK):
            await self._issuer.credit(shares[at : at + CHUNK])
        names = [quote_id(shared, entry.share_hash) for entry in shares]
        info_key = bytes.fromhex((await self._get("/v1/info"))["pubkey"])
        minted = [await self._mintable(purse) for _ in range(self._count)]
        unit = (await self._get(f"/v1/mint/quote/{METHOD}/{names[0]}"))["unit"]
        ehash = Purse(await keyset_of(self._client, unit, f"/hash/{unit}/v1"))
        amounts = split(SHARE * BATCH)
        groups = [list(names[at : at + BATCH]) for at in range(0, len(names), BATCH)]
        baskets = [ehash.batch(group, MINER, amounts) for group in groups]
        later = [self._workshop.entries([public_key(MINER)] * FRAME) for _ in range(self._count)]
        return {
            "quote": self._all(self._quote for _ in minted),
            "look": self._all(self._getting(f"/v1/mint/quote/{METHOD}/{name}") for name in names),
            # Signed when its turn comes: a mint takes no signature that is minutes old.
            "look_up": (self._looking_up(info_key) for _ in minted),
            "credit100": self._all(self._crediting(entries) for entries in later),
            "mint8": self._all(self._minting(basket) for basket in minted),
            "batch20": self._all(
                self._posting(f"/v1/mint/{METHOD}/batch", basket.body) for basket in baskets
            ),
            "look_issued": self._all(
                self._getting(f"/v1/mint/quote/{METHOD}/{name}")
                for name, _ in zip(cycle(archived or names), minted, strict=False)
            ),
            "look_nowhere": self._all(self._refused(f"/v1/mint/quote/{METHOD}/{_uuid()}") for _ in minted),
            "swap8": self._swapping(purse, minted),
            "checkstate100": self._all(self._posting("/v1/checkstate", _points()) for _ in minted),
            "restore100": self._restoring(minted),
            "melt_quote": self._all(self._posting("/v1/melt/quote/bolt11", _invoice()) for _ in minted),
        }

    def _all(self, acts: Iterator[Act]) -> Iterator[Act]:
        return iter(list(acts))

    async def _get(self, path: str) -> dict[str, str]:
        found: dict[str, str] = orjson.loads(await self._client.call("GET", path))
        return found

    async def _quote(self) -> dict[str, str]:
        body = orjson.dumps({"unit": "sat", "amount": sum(OUTPUTS)})
        found: dict[str, str] = orjson.loads(await self._client.call("POST", "/v1/mint/quote/bolt11", body))
        return found

    async def _mintable(self, purse: Purse) -> Basket:
        """Outputs with the request that mints them, for a quote that is paid."""
        basket = purse.mint(OUTPUTS)
        quote = (await self._quote())["quote"]
        await self._get(f"/v1/mint/quote/bolt11/{quote}")
        basket.body = b'{"quote":"' + quote.encode() + basket.body
        return basket

    def _getting(self, path: str) -> Act:
        return lambda: self._client.call("GET", path)

    def _posting(self, path: str, body: bytes) -> Act:
        return lambda: self._client.call("POST", path, body)

    def _refused(self, path: str) -> Act:
        async def act() -> None:
            try:
                await self._client.call("GET", path)
            except OperationFailed as error:
                if not str(error).startswith(NONE):
                    raise

        return act

    def _looking_up(self, info_key: bytes) -> Act:
        key, now = public_key(MINER), int(time.time())
        signature = lookup.sign(MINER, info_key, key, now, secrets.token_bytes(32))
        body = {
            "pubkeys": [key.hex()],
            "pubkey_signatures": [signature.hex()],
            "timestamp": now,
            "limit": BATCH,
        }
        return self._posting(f"/v1/mint/quote/{METHOD}/pubkey", orjson.dumps(body))

    def _crediting(self, entries: Sequence[object]) -> Act:
        return lambda: self._issuer.credit(entries)  # type: ignore[arg-type]

    def _minting(self, basket: Basket) -> Act:
        async def act() -> None:
            basket.answer = await self._client.call("POST", "/v1/mint/bolt11", basket.body)

        return act

    def _swapping(self, purse: Purse, minted: Sequence[Basket]) -> Iterator[Act]:
        # The tokens are there when the turn comes.
        for basket in minted:
            yield self._posting("/v1/swap", purse.swap(basket).body)

    def _restoring(self, minted: Sequence[Basket]) -> Iterator[Act]:
        outputs = [output.to_json() for basket in minted if basket.answer for output in basket.outputs]
        while True:
            secrets.SystemRandom().shuffle(outputs)
            yield self._posting("/v1/restore", orjson.dumps({"outputs": outputs[:MANY]}))


def _points() -> bytes:
    found: list[str] = []
    while len(found) < MANY:
        with suppress(ValueError):
            found.append(public_key(secrets.token_bytes(32)).hex())
    return orjson.dumps({"Ys": found})


def _invoice() -> bytes:
    """Asks to pay an invoice of another node."""
    currency = FakeLightning().currency
    secret, payment_hash = secrets.token_bytes(32), secrets.token_bytes(32)
    invoice = Invoice(currency, 1_000_000, int(time.time()), payment_hash, secret, "a benchmark's")
    return orjson.dumps({"request": encode(invoice, MINER), "unit": "sat"})


def _uuid() -> str:
    return str(UUID(bytes=secrets.token_bytes(16), version=4))
