"""Restore: from the seed's words alone, every token and every quote that is not minted yet.

Tokens first (NUT-13: outputs derived anew for every keyset of the mint, until three batches of 100 in a row
were never signed), so that the counters stand behind all that was ever used; then quotes by key, index
after index until a hundred keys in a row were never used; then these are minted. Each step only adds, so a
restore that was cut short is simply run again.
"""

from collections.abc import Callable
from dataclasses import dataclass

from roles.runtime.storage import Connection
from roles.wallet import identity, purse, quote, request
from roles.wallet.errors import StoreNotEmptyError
from roles.wallet.identity import Identity
from roles.wallet.scan import Found, scan_keyset
from roles.wallet.wallet import Wallet

STRETCH = 50
"""Keys asked for at once."""
UNUSED_STRETCHES = 2
"""Stretches of unused keys in a row that end the search: the gap limit is 100 keys."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore found; amounts in ehash. `waiting` quotes could not be minted yet and stay in the
    store.
    """

    keysets: int
    proofs: int
    spent: int
    quotes: int
    waiting: int
    balance: int


def check_empty(connection: Connection) -> None:
    """Raises StoreNotEmptyError when the store holds tokens, keys, counters or quotes already."""
    occupied = connection.execute(
        "SELECT EXISTS (SELECT 1 FROM proof) OR EXISTS (SELECT 1 FROM counter)"
        " OR EXISTS (SELECT 1 FROM identity) OR EXISTS (SELECT 1 FROM quote)"
    ).fetchone()[0]
    if occupied:
        raise StoreNotEmptyError(
            "the store holds tokens or keys of another seed already",
            hint="restore into another state directory with --state DIR",
        )


async def restore(wallet: Wallet, progress: Callable[[str], None] = lambda _: None) -> Restored:
    """Fill the store of an opened wallet; `progress` is told in words. Raises MintError, and may be run
    again.
    """
    kit = wallet.kit
    proofs = spent = 0
    keysets = await kit.keysets.everything()
    for keyset in keysets:
        found = await scan_keyset(kit.mint, kit.keyring, keyset)
        await _keep(wallet, keyset.keyset_id, found)
        proofs += len(found.proofs)
        spent += sum(held.state == "spent" for held in found.proofs)
        if found.proofs:
            progress(f"{keyset.unit}: {len(found.proofs)} tokens")
    quotes = await _find_quotes(wallet)
    if quotes:
        progress(f"{quotes} quotes to mint")
    await wallet.minter.mint_due()
    balances = await kit.database.read(purse.balances)
    waiting, _ = await kit.database.read(quote.waiting)
    return Restored(len(keysets), proofs, spent, quotes, waiting, sum(item.amount for item in balances))


async def _keep(wallet: Wallet, keyset_id: str, found: Found) -> None:
    now = wallet.kit.clock_ms()

    def keep(connection: Connection) -> None:
        purse.put(connection, found.proofs, None, now)
        if found.proofs:
            request.advance(connection, keyset_id, found.next_counter)

    await wallet.kit.database.write(keep)


async def _find_quotes(wallet: Wallet) -> int:
    """Learn the quotes of every key that was ever used; the keys get their places in the store."""
    quotes = unused = first = 0
    while unused < UNUSED_STRETCHES:
        keys = [
            Identity(index, None, wallet.kit.keyring.quote_public(index))
            for index in range(first, first + STRETCH)
        ]
        if await wallet.discovery.are_used(keys):
            await _hold_keys(wallet, first + STRETCH)
            quotes += await wallet.discovery.look_up(keys)
            unused = 0
        else:
            unused += 1
        first += STRETCH
    return quotes


async def _hold_keys(wallet: Wallet, end: int) -> None:
    """Keep all keys below `end`: none of them may serve a new user identity."""
    now = wallet.kit.clock_ms()

    def hold(connection: Connection) -> None:
        for index in range(identity.next_index(connection), end):
            identity.add_unnamed(connection, index, wallet.kit.keyring.quote_public(index), now)

    await wallet.kit.database.write(hold)
