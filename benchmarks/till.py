"""Shares that become quotes over the issuance link, while wallets mint earlier ones in batches."""

import asyncio
import time
from dataclasses import dataclass
from typing import Final

import orjson

from benchmarks.closed_loop import Round, drive
from benchmarks.counter import keyset_of
from benchmarks.issuer import LinkedIssuer, Workshop, linked_issuer
from benchmarks.lean_http import LeanClient
from benchmarks.machine import cpu_seconds
from benchmarks.purse import Basket, Purse
from benchmarks.site import DaemonProcess, Site
from protocols.bitcoin.secp256k1 import public_key
from protocols.cashu.denominations import split
from protocols.ehash.quote_id import quote_id, shared_secret
from protocols.ehash.shift import METHOD
from roles.credit.ledger_rows import Entry

MINER: Final = bytes(31) + b"\x01"
"""Secret of the key that locks the quotes: nothing is won by knowing it."""
AMOUNT: Final = 16
BATCH: Final = 20
"""Quotes that a wallet mints at once."""
CHUNK: Final = 500
"""Shares that the issuer's ledger takes at a time."""


@dataclass(frozen=True, slots=True)
class Flow:
    """Shares credited and quotes minted in the same time: how many a second, and requests that failed."""

    credited_per_s: float
    minted_per_s: float
    cpu_us: float
    failed: int


async def measure_flow(site: Site, mint: DaemonProcess, clients: int, shares: int) -> Flow:
    """Credit so many shares while so many clients mint; raises CreditLost and NotServing."""
    client = LeanClient(site.address("mint", "http_address"))
    info = orjson.loads(await client.call("GET", "/v1/info"))
    shared = shared_secret(MINER, bytes.fromhex(info["quote_key"]))
    purse = Purse(await keyset_of(client, "hash_", "/hash/v1"))
    workshop, key = Workshop(AMOUNT), public_key(MINER)
    # Enough for what is credited meanwhile, at the ratio that all clients together reach at most.
    ready = workshop.entries([key] * (shares // BATCH * BATCH))
    amounts = split(AMOUNT * BATCH)
    groups = [ready[at : at + BATCH] for at in range(0, len(ready), BATCH)]
    baskets = [
        purse.batch([quote_id(shared, entry.share_hash) for entry in group], MINER, amounts)
        for group in groups
    ]
    later = workshop.entries([key] * shares)
    ended = False

    async def act(basket: Basket) -> None:
        if not ended:
            basket.answer = await client.call("POST", f"/v1/mint/{METHOD}/batch", basket.body)

    async with linked_issuer(site) as issuer:
        await _credit(issuer, ready)
        mint.check()
        minting: asyncio.Task[Round] = asyncio.create_task(drive(clients, baskets, act))
        cpu, started = cpu_seconds([mint.pid]), time.perf_counter()
        await _credit(issuer, later)
        elapsed = time.perf_counter() - started
        minted = sum(bool(basket.answer) for basket in baskets) * BATCH
        spent = cpu_seconds([mint.pid]) - cpu
        ended = True
        measured = await minting
    client.close()
    return Flow(shares / elapsed, minted / elapsed, spent / (shares + minted) * 1e6, measured.failed)


async def _credit(issuer: LinkedIssuer, entries: list[Entry]) -> None:
    for at in range(0, len(entries), CHUNK):
        await issuer.credit(entries[at : at + CHUNK])
