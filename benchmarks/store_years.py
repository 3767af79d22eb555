"""Fills a mint's SQLite store with years: quotes, signatures, spent tokens, and archives of old shifts.

Keys are spread over their whole range and come in their order, because random ones would take hours; a new
row meets the same depth of index and the same number of cold pages either way. Counters agree with rows, so
that the watchdog has nothing to say.
"""

import random
from collections.abc import Callable, Iterator
from typing import Any, Final, cast
from uuid import UUID

from protocols.ehash.shift import Unit
from roles.mint import accounts, archive
from roles.runtime.storage import Connection, Database

QUOTES: Final = 10_000_000
"""Half of them minted, each of a request of its own, with two signatures."""
SIGNATURES: Final = 20_000_000
"""Half of them of swaps of eight for eight."""
COMPACTED: Final = 100_000_000
SHIFTS: Final = 100
PORTION: Final = 500_000
"""Rows of one write."""
NOW: Final = 1_750_000_000
SAMPLES: Final = 4
"""Compacted quotes of each shift that can be looked at."""
_SAMPLE: Final = "SELECT quote_id, share_hash FROM archive_@ WHERE share_hash > randomblob(32) LIMIT 1"
SPENT: Final = 8
"""Tokens of a swap."""

Fill = Callable[[Connection], object]

_COUNT: Final = (
    "WITH RECURSIVE number(n) AS (SELECT :first UNION ALL SELECT n + 1 FROM number WHERE n < :last)"
)
_SPREAD: Final = "spread(n, :total)"


async def fill(database: Database, issuer: bytes, scale: float) -> None:
    """Fill a store that has been used by a mint which knows the issuer and has a keyset."""
    await database.write(lambda c: cast("Any", c).create_function("spread", 2, _spread, deterministic=True))
    await database.write(lambda c: _begin(c, issuer, scale))
    for portion in _portions(issuer, scale):
        await database.write(portion)
    await database.write(lambda c: _settle(c, scale))


def sample(connection: Connection) -> list[str]:
    """Ids of compacted quotes here and there, made known to the directory."""
    found = []
    rows = connection.execute("SELECT archive_no, era FROM archive WHERE quotes > 0 ORDER BY archive_no")
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


