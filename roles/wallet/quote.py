"""The shares that the mint owes tokens for, from the first word of them until they are minted.

A quote is pending until a request carries it, requested until that request is settled, minted when its
tokens are stored, dropped when the mint will not give them. These functions run inside a read or write of
the store.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from roles.runtime.storage import Connection, Row

MAX_ATTEMPTS = 3
_RETRY_MS = (0, 5_000, 60_000)
LONGEST_WAIT_MS = 60_000
"""A quote that is due later than this was put off by a clock that has been set back since: it is due now."""


@dataclass(frozen=True, slots=True)
class Quote:
    """One share's credit: `amount` in ehash of `unit`, locked to the wallet's key `key_index`.

    `quote_id` is None until the mint's quote key has been seen; `attempts` counts the requests that failed
    by it.
    """

    share_hash: bytes
    quote_id: str | None
    key_index: int
    amount: int
    unit: str
    attempts: int = 0


def learn(connection: Connection, quotes: Iterable[Quote], source: str, now_ms: int) -> int:
    """Keep quotes that are new as pending, in order, and return how many were; `source` is notice or lookup.

    A look-up is the mint's own word: what was dropped is tried once more when the mint still has it to give.
    """
    changed = 0
    for quote in quotes:
        changed += connection.execute(
            "INSERT INTO quote (share_hash, quote_id, key_index, amount, unit, source, state, due_ms,"
            " noticed_ms) VALUES (?, ?, ?, ?, ?, ?, 'pending', ?, ?) ON CONFLICT DO NOTHING",
            (
                quote.share_hash,
                quote.quote_id,
                quote.key_index,
                quote.amount,
                quote.unit,
                source,
                now_ms,
                now_ms,
            ),
        ).rowcount
        if source == "lookup":
            changed += connection.execute(
                "UPDATE quote SET state = 'pending', quote_id = ?, amount = ?, unit = ?, key_index = ?,"
                " attempts = ?, due_ms = ? WHERE share_hash = ? AND state = 'dropped'",
                (
                    quote.quote_id,
                    quote.amount,
                    quote.unit,
                    quote.key_index,
                    MAX_ATTEMPTS - 1,
                    now_ms,
                    quote.share_hash,
                ),
            ).rowcount
    return changed


def due_units(connection: Connection, now_ms: int) -> list[str]:
    """The units in which something can be minted now."""
    rows = connection.execute(
        "SELECT DISTINCT unit FROM quote WHERE state = 'pending' AND (due_ms <= ? OR due_ms > ?)",
        (now_ms, now_ms + LONGEST_WAIT_MS),
    )
    return [row["unit"] for row in rows]


def until_due_ms(connection: Connection, now_ms: int) -> int | None:
    """Milliseconds until the next pending quote may be tried, None when there is none."""
    due = connection.execute("SELECT min(due_ms) FROM quote WHERE state = 'pending'").fetchone()[0]
    if due is None:
        return None
    wait = max(0, int(due) - now_ms)
    return wait if wait <= LONGEST_WAIT_MS else 0


def batch(connection: Connection, unit: str, limit: int, now_ms: int) -> list[Quote]:
    """The next quotes of one unit to mint together; one that spoiled a batch before comes alone."""
    rows = connection.execute(
        "SELECT * FROM quote WHERE state = 'pending' AND unit = ? AND (due_ms <= ? OR due_ms > ?)"
        " ORDER BY attempts > 0, due_ms, share_hash LIMIT ?",
        (unit, now_ms, now_ms + LONGEST_WAIT_MS, limit),
    ).fetchall()
    sound = [_quote(row) for row in rows if row["attempts"] == 0]
    return sound or [_quote(row) for row in rows[:1]]


def carry(connection: Connection, named: Iterable[tuple[bytes, str]], request_id: int) -> None:
    """Put quotes, each by share hash and the id by which the mint knows it, into a request."""
    connection.executemany(
        "UPDATE quote SET state = 'requested', request_id = ?, quote_id = ? WHERE share_hash = ?",
        [(request_id, quote_id, share_hash) for share_hash, quote_id in named],
    )


def carried_by(connection: Connection, request_id: int) -> list[Quote]:
    """The quotes of a request that are not settled yet."""
    rows = connection.execute(
        "SELECT * FROM quote WHERE request_id = ? AND state = 'requested' ORDER BY share_hash", (request_id,)
    )
    return [_quote(row) for row in rows]


def heard_ms(connection: Connection, request_id: int) -> list[int]:
    """When each quote that a request carries was first heard of."""
    rows = connection.execute(
        "SELECT noticed_ms FROM quote WHERE request_id = ? AND state = 'requested'", (request_id,)
    )
    return [row["noticed_ms"] for row in rows]


def minted(connection: Connection, share_hashes: Iterable[bytes], request_id: int, now_ms: int) -> None:
    """The tokens of these quotes are stored."""
    connection.executemany(
        "UPDATE quote SET state = 'minted', minted_ms = ?, request_id = ? WHERE share_hash = ?",
        [(now_ms, request_id, share_hash) for share_hash in share_hashes],
    )


def release(
    connection: Connection, share_hash: bytes, now_ms: int, *, at_fault: bool, delay_ms: int = 0
) -> bool:
    """Take a quote out of its request, to be tried again; False when it has been at fault too often: dropped.

    The request is remembered as an attempt. One `at_fault` waits longer each time and is minted alone.
    """
    _remember_attempt(connection, share_hash)
    row = connection.execute("SELECT attempts FROM quote WHERE share_hash = ?", (share_hash,)).fetchone()
    attempts = row["attempts"] + at_fault
    if attempts >= MAX_ATTEMPTS:
        drop(connection, [share_hash])
        return False
    connection.execute(
        "UPDATE quote SET state = 'pending', request_id = NULL, attempts = ?, due_ms = ?"
        " WHERE share_hash = ?",
        (attempts, now_ms + (_RETRY_MS[attempts] if at_fault else delay_ms), share_hash),
    )
    return True


def correct(connection: Connection, share_hash: bytes, amount: int, unit: str) -> None:
    """Believe the mint where it knows a quote otherwise than the notice said."""
    connection.execute(
        "UPDATE quote SET amount = ?, unit = ? WHERE share_hash = ?", (amount, unit, share_hash)
    )


def drop(connection: Connection, share_hashes: Iterable[bytes]) -> None:
    """Give quotes up until the mint itself names them again."""
    for share_hash in share_hashes:
        _remember_attempt(connection, share_hash)
        connection.execute(
            "UPDATE quote SET state = 'dropped', request_id = NULL WHERE share_hash = ?", (share_hash,)
        )


def waiting(connection: Connection) -> tuple[int, int]:
    """How many quotes are not minted yet, and their ehash, of which only the first 53 bits are exact."""
    # Two queries, because each has a partial index of its own. What was noticed may be anything, and its sum
    # more than an integer of the store can be.
    row = connection.execute(
        "SELECT count(*), total(amount) FROM ("
        "SELECT amount FROM quote WHERE state = 'pending'"
        " UNION ALL SELECT amount FROM quote WHERE state = 'requested')"
    ).fetchone()
    return int(row[0]), int(row[1])


def _remember_attempt(connection: Connection, share_hash: bytes) -> None:
    connection.execute(
        "INSERT INTO attempt SELECT share_hash, request_id FROM quote"
        " WHERE share_hash = ? AND request_id IS NOT NULL ON CONFLICT DO NOTHING",
        (share_hash,),
    )


def _quote(row: Row) -> Quote:
    return Quote(
        row["share_hash"], row["quote_id"], row["key_index"], row["amount"], row["unit"], row["attempts"]
    )
