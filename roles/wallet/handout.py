"""Tokens that were handed out, until the mint says that somebody has taken them or they are taken back.

The text is kept meanwhile, so that it can be shown again. These functions run inside a read or write of the
store.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from roles.runtime.storage import Connection, Row


@dataclass(frozen=True, slots=True)
class Handout:
    """A token for somebody else; `text` is None once it is settled. `state` is open, claimed or returned."""

    token_id: int
    unit: str
    amount: int
    state: str
    text: str | None = field(repr=False)
    memo: str | None
    is_locked: bool
    made_ms: int
    settled_ms: int | None


def add(
    connection: Connection, unit: str, amount: int, text: str, now_ms: int, *, memo: str | None, locked: bool
) -> Handout:
    """Keep a token that is to be handed out."""
    row = connection.execute(
        "INSERT INTO token (unit, amount, state, text, memo, locked, made_ms)"
        " VALUES (?, ?, 'open', ?, ?, ?, ?) RETURNING *",
        (unit, amount, text, memo, locked, now_ms),
    ).fetchone()
    return _handout(row)


def by_id(connection: Connection, token_id: int) -> Handout | None:
    """A token by its number."""
    row = connection.execute("SELECT * FROM token WHERE id = ?", (token_id,)).fetchone()
    return None if row is None else _handout(row)


def newest(connection: Connection, limit: int) -> list[Handout]:
    """The tokens handed out last, newest first."""
    rows = connection.execute("SELECT * FROM token ORDER BY id DESC LIMIT ?", (limit,))
    return [_handout(row) for row in rows]


def still_out(connection: Connection) -> list[Handout]:
    """The tokens of which nobody has heard yet, oldest first."""
    return [
        _handout(row) for row in connection.execute("SELECT * FROM token WHERE state = 'open' ORDER BY id")
    ]


def pending_ys(connection: Connection, token_id: int) -> list[bytes]:
    """What a token holds that is not spent as far as is known."""
    rows = connection.execute(
        "SELECT y FROM proof WHERE token_id = ? AND state = 'pending' ORDER BY amount, y", (token_id,)
    )
    return [row["y"] for row in rows]


def ids_of(connection: Connection, ys: Sequence[bytes]) -> set[int]:
    """Which tokens of ours these are part of."""
    rows = (connection.execute("SELECT token_id FROM proof WHERE y = ?", (y,)).fetchone() for y in ys)
    return {row["token_id"] for row in rows if row is not None and row["token_id"] is not None}


def settle(connection: Connection, token_id: int, state: str, now_ms: int) -> None:
    """End a token of which nothing is pending any more."""
    connection.execute(
        "UPDATE token SET state = ?, text = NULL, settled_ms = ? WHERE id = ? AND state = 'open'"
        " AND NOT EXISTS (SELECT 1 FROM proof WHERE proof.token_id = token.id AND proof.state = 'pending')",
        (state, now_ms, token_id),
    )


def _handout(row: Row) -> Handout:
    return Handout(
        row["id"],
        row["unit"],
        row["amount"],
        row["state"],
        row["text"],
        row["memo"],
        bool(row["locked"]),
        row["made_ms"],
        row["settled_ms"],
    )