def _spread(number: int, total: int) -> bytes:
    """The place of a number among so many, as the first 8 bytes of a key."""
    return ((number << 64) // total & (1 << 64) - 1).to_bytes(8, "big")


def _portions(issuer: bytes, scale: float) -> Iterator[Fill]:
    quotes, signatures, compacted = (int(count * scale) for count in (QUOTES, SIGNATURES, COMPACTED))
    unit = Unit(issuer, SHIFTS).name
    minted, swaps = quotes // 2, signatures // 2 // SPENT
    yield from _each(compacted // SHIFTS, _archives)
    for era, count in _eras(compacted):
        yield from _rows(_NAMES.replace("@", str(era)), count)
    yield from _rows(_QUOTE, quotes, unit=unit, place=compacted)
    yield from _rows(_CREDIT, quotes, place=compacted)
    yield from _rows(_MINTS, minted)
    yield from _rows(_ISSUES, minted, place=compacted)
    yield from _rows(_SWAPS, swaps, after=minted)
    yield from _rows(_MINTED, signatures // 2)
    yield from _rows(_SWAPPED, signatures // 2, after=minted, half=signatures // 2)
    yield from _rows(_SPENT, signatures // 2, after=minted)


def _rows(sql: str, total: int, **values: object) -> Iterator[Fill]:
    for first in range(1, total + 1, PORTION):
        last = min(first + PORTION - 1, total)
        asked = {"first": first, "last": last, "total": total} | values
        yield lambda c, asked=asked: c.execute(f"{_COUNT} {sql}", asked)  # type: ignore[misc]


def _each(size: int, make: Callable[[int, int], Iterator[Fill]]) -> Iterator[Fill]:
    for shift in range(SHIFTS):
        yield from make(shift, size)


def _archives(shift: int, size: int) -> Iterator[Fill]:
    yield lambda c: _open(c, shift, size)
    yield from _rows(_ARCHIVE.replace("@", str(shift + 1)), size, place=shift * size)


def _eras(compacted: int) -> Iterator[tuple[int, int]]:
    """The eras in which so many quotes are, and how many of them."""
    each = compacted // SHIFTS
    per_era = max(1, -(-archive.ERA // each)) if each else SHIFTS
    for era, first in enumerate(range(0, SHIFTS, per_era), 1):
        yield era, min(per_era, SHIFTS - first) * each


def _begin(connection: Connection, issuer: bytes, scale: float) -> None:
    quotes, compacted = int(QUOTES * scale), int(COMPACTED * scale)
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
        [_shift(number, quotes, compacted // SHIFTS, issuer) for number in range(SHIFTS + 1)],
    )
    connection.execute(
        "INSERT INTO compaction (ledger_no, seq, credited, link) VALUES (1, ?, ?, zeroblob(32))",
        (compacted // SHIFTS * SHIFTS, compacted // SHIFTS * SHIFTS),
    )


def _shift(number: int, quotes: int, size: int, issuer: bytes) -> tuple[object, ...]:
    is_open = number == SHIFTS
    rows = quotes if is_open else size
    unit, last = Unit(issuer, number).name, None if is_open else (number + 1) * size
    credited = rows * 2 if is_open else rows
    return number, unit, credited, rows, NOW * 1000 + number, None if is_open else NOW, last, issuer


def _open(connection: Connection, shift: int, size: int) -> None:
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


def _settle(connection: Connection, scale: float) -> None:
    """Let counters say what rows do."""
    signatures = int(SIGNATURES * scale)
    connection.execute(
        "UPDATE keyset SET issued = issued + ?, redeemed = redeemed + ? WHERE keyset_no = 1",
        (signatures // 2 * 2, signatures // 2),
    )


_KEY: Final = f"CAST({_SPREAD} || randomblob(24) AS BLOB)"
_ARCHIVE: Final = (
    f"INSERT INTO archive_@ (share_hash, quote_id, seq, amount) SELECT {_KEY}, randomblob(16), :place + n, 1"
    " FROM number"
)
_NAMES: Final = (
    f"INSERT INTO archive_names_@ (mark, archive_no, place) SELECT {_SPREAD}, n % 33, randomblob(8)"
    " FROM number"
)
_QUOTE: Final = (
    "INSERT INTO quote (quote_no, quote_id, method, unit, amount, amount_paid, amount_issued, updated_at,"
    " created_at, pubkey, share_hash, ledger_no, seq)"
    " SELECT :place + n, lower(hex(spread(n, :total)) || hex(randomblob(10))), 'ehash', :unit, 2, 2,"
    " n % 2 * 2, 1, 1, CAST(x'02' || spread(n / 100, :total / 100) || zeroblob(24) AS BLOB),"
    f" {_KEY}, 1, :place + n FROM number"
)
_CREDIT: Final = (
    "INSERT INTO credit (ledger_no, seq, shift, code, share_hash, header, target, time, flags, pubkey)"
    f" SELECT 1, :place + n, {SHIFTS}, 0, {_KEY}, randomblob(80), randomblob(32), {NOW * 1000}, 0,"
    " randomblob(33) FROM number"
)
_MINTS: Final = (
    f"INSERT INTO request (request_no, digest, kind, created_at) SELECT 1000 + n, {_KEY}, 'mint', {NOW}"
    " FROM number"
)
_SWAPS: Final = (
    "INSERT INTO request (request_no, digest, kind, created_at)"
    f" SELECT 1000 + :after + n, {_KEY}, 'swap', {NOW} FROM number"
)
_ISSUES: Final = (
    "INSERT INTO issue (request_no, quote_no, amount) SELECT 1000 + n, :place + 2 * n - 1, 2 FROM number"
)
_POINT: Final = "CAST(x'02' || {} || randomblob(24) AS BLOB)"
_SIGNED: Final = "1, 1, randomblob(33), randomblob(32), randomblob(32)"
_MINTED: Final = (
    "INSERT INTO promise (blinded, keyset_no, amount, signature, dleq_e, dleq_s, request_no)"
    f" SELECT {_POINT.format('spread(n, :total)')}, {_SIGNED}, 1001 + (n - 1) / 2 FROM number"
)
_SWAPPED: Final = (
    "INSERT INTO promise (blinded, keyset_no, amount, signature, dleq_e, dleq_s, request_no)"
    f" SELECT CAST(x'03' || spread(n, :total) || randomblob(24) AS BLOB), {_SIGNED},"
    f" 1001 + :after + (n - 1) / {SPENT} FROM number WHERE :half > 0"
)
_SPENT: Final = (
    "INSERT INTO spent (y, keyset_no, amount, request_no)"
    f" SELECT {_POINT.format('spread(n, :total)')}, 1, 1, 1001 + :after + (n - 1) / {SPENT} FROM number"
)
