"""Invoices of the mint: paid by anybody over Lightning, they become tokens.

Each is locked to a key of its own, whose index is in the store before it is used and lies above those of
all workers, so that looking for workers' keys goes by none of them. These functions run inside a read or
write of the store.
"""

from dataclasses import dataclass
from typing import Literal

from roles.runtime.storage import Connection, Row

FIRST_KEY = 1 << 30
WATCHED = 50
"""Invoices that are asked about; older ones that nobody has paid are left until newer ones are settled."""


@dataclass(frozen=True, slots=True)
class Invoice:
    """An invoice over `amount` of `unit`; `expires` in Unix seconds. Without a `quote_id` the mint has not
    answered.
    """

    number: int
    key_index: int
    quote_id: str | None
    unit: str
    amount: int
    text: str | None
    expires: int | None
    state: str
    made_ms: int


def begin(connection: Connection, unit: str, amount: int, now_ms: int) -> Invoice:
    """Take a key for an invoice that is about to be asked for."""
    row = connection.execute(
        "INSERT INTO invoice (key_index, unit, amount, state, made_ms)"
        " SELECT coalesce(max(key_index) + 1, ?), ?, ?, 'open', ? FROM invoice RETURNING *",
        (FIRST_KEY, unit, amount, now_ms),
    ).fetchone()
    return _invoice(row)


def recover(connection: Connection, found: Invoice) -> None:
    """Keep an invoice that the mint knows of, and the store does not."""
    connection.execute(
        "INSERT INTO invoice (key_index, quote_id, unit, amount, text, expires, state, made_ms)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key_index) DO NOTHING",
        (
            found.key_index,
            found.quote_id,
            found.unit,
            found.amount,
            found.text,
            found.expires,
            found.state,
            found.made_ms,
        ),
    )


def answer(connection: Connection, number: int, quote_id: str, text: str, expires: int | None) -> None:
    """The mint has made it."""
    connection.execute(
        "UPDATE invoice SET quote_id = ?, text = ?, expires = ? WHERE id = ?",
        (quote_id, text, expires, number),
    )


def settle(connection: Connection, quote_id: str, state: Literal["minted", "expired"], now_ms: int) -> None:
    """It is minted, or can be paid no more."""
    connection.execute(
        "UPDATE invoice SET state = ?, settled_ms = ? WHERE quote_id = ? AND state = 'open'",
        (state, now_ms, quote_id),
    )


def forget(connection: Connection, number: int, now_ms: int) -> None:
    """The mint has not made it; its key is used no more."""
    connection.execute(
        "UPDATE invoice SET state = 'expired', settled_ms = ? WHERE id = ? AND quote_id IS NULL",
        (now_ms, number),
    )


def waiting(connection: Connection) -> list[Invoice]:
    """Those that the mint has made and that are not minted: the newest of them, the newest first."""
    rows = connection.execute(
        "SELECT * FROM invoice WHERE state = 'open' AND quote_id IS NOT NULL ORDER BY id DESC LIMIT ?",
        (WATCHED,),
    )
    return [_invoice(row) for row in rows]


def by_quote(connection: Connection, quote_id: str) -> Invoice | None:
    """An invoice by the mint's name for it."""
    row = connection.execute("SELECT * FROM invoice WHERE quote_id = ?", (quote_id,)).fetchone()
    return None if row is None else _invoice(row)


def _invoice(row: Row) -> Invoice:
    return Invoice(
        row["id"],
        row["key_index"],
        row["quote_id"],
        row["unit"],
        row["amount"],
        row["text"],
        row["expires"],
        row["state"],
        row["made_ms"],
    )
