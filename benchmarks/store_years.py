"""Fills a mint's SQLite store with years: quotes, signatures, spent tokens, and archives of old shifts.

Keys are spread over their whole range and come in their order, because random ones would take hours: first
two of three, then those between, so that pages are as full as random keys leave them, and a new row splits
one now and then instead of always. All archives hold the same quotes, since they are copied in a fifth of the
time. Counters agree with rows, so that the watchdog has nothing to say.
"""

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final
from uuid import UUID

from protocols.ehash.shift import Unit
from roles.mint import accounts, archive
from roles.runtime.storage import Connection

QUOTES: Final = 10_000_000
"""Half of them minted, each of a request of its own, with two signatures."""
SIGNATURES: Final = 20_000_000
"""Half of them of swaps of eight for eight."""
COMPACTED: Final = 100_000_000
SHIFTS: Final = 100
NOW: Final = 1_750_000_000
SAMPLES: Final = 4
"""Compacted quotes of each shift that can be looked at."""
STIRRED: Final = 16
"""Other rows of each archive that have been looked at."""
SPENT: Final = 8
"""Tokens of a swap."""
CACHE_KIB: Final = 400_000

_SAMPLE: Final = "SELECT quote_id, share_hash FROM archive_@ WHERE share_hash > randomblob(32) LIMIT 1"
_NAMED: Final = "SELECT place FROM archive_names_@ WHERE mark > randomblob(8) LIMIT 1"
_PRAGMAS: Final = (
    # What fails here is filled anew.
    "PRAGMA journal_mode = OFF",
    "PRAGMA synchronous = OFF",
    "PRAGMA locking_mode = EXCLUSIVE",
    "PRAGMA foreign_keys = OFF",
    "PRAGMA temp_store = MEMORY",
    f"PRAGMA cache_size = -{CACHE_KIB}",
)


def fill(path: Path, issuer: bytes, scale: float, told: Callable[[str], object] = str) -> None:
    """Fill a store that has been used by a mint which knows the issuer and has a keyset, and is closed now;
    `told` is given what is done.
    """
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.row_factory = sqlite3.Row
        for pragma in _PRAGMAS:
            connection.execute(pragma)
        for name, part in _parts(issuer, scale):
            connection.execute("BEGIN")
            part(connection)
            connection.execute("COMMIT")
            told(name)
        connection.execute("PRAGMA locking_mode = NORMAL")
        connection.execute("PRAGMA journal_mode = WAL")


def sample(connection: Connection) -> list[str]:
    """Ids of compacted quotes here and there, made known to the directory."""
    found = []
    rows = connection.execute(
        "SELECT archive_no, era FROM archive WHERE quotes > 0 AND ended_at IS NULL ORDER BY archive_no"
    )
    for row in rows.fetchall():
        for _ in range(SAMPLES):
            quote = connection.execute(_SAMPLE.replace("@", str(row["archive_no"]))).fetchone()
            if quote is None:
                continue
            name, share_hash = bytes(quote["quote_id"]), bytes(quote["share_hash"])
            connection.execute(
                f"INSERT INTO archive_names_{row['era']} (mark, archive_no, place) VALUES (?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                (name[-archive.PLACE :], row["archive_no"], share_hash[: archive.PLACE]),
            )
            found.append(str(UUID(bytes=name)))
    random.shuffle(found)
    return found


def stir(path: Path) -> None:
    """Look at some rows of every archive, others than will be asked for: of a mint that serves, the upper
    pages of all its tables are in memory, and hardly any of those with the rows.
    """
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        numbers = [
            number
            for (number,) in connection.execute("SELECT archive_no FROM archive WHERE ended_at IS NULL")
        ]
        eras = [era for (era,) in connection.execute("SELECT era FROM archive_era WHERE ended_at IS NULL")]
        for _ in range(STIRRED):
            for number in numbers:
                connection.execute(_SAMPLE.replace("@", str(number))).fetchone()
                for era in eras:
                    connection.execute(_NAMED.replace("@", str(era))).fetchone()


@dataclass(frozen=True, slots=True)
class Turn:
    """A part of so many rows, in the order of their keys: which rows of `lo` each row of `hi` is joined with,
    how many these are, and the number of the row before the first.
    """

    part: int
    each: int
    before: int


