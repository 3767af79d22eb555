"""Restore: from the seed's words alone, every token and every quote that is not minted yet.

Quotes are found by key, index after index until a thousand keys in a row were never used, and tokens by
NUT-13: outputs derived anew for every keyset of the mint, until three batches of 100 in a row were never
signed, or one in shifts of which the mint has issued nothing to these keys. The mint's word on what it has
issued to these keys tells whether tokens stand behind a wider gap, as a mint that refused for long leaves it;
they are searched for before anything is minted, so that no counter serves twice. A swap makes new tokens of
those that it spends, so that once some were spent, sums prove nothing: then the search goes a little further.
Each step only adds, so a restore that was cut short is simply run again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from protocols.cashu.keyset import Keyset
from roles.runtime.storage import Connection
from roles.wallet import history, identity, purse, quote, request
from roles.wallet.discovery import Survey
from roles.wallet.errors import StoreNotEmptyError
from roles.wallet.identity import Identity
from roles.wallet.lost_invoices import find_invoices, mint_invoices
from roles.wallet.scan import BATCH, EMPTY_BATCHES, Found, scan_keyset
from roles.wallet.wallet import Wallet

STRETCH = 50
"""Keys asked for at once."""
UNUSED_STRETCHES = 20
"""Stretches of unused keys in a row that end the search: the gap limit is 1,000 keys."""
WIDEST_GAP = 100_000
"""Counters never signed after which tokens that were issued are given up."""
DOUBTFUL_GAP = 3_000
"""The same where enough was found, and some of it may have come of swaps."""


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
    invoices: int
    """Sats of invoices that had been paid and not minted."""


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
    keysets = await kit.keysets.everything()
    survey = await _find_quotes(wallet)
    for keyset in keysets:
        # Where this wallet never mined it holds at most what it was paid: nothing is behind a gap there.
        is_others = keyset.unit.startswith("hash_") and not survey.issued[keyset.unit]
        await _scan(wallet, keyset, 0, progress, empty=1 if is_others else EMPTY_BATCHES)
    if survey.found:
        progress(f"{survey.found} quotes to mint")
    for unit, issued in survey.issued.items():
        await _search_on(wallet, [keyset for keyset in keysets if keyset.unit == unit], issued, progress)
    await wallet.minter.mint_due()
    sats = 0
    if any(keyset.unit == "sat" for keyset in keysets):
        sats = await mint_invoices(wallet, await find_invoices(wallet), progress)
    return await kit.database.read(lambda c: _result(c, len(keysets), survey.found, sats))


def _result(connection: Connection, keysets: int, quotes: int, sats: int) -> Restored:
    proofs, spent = connection.execute(
        "SELECT count(*), count(*) FILTER (WHERE state = 'spent') FROM proof WHERE request_id IS NULL"
    ).fetchone()
    balance = sum(item.amount for item in purse.balances(connection))
    return Restored(keysets, proofs, spent, quotes, quote.waiting(connection)[0], balance, sats)


async def _scan(
    wallet: Wallet,
    keyset: Keyset,
    first: int,
    progress: Callable[[str], None],
    empty: int = EMPTY_BATCHES,
) -> Found:
    """Find and keep a keyset's tokens from a counter on."""
    found = await scan_keyset(wallet.kit.mint, wallet.kit.keyring, keyset, first, empty_batches=empty)
    await _keep(wallet, keyset.keyset_id, found)
    if found.proofs:
        progress(f"{keyset.unit}: {len(found.proofs)} tokens")
    return found


async def _search_on(
    wallet: Wallet, keysets: Sequence[Keyset], issued: int, progress: Callable[[str], None]
) -> None:
    """Look behind wider gaps while the mint has issued more in a unit than was found."""
    ids = [keyset.keyset_id for keyset in keysets]
    for keyset in keysets:
        counter = await wallet.kit.database.read(partial(request.next_counter, keyset_id=keyset.keyset_id))
        last = counter
        while counter < last + await wallet.kit.database.read(partial(_gap, keyset_ids=ids, issued=issued)):
            found = await _scan(wallet, keyset, counter, progress)
            counter = found.next_counter if found.proofs else counter + EMPTY_BATCHES * BATCH
            last = counter if found.proofs else last
    missing = issued - (await wallet.kit.database.read(partial(_held, keyset_ids=ids)))[0]
    if missing > 0:
        unit = keysets[0].unit if keysets else "a unit that the mint has no keyset of"
        progress(f"{unit}: {missing} were issued to these keys and not found")


def _gap(connection: Connection, keyset_ids: Sequence[str], issued: int) -> int:
    """How many counters in a row that were never signed end the search."""
    held, spent = _held(connection, keyset_ids)
    if held < issued:
        return WIDEST_GAP
    return DOUBTFUL_GAP if held - spent < issued else 0


def _held(connection: Connection, keyset_ids: Sequence[str]) -> tuple[int, int]:
    """What the tokens of the seed amount to, and how much of that is spent."""
    held = spent = 0
    for keyset_id in keyset_ids:
        row = connection.execute(
            "SELECT coalesce(sum(amount), 0), coalesce(sum(amount) FILTER (WHERE state = 'spent'), 0)"
            " FROM proof WHERE keyset_id = ? AND counter IS NOT NULL",
            (keyset_id,),
        ).fetchone()
        held, spent = held + row[0], spent + row[1]
    return held, spent


async def _keep(wallet: Wallet, keyset_id: str, found: Found) -> None:
    now = wallet.kit.clock_ms()

    def keep(connection: Connection) -> None:
        total = purse.put(connection, found.proofs, None, now)
        history.record_new(connection, "restore", [(keyset_id, total)], now)
        if found.proofs:
            request.advance(connection, keyset_id, found.next_counter)

    await wallet.kit.database.write(keep)


async def _find_quotes(wallet: Wallet) -> Survey:
    """Learn the quotes of every key that was ever used; the keys get their places in the store."""
    total = Survey()
    unused = first = 0
    while unused < UNUSED_STRETCHES:
        keys = [
            Identity(index, None, wallet.kit.keyring.quote_public(index))
            for index in range(first, first + STRETCH)
        ]
        survey = await wallet.discovery.survey(keys)
        if survey.quotes:
            await _hold_keys(wallet, first + STRETCH)
            total.found += survey.found
            total.issued += survey.issued
            unused = 0
        else:
            unused += 1
        first += STRETCH
    return total


async def _hold_keys(wallet: Wallet, end: int) -> None:
    """Keep all keys below `end`: none of them may serve a new user identity."""
    now = wallet.kit.clock_ms()

    def hold(connection: Connection) -> None:
        for index in range(identity.next_index(connection), end):
            identity.add_unnamed(connection, index, wallet.kit.keyring.quote_public(index), now)

    await wallet.kit.database.write(hold)
