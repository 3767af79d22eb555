"""The counter at which wallets of a benchmark and a real mint meet."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import cycle, islice
from typing import Final

import aiohttp
import orjson

from benchmarks.closed_loop import OperationFailed, Round, drive
from benchmarks.errors import NotServing
from benchmarks.issuer import LinkedIssuer, Workshop, linked_issuer
from benchmarks.machine import cpu_seconds
from benchmarks.purse import Basket, Purse
from benchmarks.site import DaemonProcess, Site
from protocols.bitcoin.secp256k1 import public_key
from protocols.ehash.quote_id import quote_id, shared_secret
from protocols.ehash.shift import METHOD
from roles.wallet.mint_client import MintClient

DENOMINATIONS: Final = tuple(1 << bit for bit in range(8))
AMOUNT: Final = sum(DENOMINATIONS)
MINERS: Final = tuple(bytes(31) + bytes((number,)) for number in range(1, 17))
"""Secrets of the keys that lock the quotes: nothing is won by knowing them."""
CONNECTIONS: Final = 256
REQUEST_S: Final = 30.0


class Till:
    """One mint, its issuer and its wallets."""

    def __init__(
        self,
        mint: DaemonProcess,
        issuer: LinkedIssuer,
        url: str,
        session: aiohttp.ClientSession,
        purse: Purse,
        quote_key: bytes,
    ) -> None:
        self._mint = mint
        self._issuer = issuer
        self._url = url
        self._session = session
        self._purse = purse
        self._workshop = Workshop(AMOUNT)
        self._keys = cycle([(secret, public_key(secret)) for secret in MINERS])
        self._shared = {secret: shared_secret(secret, quote_key) for secret in MINERS}

    async def mint_round(self, clients: int, operations: int) -> tuple[Round, list[Basket]]:
        """Make quotes, look at each and mint it; gives the baskets that were minted."""
        locked = list(islice(self._keys, operations))
        entries = self._workshop.entries([key for _, key in locked])
        baskets = [
            self._purse.mint(quote_id(self._shared[secret], entry.share_hash), secret)
            for (secret, _), entry in zip(locked, entries, strict=True)
        ]

        async def work() -> Round:
            await self._issuer.credit(entries)
            return await drive(clients, baskets, self._mint_one)

        measured = await self._timed(work)
        minted = [basket for basket in baskets if basket.answer]
        for basket in minted[:1]:
            self._purse.verify(basket)
        return measured, minted

    async def swap_round(self, clients: int, baskets: Sequence[Basket]) -> Round:
        """Swap what was minted."""
        fresh = [self._purse.swap(basket) for basket in baskets]
        return await self._timed(lambda: drive(clients, fresh, self._swap_one))

    async def _timed(self, work: Callable[[], Awaitable[Round]]) -> Round:
        self._mint.check()
        cpu, started = cpu_seconds([self._mint.pid]), time.perf_counter()
        measured = await work()
        measured.wall = time.perf_counter() - started
        measured.cpu = cpu_seconds([self._mint.pid]) - cpu
        return measured

    async def _mint_one(self, basket: Basket) -> None:
        quote = orjson.loads(await self._call("GET", f"/v1/mint/quote/{METHOD}/{basket.quote_id}", None))
        if quote.get("amount_paid") != AMOUNT:
            raise OperationFailed("the quote is not paid")
        basket.answer = await self._call("POST", f"/v1/mint/{METHOD}", basket.body)

    async def _swap_one(self, basket: Basket) -> None:
        basket.answer = await self._call("POST", "/v1/swap", basket.body)

    async def _call(self, method: str, path: str, body: bytes | None) -> bytes:
        try:
            async with self._session.request(method, self._url + path, data=body) as response:
                answer = await response.read()
                if response.status != 200:
                    raise OperationFailed(f"HTTP {response.status}: {answer[:200]!r}")
                return answer
        except (aiohttp.ClientError, TimeoutError) as error:
            raise OperationFailed(str(error)) from error


@asynccontextmanager
async def open_till(site: Site, mint: DaemonProcess) -> AsyncIterator[Till]:
    """The till of a site's mint; raises NotServing, and what the mint's client raises."""
    url = f"http://{site.address('mint', 'http_address')}"
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    timeout = aiohttp.ClientTimeout(total=REQUEST_S)
    async with (
        linked_issuer(site) as issuer,
        aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
    ):
        client = MintClient(url, session)
        quote_key = (await client.info()).quote_key
        heads = [head for head in await client.keysets() if head.active]
        if quote_key is None or not heads:
            raise NotServing("the mint names no quote key, or has no keyset")
        purse = Purse(await client.keys(heads[0].keyset_id), DENOMINATIONS)
        yield Till(mint, issuer, url, session, purse, quote_key)
