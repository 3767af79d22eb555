"""Quotes that a wallet has just been told of, so that minting them, which comes next, reads them no more.

What is known may have been overtaken: who takes a quote from here and fails reads it from the store and tries
again, and every write sees for itself that the quote still holds what is taken.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from roles.mint.quote import Quote

KEPT: Final = 1_000


class RecentQuotes:
    """The quotes told last that can be minted, each to be taken once."""

    def __init__(self) -> None:
        self._quotes: OrderedDict[str, Quote] = OrderedDict()

    def keep(self, quote: Quote) -> None:
        """A wallet is told of a quote."""
        if quote.mintable:
            self._quotes[quote.quote_id] = quote
            self._quotes.move_to_end(quote.quote_id)
            if len(self._quotes) > KEPT:
                self._quotes.popitem(last=False)

    def take(self, quote_ids: Iterable[str], method: str) -> list[Quote] | None:
        """All of these quotes, in their order, which are kept no longer; None unless all are of this method
        and here.
        """
        found = [self._quotes.pop(quote_id, None) for quote_id in quote_ids]
        quotes = [quote for quote in found if quote is not None and quote.method == method]
        return quotes if len(quotes) == len(found) else None
