"""Quotes that this process has made and that nothing has happened to since: what the store says of them is
known without reading it.

Of use only where no other process has the store. Whoever changes one of them in the store forgets it here
first.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from roles.mint.quote import Quote

KEPT: Final = 10_000


class FreshQuotes:
    """The last `limit` of them, by id and by payment hash; those that were told as paid are kept as they were
    told.
    """

    def __init__(self, limit: int = KEPT) -> None:
        self._limit = limit
        self._quotes: dict[str, Quote] = {}
        self._ids: dict[bytes, str] = {}

    def __len__(self) -> int:
        return len(self._quotes)

    def keep(self, quote: Quote) -> None:
        """A quote stands in the store like this, or will when it is counted as paid."""
        assert quote.payment_hash is not None
        self._quotes[quote.quote_id] = quote
        self._ids[quote.payment_hash] = quote.quote_id
        if len(self._quotes) > self._limit:
            self.forget([next(iter(self._quotes))])

    def find(self, quote_ids: Sequence[str]) -> list[Quote] | None:
        """All of these quotes, in their order; None unless all are here."""
        found = [quote for quote_id in quote_ids if (quote := self._quotes.get(quote_id)) is not None]
        return found if len(found) == len(quote_ids) else None

    def of_payment(self, payment_hash: bytes) -> Quote | None:
        """The quote whose invoice has this hash."""
        quote_id = self._ids.get(payment_hash)
        return None if quote_id is None else self._quotes[quote_id]

    def forget(self, quote_ids: Iterable[str]) -> None:
        """The store alone knows what becomes of these."""
        for quote_id in quote_ids:
            quote = self._quotes.pop(quote_id, None)
            if quote is not None and quote.payment_hash is not None:
                del self._ids[quote.payment_hash]

    def forget_payments(self, payment_hashes: Iterable[bytes]) -> None:
        """The same by the hashes of their invoices."""
        self.forget([self._ids[each] for each in payment_hashes if each in self._ids])
