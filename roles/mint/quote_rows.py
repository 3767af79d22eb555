"""Quotes in the store: by id, by share hash, and page by page for keys."""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from protocols.cashu.errors import QuoteUnknownError
from protocols.ehash.shift import METHOD
from roles.mint import archive
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
    ids = tuple(quote_ids)
    rows = each(connection, f"{SELECT} WHERE quote_id = ?", ids)
    missing = [quote_id for quote_id, row in zip(ids, rows, strict=True) if row is None]
    archived = archive.by_ids(connection, missing) if missing and method == METHOD else {}
    found = []
    for quote_id, row in zip(ids, rows, strict=True):
        quote = archived.get(quote_id) if row is None else Quote.from_row(row)
        if quote is None or quote.method != method:
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


def of_shares(connection: Connection, share_hashes: Sequence[bytes]) -> dict[bytes, str]:
    """Share hash to quote id of those that have a quote; those that are archived are left out."""
    rows = each(connection, "SELECT quote_id FROM quote WHERE share_hash = ?", share_hashes)
    return {
        share_hash: row["quote_id"]
        for share_hash, row in zip(share_hashes, rows, strict=True)
        if row is not None
    }


def of_key(connection: Connection, names: Mapping[bytes, str], pubkey: bytes) -> dict[bytes, str]:
    """Those of the shares that have a quote locked to `pubkey`; `names` are share hashes with the ids that
    quotes of this key have.
    """
    hashes = list(names)
    rows = each(connection, "SELECT quote_id, pubkey FROM quote WHERE share_hash = ?", hashes)
    there = dict(zip(hashes, rows, strict=True))
    missing = [names[share_hash] for share_hash in hashes if there[share_hash] is None]
    archived = archive.by_ids(connection, missing)
    found = {}
    for share_hash, name in names.items():
        row = there[share_hash]
        if row is None and name in archived:
            found[share_hash] = name
        elif row is not None and row["pubkey"] == pubkey:
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
