"""Where quotes are that have nothing left to mint: of each share (hash, id), amount and place in the ledger.

The quotes of a shift are a table of their own, archive_N, in the order of their hashes, and leave with it
when it has ended. By their ids they are found through a directory of an *era*, archive_names_E, which many
shifts share: a look-up asks every era that is left, so there must be few. By their hashes they are looked for
in those shifts alone that had shares on the same block (`archive_tip`), so that new shares, on new blocks,
cost nothing however much is archived.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from protocols.ehash.shift import METHOD
from roles.mint import accounts
from roles.mint.quote import Quote
from roles.runtime.storage import Connection, Row, define, discard, each

ERA: Final = 1 << 27
"""With so many quotes an era takes no further shifts. A look-up reads two pages of each era's directory, from
the disk if need be.
"""
PLACE: Final = 8
"""First bytes of a hash, and last ones of an id, that the directory holds."""
AT_ONCE: Final = 2_000
"""Rows that are removed at a time."""

_UUID: Final = re.compile(r"[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}", re.ASCII)

_TABLE: Final = """
CREATE TABLE archive_@ (
    share_hash BLOB NOT NULL PRIMARY KEY,
    quote_id BLOB NOT NULL,
    seq INTEGER NOT NULL,
    amount INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"""
_NAMES: Final = """
CREATE TABLE archive_names_@ (
    mark BLOB NOT NULL,
    archive_no INTEGER NOT NULL,
    place BLOB NOT NULL,
    PRIMARY KEY (mark, archive_no, place)
) STRICT, WITHOUT ROWID;
"""
_PUT: Final = "INSERT INTO archive_@ (share_hash, quote_id, seq, amount) VALUES (?, ?, ?, ?)"
_PUT_NAME: Final = "INSERT INTO archive_names_@ (mark, archive_no, place) VALUES (?, ?, ?)"
_ALL_NAMED: Final = (
    "SELECT names.archive_no, names.place, archive.updated_at, shift.unit,"
    " (SELECT count(*) FROM archive_names_@ AS same WHERE same.mark = names.mark) AS number"
    " FROM archive_names_@ AS names"
    " JOIN archive ON archive.archive_no = names.archive_no AND archive.ended_at IS NULL"
    " JOIN ledger ON ledger.ledger_no = archive.ledger_no"
    " JOIN shift ON shift.issuer_no = ledger.issuer_no AND shift.shift = archive.shift"
    " WHERE names.mark = ?"
)
_NAMED: Final = f"{_ALL_NAMED} LIMIT 1"
_AT_PLACE: Final = "SELECT * FROM archive_@ WHERE share_hash BETWEEN ? AND ?"
_OF_HASH: Final = "SELECT quote_id, seq FROM archive_@ WHERE share_hash = ?"
_EVERY: Final = "SELECT share_hash, quote_id, seq, amount FROM archive_@ ORDER BY seq"
_BOUND: Final = "SELECT share_hash FROM archive_@ WHERE share_hash > ? ORDER BY share_hash LIMIT 1 OFFSET ?"
_SUMS: Final = (
    "SELECT count(*) AS quotes, coalesce(sum(amount), 0) AS amount FROM archive_@ WHERE share_hash > ?"
)
_LEFT: Final = (
    "SELECT archive_no FROM archive WHERE ended_at > 0 AND emptied = 0 AND ended_at < ?"
    " ORDER BY archive_no LIMIT 1"
)
_LEFT_NAMES: Final = "SELECT era FROM archive_era WHERE ended_at < ? AND emptied = 0 ORDER BY era LIMIT 1"


@dataclass(frozen=True, slots=True)
class Archive:
    """A shift's archive: what has gone there, and the times (Unix seconds) of its last change and its end."""

    number: int
    era: int
    quotes: int
    amount: int
    updated_at: int
    ended_at: int | None


@dataclass(frozen=True, slots=True)
class Archived:
    """A quote that goes into an archive; `number` is the one that it had as a row of `quote`."""

    number: int
    share_hash: bytes
    quote_id: bytes
    seq: int
    amount: int


def of_shift(connection: Connection, ledger_no: int, shift: int, now: int) -> Archive:
    """The archive of a ledger's shift, made if there is none."""
    asked = "SELECT * FROM archive WHERE ledger_no = ? AND shift = ?"
    row = connection.execute(asked, (ledger_no, shift)).fetchone()
    if row is None:
        connection.execute(
            "INSERT INTO archive (ledger_no, shift, era, updated_at) VALUES (?, ?, ?, ?)",
            (ledger_no, shift, _open_era(connection), now),
        )
        row = connection.execute(asked, (ledger_no, shift)).fetchone()
        define(connection, _at(_TABLE, row["archive_no"]))
    return _archive(row)


def put(connection: Connection, archive: Archive, quotes: Sequence[Archived], now: int) -> None:
    """Take quotes in; of a shift that has ended only their sum is kept."""
    if archive.ended_at is None:
        by_hash = sorted((quote.share_hash, quote.quote_id, quote.seq, quote.amount) for quote in quotes)
        connection.executemany(_at(_PUT, archive.number), by_hash)
        names = sorted((_mark(quote.quote_id), archive.number, quote.share_hash[:PLACE]) for quote in quotes)
        connection.executemany(_at(_PUT_NAME, archive.era), names)
        connection.execute(
            "UPDATE archive_era SET quotes = quotes + ? WHERE era = ?", (len(quotes), archive.era)
        )
    connection.execute(
        "UPDATE archive SET quotes = quotes + ?, amount = amount + ?, updated_at = ? WHERE archive_no = ?",
        (len(quotes), sum(quote.amount for quote in quotes), now, archive.number),
    )
    sums: Counter[int] = Counter()
    for quote in quotes:
        sums[accounts.block(quote.number)] += quote.amount
    connection.executemany(
        "INSERT INTO archive_sum (block, archive_no, amount) VALUES (?, ?, ?)"
        " ON CONFLICT (block, archive_no) DO UPDATE SET amount = archive_sum.amount + excluded.amount",
        [(block, archive.number, amount) for block, amount in sorted(sums.items())],
    )


def note_tips(connection: Connection, archive: Archive, previous: Iterable[bytes]) -> None:
    """Have shares on these blocks looked for in an archive from now on."""
    connection.executemany(
        "INSERT INTO archive_tip (previous, archive_no) VALUES (?, ?) ON CONFLICT DO NOTHING",
        [(each_tip, archive.number) for each_tip in sorted(set(previous))],
    )


def by_ids(connection: Connection, quote_ids: Sequence[str]) -> dict[str, Quote]:
    """Those of the quotes that are archived."""
    wanted = {name: quote_id for quote_id in quote_ids if (name := _name(quote_id)) is not None}
    found: dict[str, Quote] = {}
    if not wanted:
        return found
    eras = connection.execute("SELECT era FROM archive_era WHERE ended_at IS NULL ORDER BY era DESC")
    for row in eras.fetchall():
        names = [name for name in wanted if wanted[name] not in found]
        hits = each(connection, _at(_NAMED, row["era"]), [_mark(name) for name in names])
        for name, hit in zip(names, hits, strict=True):
            quote = None if hit is None else _named(connection, row["era"], name, hit)
            if quote is not None:
                found[wanted[name]] = _quote(wanted[name], *quote)
    return found


def on_tip(connection: Connection, previous: bytes) -> list[Archive]:
    """The archives of the shifts that had shares on a block."""
    rows = connection.execute(
        "SELECT archive.* FROM archive_tip JOIN archive USING (archive_no) WHERE previous = ?", (previous,)
    ).fetchall()
    return [_archive(row) for row in rows]


def ids_of(
    connection: Connection, archive: Archive, share_hashes: Sequence[bytes]
) -> dict[bytes, tuple[bytes, int]]:
    """Share hash to quote id and place in the ledger, of those that are in an archive."""
    if archive.ended_at is not None:
        return {}
    rows = each(connection, _at(_OF_HASH, archive.number), share_hashes)
    return {
        share_hash: (bytes(row["quote_id"]), row["seq"])
        for share_hash, row in zip(share_hashes, rows, strict=True)
        if row is not None
    }


def every(connection: Connection, number: int) -> Iterable[Row]:
    """All quotes of an archive that has not ended, in the order of their shift."""
    return connection.execute(_at(_EVERY, number))


def part(connection: Connection, number: int, after: bytes, limit: int) -> tuple[int, int, bytes | None]:
    """How many the next quotes of an archive that has not ended are, by their hashes and up to a limit, what
    they amount to, and the last one's hash; None for it when no more are left.
    """
    bound = connection.execute(_at(_BOUND, number), (after, limit - 1)).fetchone()
    if bound is None:
        row = connection.execute(_at(_SUMS, number), (after,)).fetchone()
        return row["quotes"], int(row["amount"]), None
    row = connection.execute(_at(f"{_SUMS} AND share_hash <= ?", number), (after, bound[0])).fetchone()
    return row["quotes"], int(row["amount"]), bytes(bound[0])


def end(connection: Connection, number: int, now: int) -> bool:
    """Have nobody look into an archive any more, nor into its era when that was the last; False if it is so
    already.
    """
    ended = connection.execute(
        "UPDATE archive SET ended_at = ? WHERE archive_no = ? AND ended_at IS NULL RETURNING era",
        (now, number),
    ).fetchone()
    if ended is None:
        return False
    # The newest era may take further shifts.
    connection.execute(
        "UPDATE archive_era SET ended_at = :now WHERE era = :era AND quotes >= :full AND NOT EXISTS"
        " (SELECT 1 FROM archive WHERE archive.era = archive_era.era AND archive.ended_at IS NULL)",
        {"now": now, "era": ended["era"], "full": ERA},
    )
    return True


def has_leftovers(connection: Connection, cutoff: int) -> bool:
    """Whether `empty` finds something to remove."""
    return any(connection.execute(sql, (cutoff,)).fetchone() is not None for sql in (_LEFT, _LEFT_NAMES))


def empty(connection: Connection, cutoff: int, rows: int = AT_ONCE) -> None:
    """Remove a part of what ended before `cutoff` (Unix seconds), about so many rows."""
    row = connection.execute(_LEFT, (cutoff,)).fetchone()
    if row is not None:
        if discard(connection, f"archive_{row['archive_no']}", "share_hash", rows):
            connection.execute("UPDATE archive SET emptied = 1 WHERE archive_no = ?", (row["archive_no"],))
        return
    row = connection.execute(_LEFT_NAMES, (cutoff,)).fetchone()
    if row is not None and discard(connection, f"archive_names_{row['era']}", "mark", rows):
        connection.execute("UPDATE archive_era SET emptied = 1 WHERE era = ?", (row["era"],))


def _open_era(connection: Connection) -> int:
    row = connection.execute("SELECT era, quotes FROM archive_era ORDER BY era DESC LIMIT 1").fetchone()
    if row is not None and row["quotes"] < ERA:
        return int(row["era"])
    era = 1 if row is None else row["era"] + 1
    connection.execute("INSERT INTO archive_era (era) VALUES (?)", (era,))
    define(connection, _at(_NAMES, era))
    return int(era)


def _named(connection: Connection, era: int, name: bytes, hit: Row) -> tuple[Row, Row] | None:
    """The row of a quote with that of its archive."""
    # Two ids with the same mark are to be expected once in thousands of eras.
    hits = (
        [hit] if hit["number"] == 1 else connection.execute(_at(_ALL_NAMED, era), (_mark(name),)).fetchall()
    )
    for each_hit in hits:
        place = bytes(each_hit["place"])
        ends = place + bytes(32 - PLACE), place + b"\xff" * (32 - PLACE)
        for quote in connection.execute(_at(_AT_PLACE, each_hit["archive_no"]), ends).fetchall():
            if quote["quote_id"] == name:
                return quote, each_hit
    return None


def _quote(quote_id: str, row: Row, archive: Row) -> Quote:
    return Quote(
        quote_id=quote_id,
        method=METHOD,
        unit=archive["unit"],
        request=bytes(row["share_hash"]).hex(),
        amount=row["amount"],
        amount_paid=row["amount"],
        amount_issued=row["amount"],
        updated_at=archive["updated_at"],
        # Nobody asks for the key of a quote that has nothing left to mint; who has it can compute the id.
        pubkey=None,
    )


def _archive(row: Row) -> Archive:
    return Archive(
        row["archive_no"], row["era"], row["quotes"], row["amount"], row["updated_at"], row["ended_at"]
    )


def _name(quote_id: str) -> bytes | None:
    """The 16 bytes of a UUID; None for what is none, or not in the one form that ids have."""
    return bytes.fromhex(quote_id.replace("-", "")) if _UUID.fullmatch(quote_id) else None


def _mark(name: bytes) -> bytes:
    return name[-PLACE:]


def _at(sql: str, number: int) -> str:
    return sql.replace("@", str(number))