def turns(connection: sqlite3.Connection, total: int, *, at_once: bool) -> list[Turn]:
    """Lay out the first four bytes of so many keys, in one part or in two of which the second lies within the
    first: dense ones in `hi` (n, mark), those between in `lo` (part, k, mark, bucket); a bucket is a byte for
    about a hundred keys.
    """
    size = 2 if total >= 1 << 20 else 1 if total >= 1 << 10 else 0
    parts = 1 << 8 * size
    width = max(1, -(-total // parts))
    step = (1 << 8 * (4 - size)) // width
    connection.execute("DROP TABLE IF EXISTS temp.hi")
    connection.execute("DROP TABLE IF EXISTS temp.lo")
    connection.execute("CREATE TEMP TABLE hi (n INTEGER PRIMARY KEY, mark BLOB NOT NULL)")
    connection.execute(
        "CREATE TEMP TABLE lo (part, k, mark BLOB NOT NULL, bucket BLOB NOT NULL, PRIMARY KEY (part, k))"
        " WITHOUT ROWID"
    )
    connection.executemany(
        "INSERT INTO hi VALUES (?, ?)", [(number, number.to_bytes(size, "big")) for number in range(parts)]
    )
    counts = [0, 0]
    for place in range(width):
        part = int(not at_once and place % 3 == 1)
        mark, bucket = (place * step).to_bytes(4 - size, "big"), (place // 100 % 256).to_bytes(1, "big")
        connection.execute("INSERT INTO lo VALUES (?, ?, ?, ?)", (part, counts[part], mark, bucket))
        counts[part] += 1
    return [Turn(0, counts[0], 0)] + ([Turn(1, counts[1], parts * counts[0])] if counts[1] else [])


Fill = Callable[[sqlite3.Connection], object]


def _parts(issuer: bytes, scale: float) -> Iterator[tuple[str, Fill]]:
    quotes, signatures, compacted = (int(count * scale) for count in (QUOTES, SIGNATURES, COMPACTED))
    minted, swaps, size = quotes // 2, signatures // 2 // SPENT, compacted // SHIFTS
    swapped = swaps * SPENT
    place = size * SHIFTS
    yield "counters", lambda c: _begin(c, issuer, quotes, size)
    for shift in range(SHIFTS):
        yield f"archive {shift + 1}", partial(_archive, shift=shift, size=size)
    for era, count in _eras(size):
        yield f"names {era}", partial(_names, era=era, count=count)
    yield "credit", lambda c: c.execute(_CREDIT, {"place": place, "total": quotes})
    yield "issue", lambda c: c.execute(_ISSUES, {"place": place, "total": minted})
    unit = Unit(issuer, SHIFTS).name
    yield "quote", lambda c: _rows(c, _QUOTE, quotes, unit=unit, place=place)
    yield "request", lambda c: _rows(c, _REQUESTS, minted + swaps, minted=minted)
    yield "promise", lambda c: _rows(c, _PROMISE, quotes + swapped, half=quotes, minted=minted)
    yield "spent", lambda c: _rows(c, _SPENT, swapped, minted=minted)
    yield "sums", lambda c: _settle(c, quotes, swapped)


def _rows(
    connection: sqlite3.Connection, sql: str, total: int, *, at_once: bool = False, **values: object
) -> None:
    for turn in turns(connection, total, at_once=at_once):
        asked = {"part": turn.part, "each": turn.each, "before": turn.before, "total": total} | values
        connection.execute(f"{sql} {_FROM}", asked)


def _archive(connection: sqlite3.Connection, shift: int, size: int) -> None:
    made = archive.of_shift(connection, 1, shift, NOW)
    connection.execute(
        "UPDATE archive SET quotes = :size, amount = :size WHERE archive_no = :number",
        {"size": size, "number": made.number},
    )
    connection.execute("UPDATE archive_era SET quotes = quotes + ? WHERE era = ?", (size, made.era))
    connection.execute(
        "INSERT INTO archive_tip (previous, archive_no) VALUES (randomblob(32), ?)", (made.number,)
    )
    # Their numbers were those before the quotes that are left.
    first = shift * size
    block = accounts.BLOCK
    connection.executemany(
        "INSERT INTO archive_sum (block, archive_no, amount) VALUES (?, ?, ?)",
        [
            (start // block, made.number, min(first + size, start - start % block + block) - start)
            for start in [first, *range(first - first % block + block, first + size, block)]
        ],
    )
    if shift:
        connection.execute(f"INSERT INTO archive_{made.number} SELECT * FROM archive_1")
    else:
        _rows(connection, _ARCHIVE, size, at_once=True)


def _names(connection: sqlite3.Connection, era: int, count: int) -> None:
    """The names of an era: those of the first, and no era has more."""
    if era == 1:
        _rows(connection, _NAMES, count, at_once=True)
        return
    first = connection.execute("SELECT quotes FROM archive_era WHERE era = 1").fetchone()["quotes"]
    # Without a limit whole rows are copied as they stand.
    limit = f" LIMIT {count}" if count < first else ""
    connection.execute(f"INSERT INTO archive_names_{era} SELECT * FROM archive_names_1{limit}")


def _eras(size: int) -> Iterator[tuple[int, int]]:
    """The eras in which archives of this size are, and how many quotes each has."""
    per_era = max(1, -(-archive.ERA // size)) if size else SHIFTS
    for era, first in enumerate(range(0, SHIFTS, per_era), 1):
        yield era, min(per_era, SHIFTS - first) * size


def _begin(connection: sqlite3.Connection, issuer: bytes, quotes: int, size: int) -> None:
    compacted = size * SHIFTS
    connection.execute("UPDATE shift SET rows = 1, closed_at = 1 WHERE shift = 0")
    connection.execute(
        "INSERT INTO ledger (ledger_no, issuer_no, store_id, first_shift, shift, acked_seq, last_time)"
        " SELECT 1, issuer_no, zeroblob(16), 0, ?, ?, ? FROM issuer WHERE identity = ?",
        (SHIFTS, quotes + compacted, NOW * 1000, issuer),
    )
    # The last row of the ledger, which tells where it stands, is a shift's own matter.
    connection.executemany(
        "INSERT INTO shift (issuer_no, shift, unit, minimum, valuation, credited, rows, full_at, first_time,"
        " opened_at, closed_at, ledger_no, last_seq)"
        " SELECT issuer_no, ?, ?, 0, 0, ?, ?, '1', ?, 1, ?, 1, ? FROM issuer WHERE identity = ?"
        " ON CONFLICT (issuer_no, shift) DO UPDATE SET credited = excluded.credited, rows = excluded.rows,"
        " first_time = excluded.first_time, ledger_no = 1, last_seq = excluded.last_seq",
        [_shift(number, quotes, size, issuer) for number in range(SHIFTS + 1)],
    )
    connection.execute(
        "INSERT INTO compaction (ledger_no, seq, credited, link) VALUES (1, ?, ?, zeroblob(32))",
        (compacted, compacted),
    )


def _shift(number: int, quotes: int, size: int, issuer: bytes) -> tuple[object, ...]:
    is_open = number == SHIFTS
    rows = quotes if is_open else size
    unit, last = Unit(issuer, number).name, None if is_open else (number + 1) * size
    credited = rows * 2 if is_open else rows
    return number, unit, credited, rows, NOW * 1000 + number, None if is_open else NOW, last, issuer


def _settle(connection: sqlite3.Connection, minted: int, swapped: int) -> None:
    """Let counters say what rows do."""
    connection.execute(
        "UPDATE keyset SET issued = issued + ?, redeemed = redeemed + ? WHERE keyset_no = 1",
        (minted + swapped, swapped),
    )


_NUMBER: Final = "(:before + hi.n * :each + lo.k + 1)"
_FROM: Final = f"FROM hi CROSS JOIN lo WHERE lo.part = :part AND {_NUMBER} <= :total"
_KEY: Final = "CAST(hi.mark || lo.mark || randomblob(28) AS BLOB)"
_COUNT: Final = "WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < :total)"
_ARCHIVE: Final = (
    f"INSERT INTO archive_1 (share_hash, quote_id, seq, amount) SELECT {_KEY}, randomblob(16), {_NUMBER}, 1"
)
_NAMES: Final = (
    "INSERT INTO archive_names_1 (mark, archive_no, place)"
    f" SELECT CAST(hi.mark || lo.mark || zeroblob(4) AS BLOB), lo.k % {SHIFTS} + 1, zeroblob(8)"
)
_QUOTE: Final = (
    "INSERT INTO quote (quote_no, quote_id, method, unit, amount, amount_paid, amount_issued, updated_at,"
    " created_at, pubkey, share_hash, ledger_no, seq)"
    f" SELECT :place + {_NUMBER}, lower(hex(hi.mark || lo.mark) || '-0000-8000-8000-' || hex(randomblob(6))),"
    f" 'ehash', :unit, 2, 2, {_NUMBER} % 2 * 2, 1, 1,"
    " CAST(x'02' || hi.mark || lo.bucket || zeroblob(31 - length(hi.mark)) AS BLOB),"
    f" {_KEY}, 1, :place + {_NUMBER}"
)
_CREDIT: Final = (
    "INSERT INTO credit (ledger_no, seq, shift, code, share_hash, header, target, time, flags, pubkey)"
    f" {_COUNT} SELECT 1, :place + n, {SHIFTS}, 0, zeroblob(32), zeroblob(80), zeroblob(32), {NOW * 1000}, 0,"
    " zeroblob(33) FROM number"
)
_REQUESTS: Final = (
    "INSERT INTO request (request_no, digest, kind, created_at)"
    f" SELECT 1000 + {_NUMBER}, {_KEY}, CASE WHEN {_NUMBER} > :minted THEN 'swap' ELSE 'mint' END, {NOW}"
)
_ISSUES: Final = (
    "INSERT INTO issue (request_no, quote_no, amount)"
    f" {_COUNT} SELECT 1000 + n, :place + 2 * n - 1, 2 FROM number"
)
_POINT: Final = "CAST(x'02' || hi.mark || lo.mark || zeroblob(28) AS BLOB)"
_PROMISE: Final = (
    "INSERT INTO promise (blinded, keyset_no, amount, signature, dleq_e, dleq_s, request_no)"
    f" SELECT {_POINT}, 1, 1, zeroblob(33), zeroblob(32), zeroblob(32), CASE WHEN {_NUMBER} <= :half"
    f" THEN 1001 + ({_NUMBER} - 1) / 2 ELSE 1001 + :minted + ({_NUMBER} - :half - 1) / {SPENT} END"
)
_SPENT: Final = (
    "INSERT INTO spent (y, keyset_no, amount, request_no)"
    f" SELECT {_POINT}, 1, 1, 1001 + :minted + ({_NUMBER} - 1) / {SPENT}"
)
