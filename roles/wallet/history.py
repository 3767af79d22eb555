"""The history: each change of the balance with its time, kind and unit, written in the write that changes it.

`amount` is what the balance of the unit changed by, so that all of them sum to the balance and to what
requests under way hold; a fee is part of it. These functions run inside a read or write of the store.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from roles.runtime.storage import Connection

Kind = Literal["mint", "restore", "send", "receive", "return", "consolidate", "invoice", "melt", "lost"]
"""`mint` is by shares, `invoice` by a payment; `return` is a token of one's own taken back; what is `lost`
another wallet of the same seed has spent.
"""
_NOTE = 200


@dataclass(frozen=True, slots=True)
class Event:
    """One change; `time_ms` Unix time, `note` a memo or the like."""

    number: int
    time_ms: int
    kind: str
    unit: str
    amount: int
    fee: int
    note: str | None
    token_id: int | None


def record(
    connection: Connection,
    kind: Kind,
    unit: str,
    amount: int,
    now_ms: int,
    *,
    fee: int = 0,
    note: str | None = None,
    token_id: int | None = None,
    exchange_id: int | None = None,
) -> None:
    """Write an event."""
    connection.execute(
        "INSERT INTO event (time_ms, kind, unit, amount, fee, note, token_id, exchange_id)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (now_ms, kind, unit, amount, fee, None if note is None else note[:_NOTE], token_id, exchange_id),
    )


def record_new(
    connection: Connection, kind: Kind, sums: Iterable[tuple[str, int]], now_ms: int, note: str | None = None
) -> None:
    """Write an event for each keyset of which tokens are new, from keyset ids and sums."""
    for keyset_id, amount in sums:
        if amount:
            record(connection, kind, unit_of(connection, keyset_id), amount, now_ms, note=note)


def unit_of(connection: Connection, keyset_id: str) -> str:
    """The unit of a keyset, empty for one that is not in the store."""
    row = connection.execute("SELECT unit FROM keyset WHERE id = ?", (keyset_id,)).fetchone()
    return "" if row is None else str(row["unit"])


def events(
    connection: Connection, limit: int, *, before: int | None = None, unit: str | None = None
) -> list[Event]:
    """The newest events, newest first; `before` is the number of the last one that was seen."""
    rows = connection.execute(
        "SELECT id, time_ms, kind, unit, amount, fee, note, token_id FROM event"
        " WHERE id < coalesce(?, id + 1) AND unit = coalesce(?, unit) ORDER BY id DESC LIMIT ?",
        (before, unit, limit),
    )
    return [Event(*row) for row in rows]
