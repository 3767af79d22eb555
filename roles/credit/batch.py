"""How rows of the ledger are stored: neighbours of one tip and one moment in one record.

A record for each row would cost the writer more than all else that it does for a share. In a record's body
each row takes 141 bytes: hash 32, header 80, and in ASCII digits, which SQL can read, amount 16, number of
the terms 12, block 1.
"""

from collections.abc import Iterator, Mapping, Sequence
from struct import Struct
from typing import Any, NamedTuple

from roles.runtime.storage import Connection

PLACES = 64
"""Rows of one record at most; the views of the schema unpack no more."""
PARTS = 3
"""Pieces of a body that a row is put together from: hash, header and `TAIL`."""
TAIL = b"%016d%012d%d"
"""Amount, number of the terms, block."""

_ROW = Struct("32s80s16s12sc")
_TERMS = slice(16, 28)
_PREVIOUS = slice(4, 36)
_INSERT = "INSERT INTO batch (first_seq, time, tip_no, size, body) VALUES (?, ?, ?, ?, ?)"
_INSERT_BEHIND = (
    "INSERT INTO batch (first_seq, time, tip_no, size, body) SELECT ?, ?, ?, ?, ?"
    " WHERE (SELECT max(first_seq) FROM batch) IS ?"
)


class StoredRow(NamedTuple):
    """A row without its terms."""

    seq: int
    time: int
    tip_no: int
    share_hash: bytes
    header: bytes
    amount: int
    terms_no: int
    block: bool


def terms_of(tail: bytes) -> int:
    """The number of the terms in a tail."""
    return int(tail[_TERMS])


def last_row(connection: Connection) -> tuple[int, int]:
    """The number and the time of the last row, zeros where there is none."""
    found = connection.execute("SELECT first_seq + size - 1, time FROM batch ORDER BY first_seq DESC LIMIT 1")
    seq, time = found.fetchone() or (0, 0)
    return seq, time


def store(connection: Connection, first: int, time: int, runs: Sequence[tuple[int, Sequence[bytes]]]) -> int:
    """Store rows from number `first` on: `runs` of a tip's number and the parts of its rows.

    Returns the first row of the last record, 0 where there is none.
    """
    records: list[tuple[int, int, int, int, bytes]] = []
    for tip_no, parts in runs:
        for start in range(0, len(parts), PARTS * PLACES):
            piece = parts[start : start + PARTS * PLACES]
            size = len(piece) // PARTS
            records.append((first, time, tip_no, size, b"".join(piece)))
            first += size
    connection.executemany(_INSERT, records)
    return records[-1][0] if records else 0


def rows(
    entries: list[Any], tip: bytes, tails: Mapping[bytes, tuple[int, int, bytes]]
) -> tuple[list[bytes], bytes] | None:
    """Hashes and body of rows that differ in nothing but their work: of one tip (previous hash, 32 bytes),
    none of them a block, each with the target and amount that tails know of its key. None for others.

    Entries are tuples of share hash, header, target, amount, key and whether it is a block.
    """
    parts: list[bytes] = []
    for share_hash, header, target, amount, key, block in entries:
        known = tails.get(key)
        if (
            known is None or known[0] != target or known[1] != amount or block
            or header[_PREVIOUS] != tip
        ):  # fmt: skip
            return None
        parts += (share_hash, header, known[2])
    return parts[::PARTS], b"".join(parts)


def store_behind(
    connection: Connection, last: int, first: int, time: int, record: tuple[int, int, bytes]
) -> bool:
    """Store a record of a tip's number, size and body, if the last one is that which begins with row `last`.

    Returns whether it was so.
    """
    return connection.execute(_INSERT_BEHIND, (first, time, *record, last)).rowcount == 1


def rows_from(connection: Connection, seq: int) -> Iterator[StoredRow]:
    """The rows with number `seq` and later, in order."""
    records = connection.execute(
        "SELECT first_seq, time, tip_no, body FROM batch WHERE first_seq >= ? ORDER BY first_seq",
        (_record_of(connection, seq),),
    )
    for first, time, tip_no, body in records:
        for number, (share_hash, header, amount, terms_no, block) in enumerate(_ROW.iter_unpack(body), first):
            if number >= seq:
                yield StoredRow(
                    number, time, tip_no, share_hash, header, int(amount), int(terms_no), block == b"1"
                )


def hashes_from(connection: Connection, seq: int, tip_no: int) -> dict[bytes, int]:
    """The rows of one tip with number `seq` and later, by share hash."""
    records = connection.execute(
        "SELECT first_seq, body FROM batch WHERE first_seq >= ? AND tip_no = ?",
        (_record_of(connection, seq), tip_no),
    )
    return {
        row[0]: number
        for first, body in records
        for number, row in enumerate(_ROW.iter_unpack(body), first)
        if number >= seq
    }


def _record_of(connection: Connection, seq: int) -> int:
    """The first row of the record in which row `seq` stands, 0 where there is none so early."""
    found = connection.execute("SELECT max(first_seq) FROM batch WHERE first_seq <= ?", (seq,)).fetchone()
    return found[0] or 0
