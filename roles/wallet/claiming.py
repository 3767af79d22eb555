"""Claiming: the quotes of keys that a person holds, found at the mint and minted into a wallet of theirs.

The keys are those of the wallet's seed that have a name, and at most one that is none of the seed's and is
brought for this once. Each step only adds, so a claim that was cut short is simply run again.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from protocols.bitcoin.secp256k1 import public_key
from roles.runtime.storage import Connection
from roles.wallet import identity, purse, quote
from roles.wallet.wallet import Wallet

TELL_S = 2.0
"""How often progress is told while tokens are minted."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a claim found and minted; amounts in ehash. `left` quotes stay in the store for the next time."""

    keys: int
    found: int
    minted: int
    left: int
    balance: int


async def claim(
    wallet: Wallet, secret: bytes | None = None, progress: Callable[[str], None] = lambda _: None
) -> Claimed:
    """Find and mint what the keys have earned; `progress` is told in words.

    Raises MintError, and KeyNotHeld when quotes wait for a key that was brought before and is not now.
    """
    kit = wallet.kit
    if secret is not None:
        own, now = public_key(secret), kit.clock_ms()
        brought = await kit.database.write(lambda c: identity.bring(c, own, now))
        if brought.key_index < 0:
            kit.keyring.bring(brought.key_index, secret)
    before, _ = await kit.database.read(_sums)
    progress(f"asking {kit.mint.url} what is locked to your keys")
    keys, found = await wallet.discovery.look_up_all()
    if found:
        progress(f"{found:,} new quotes")
    minting = asyncio.ensure_future(wallet.minter.mint_due(disputed=True))
    try:
        while not minting.done():
            await asyncio.wait({minting}, timeout=TELL_S)
            if not minting.done():
                _, left = await kit.database.read(_sums)
                progress(f"{left:,} quotes left to mint")
        await minting
    finally:
        minting.cancel()
    balance, waiting = await kit.database.read(_sums)
    return Claimed(keys, found, balance - before, waiting, balance)


def _sums(connection: Connection) -> tuple[int, int]:
    """The balance, and how many quotes wait."""
    return sum(item.amount for item in purse.balances(connection)), quote.waiting(connection)[0]
