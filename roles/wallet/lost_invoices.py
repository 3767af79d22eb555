"""Invoices of the mint that were made with the seed and are not in the store: found by their keys.

Restore keeps all of them, so that no key serves twice, and mints those that were paid.
"""

from collections.abc import Callable
from functools import partial

from protocols.lightning.errors import InvoiceError
from protocols.lightning.invoice import decode
from roles.wallet import invoice
from roles.wallet.errors import MintDishonest, MintRefused
from roles.wallet.identity import Identity
from roles.wallet.invoice import FIRST_KEY, Invoice
from roles.wallet.mint_api import InvoiceQuote
from roles.wallet.mint_client import BOLT11
from roles.wallet.paying_in import LATE_S, MSAT
from roles.wallet.wallet import Wallet

STRETCH = 50
"""Keys asked for at once."""
UNUSED_STRETCHES = 4
"""Stretches of keys without an invoice that end the search: a mint forgets those that nobody paid."""


async def find_invoices(wallet: Wallet) -> list[Invoice]:
    """Keep every invoice of the seed; those that can be minted, or may be paid yet. Raises MintError."""
    waiting: list[Invoice] = []
    unused, first = 0, FIRST_KEY
    while unused < UNUSED_STRETCHES:
        keys = [
            Identity(index, None, wallet.kit.keyring.quote_public(index))
            for index in range(first, first + STRETCH)
        ]
        places = {key.public_key: key.key_index for key in keys}
        found = await wallet.discovery.invoices(keys)
        for state in found:
            assert state.public_key is not None
            quote = await wallet.kit.mint.invoice_quote(BOLT11, state.quote_id)
            kept = _invoice(quote, places[state.public_key], wallet.kit.clock_ms())
            await wallet.kit.database.write(partial(invoice.recover, found=kept))
            if kept.state == "open":
                waiting.append(kept)
        unused = 0 if found else unused + 1
        first += STRETCH
    return waiting


async def mint_invoices(wallet: Wallet, waiting: list[Invoice], progress: Callable[[str], None]) -> int:
    """Mint those that were paid; what came of it. One that the mint refuses stays in the store."""
    minted = 0
    for found in waiting:
        try:
            minted += await wallet.paying_in.collect(found)
        except MintRefused as refusal:
            progress(f"an invoice of {found.amount} {found.unit} waits: {refusal}")
    return minted


def _invoice(quote: InvoiceQuote, key_index: int, now_ms: int) -> Invoice:
    try:
        amount_msat = decode(quote.invoice).amount_msat
    except InvoiceError as error:
        raise MintDishonest(f"the mint's invoice cannot be read: {error}") from error
    if quote.paid > quote.issued:
        state = "open"
    elif quote.paid:
        state = "minted"
    else:
        late = quote.expires is not None and now_ms // 1000 > quote.expires + LATE_S
        state = "expired" if late else "open"
    amount = max(1, quote.paid, (amount_msat or 0) // MSAT)
    return Invoice(
        0, key_index, quote.quote_id, quote.unit, amount, quote.invoice, quote.expires, state, now_ms
    )
