"""Quotes in the store: by id, by share hash, and page by page for keys."""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from protocols.cashu.errors import QuoteUnknownError
from protocols.ehash.shift import METHOD
from roles.mint import compaction
from roles.mint.quote import Quote
from roles.runtime.storage import Connection, each

SELECT = (
    "SELECT quote.*, invoice.request, invoice.expires_at, invoice.payment_hash"
    " FROM quote LEFT JOIN invoice USING (quote_no)"
)
"""The rows that `Quote.from_row` reads."""


@dataclass(frozen=True, slots=True)
class Page:
    """Quotes in the order of their ids; `last` is the id to go on after, None at the end."""

    quotes: tuple[Quote, ...]
    last: str | None


def find(connection: Connection, method: str, quote_ids: Iterable[str]) -> list[Quote]:
    """The quotes of these ids, in their order; raises QuoteUnknownError if one is unknown or of another
    method.
    """
    found = []
    ids = tuple(quote_ids)
    for quote_id, row in zip(ids, each(connection, f"{SELECT} WHERE quote_id = ?", ids), strict=True):
        quote = None if row is None or row["method"] != method else Quote.from_row(row)
        if row is None and method == METHOD:
            quote = compaction.by_id(connection, quote_id)
        if quote is None:
            raise QuoteUnknownError(f"quote {quote_id} is not known")
        found.append(quote)
    return found


def known(connection: Connection, method: str, quote_ids: Iterable[str]) -> list[Quote]:
    """Those of the quotes that there are, in that order."""
    found = []
    for quote_id in quote_ids:
        try:
            found += find(connection, method, [quote_id])
        except QuoteUnknownError:
            continue
    return found


def of_shares(
    connection: Connection, share_hashes: Sequence[bytes], pubkey: bytes | None
) -> dict[bytes, str]:
    """Share hash to quote id of those that have a quote locked to `pubkey`; of all that have one for None."""
    found = {}
    rows = each(connection, "SELECT quote_id, pubkey FROM quote WHERE share_hash = ?", share_hashes)
    for share_hash, row in zip(share_hashes, rows, strict=True):
        if row is None:
            quote = compaction.by_share(connection, share_hash)
            if quote is not None and pubkey in {None, quote.pubkey}:
                found[share_hash] = quote.quote_id
        elif pubkey in {None, row["pubkey"]}:
            found[share_hash] = row["quote_id"]
    return found


def page(
    connection: Connection,
    method: str,
    pubkeys: Sequence[bytes],
    *,
    after: str,
    limit: int,
    only_mintable: bool,
) -> Page:
    """The next `limit` quotes locked to any of the keys, whose ids come after `after`."""
    query = "SELECT quote_id FROM quote WHERE pubkey = ? AND quote_id > ? AND method = ?"
    if only_mintable:
        query += " AND amount_paid > amount_issued"
    query += " ORDER BY quote_id LIMIT ?"
    runs = [
        [row["quote_id"] for row in connection.execute(query, (pubkey, after, method, limit + 1)).fetchall()]
        for pubkey in pubkeys
    ]
    ids = list(islice(heapq.merge(*runs), limit + 1))
    quotes = find(connection, method, ids[:limit])
    return Page(tuple(quotes), ids[limit - 1] if len(ids) > limit else None)
