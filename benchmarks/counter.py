"""The counter at which wallets of a benchmark meet a mint, ours or another, and what that costs the mint."""

import gc
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import orjson

from benchmarks.closed_loop import OperationFailed, Round, drive
from benchmarks.errors import NotServing
from benchmarks.lean_http import LeanClient
from benchmarks.machine import cpu_seconds
from benchmarks.purse import Basket, Purse
from protocols.cashu.fields import as_array, as_object
from protocols.cashu.keyset import Keyset
from shared_config.address import Address

UNIT: Final = "sat"
DENOMINATIONS: Final = tuple(1 << bit for bit in range(8))
AMOUNT: Final = sum(DENOMINATIONS)
VERIFIED: Final = 16
"""Answers of a round whose signatures are verified, when the clock has stopped."""
_QUOTE: Final = orjson.dumps({"unit": UNIT, "amount": AMOUNT})


class Counter:
    """One mint, whose process is `pid`, and its wallets."""

    def __init__(self, pid: int, client: LeanClient, purse: Purse) -> None:
        self._pid = pid
        self._client = client
        self._purse = purse

    async def mint_round(self, clients: int, operations: int) -> tuple[Round, list[Basket]]:
        """For each operation make a quote, look at it when its invoice has paid itself, and mint it.

        Gives the baskets that were minted.
        """
        baskets = [self._purse.mint(DENOMINATIONS) for _ in range(operations)]
        measured = await self.timed(lambda: drive(clients, baskets, self._mint_one))
        return measured, self._examine(baskets)

    async def swap_round(self, clients: int, baskets: Sequence[Basket]) -> Round:
        """Swap what was minted."""
        fresh = [self._purse.swap(basket) for basket in baskets]
        measured = await self.timed(lambda: drive(clients, fresh, self._swap_one))
        self._examine(fresh)
        return measured

    def _examine(self, baskets: Sequence[Basket]) -> list[Basket]:
        """Those that were answered: every answer is read whole, and the proofs of some, all over the round,
        are verified. Raises SignatureForged and CashuErrors.
        """
        answered = [basket for basket in baskets if basket.answer]
        for basket in answered:
            self._purse.read(basket)
        for basket in answered[:: max(1, len(answered) // VERIFIED)]:
            self._purse.verify(basket)
        return answered

    async def timed(self, work: Callable[[], Awaitable[Round]]) -> Round:
        """A round with its wall clock, and the CPU time of the mint in it."""
        # What was prepared stays: to look through it all again would be the driver's largest cost.
        gc.collect()
        gc.freeze()
        cpu, started = cpu_seconds([self._pid]), time.perf_counter()
        measured = await work()
        measured.wall = time.perf_counter() - started
        measured.cpu = cpu_seconds([self._pid]) - cpu
        gc.unfreeze()
        return measured

    async def _mint_one(self, basket: Basket) -> None:
        quote = orjson.loads(await self._client.call("POST", "/v1/mint/quote/bolt11", _QUOTE))
        quote_id = quote["quote"]
        looked = orjson.loads(await self._client.call("GET", f"/v1/mint/quote/bolt11/{quote_id}"))
        if looked.get("state") != "PAID":
            raise OperationFailed("the quote is not paid")
        body = b'{"quote":"' + quote_id.encode() + basket.body
        basket.answer = await self._client.call("POST", "/v1/mint/bolt11", body)

    async def _swap_one(self, basket: Basket) -> None:
        basket.answer = await self._client.call("POST", "/v1/swap", basket.body)


async def open_counter(pid: int, address: Address) -> Counter:
    """The counter of a mint that serves sat tokens there; raises NotServing."""
    client = LeanClient(address)
    return Counter(pid, client, Purse(await keyset_of(client, UNIT)))


async def keyset_of(client: LeanClient, unit: str, view: str = "/v1") -> Keyset:
    """The first keyset of a view whose unit begins so; raises NotServing."""
    try:
        answer = orjson.loads(await client.call("GET", f"{view}/keys"))
    except OperationFailed as error:
        raise NotServing(str(error)) from None
    items = [as_object(item, "keyset") for item in as_array(answer["keysets"], "keysets")]
    found = [item for item in items if str(item.get("unit")).startswith(unit)]
    if not found:
        raise NotServing(f"the mint has no keyset of {unit}")
    return Keyset.from_json(found[0])
