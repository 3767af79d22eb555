"""Quotes that have nothing left to mint take little room: rows of closed shifts go into archives, in order.

Of a ledger's rows up to a place nothing is left but what `roles.mint.archive` keeps: quotes that were minted
in full are there, others stay as they are until they are minted, and rows of `credit` are gone but for those
that were refused. What they held is proved by a hash chain over them. Every step is a small write that stands
by itself.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from protocols.ehash.ledger_chain import BEGINNING, STEP, Link, extend
from roles.mint import archive
from roles.mint.archive import Archived
from roles.mint.ledger_rows import PREVIOUS
from roles.runtime import crash
from roles.runtime.storage import Connection, Row

AT_ONCE: Final = 200
"""Rows of one write at most, a few milliseconds."""


_ENDING: Final = (
    "SELECT archive.archive_no, ledger.ledger_no, ledger.issuer_no, shift.shift,"
    " CASE WHEN shift.ledger_no = ledger.ledger_no THEN last_seq ELSE acked_seq END AS last FROM archive"
    " JOIN ledger ON ledger.ledger_no = archive.ledger_no"
    " JOIN shift ON shift.issuer_no = ledger.issuer_no AND shift.shift = archive.shift"
    " WHERE archive.ended_at IS NULL"
)


@dataclass(frozen=True, slots=True)
class Window:
    """How long a shift's quotes are kept after its end: both must have passed, in the issuer's rows."""

    seconds: int
    shifts: int


@dataclass(frozen=True, slots=True)
class _Due:
    """A ledger with rows to compact."""

    ledger_no: int
    last: int
    seq: int
    credited: int
    link: bytes


def compact(connection: Connection, cutoff: int, now: int, limit: int = AT_ONCE) -> int:
    """Compact up to `limit` rows of shifts that were closed by `cutoff` (Unix seconds); gives how many, 0
    when nothing is left to do.
    """
    for due in _due(connection, cutoff):
        done = (_rows if due.seq < due.last else _late)(connection, due, now, limit)
        if done:
            crash.at("mint.compaction-written")
            return done
    return 0


def is_due(connection: Connection, cutoff: int) -> bool:
    """Whether `compact` finds something to do."""
    return any(due.seq < due.last or _minted_late(connection, due, 1) for due in _due(connection, cutoff))


def to_end(connection: Connection, window: Window, now: int) -> int | None:
    """The number of an archive whose shift's window has passed, None if there is none."""
    rows = connection.execute(f"{_ENDING} AND shift.closed_at <= ?", (now - window.seconds,)).fetchall()
    return next((row["archive_no"] for row in rows if _is_over(connection, row, window)), None)


def end(connection: Connection, number: int, window: Window, now: int) -> bool:
    """End an archive if its shift's window has passed indeed.

    Time is that of the issuer's own rows, besides the mint's clock: rows that wait for a mint that was away
    are looked for in all shifts of their time.
    """
    row = connection.execute(f"{_ENDING} AND archive.archive_no = ?", (number,)).fetchone()
    if row is None or not _is_over(connection, row, window) or not archive.end(connection, number, now):
        return False
    crash.at("mint.compaction-ended")
    return True


def _due(connection: Connection, cutoff: int) -> list[_Due]:
    rows = connection.execute(
        "SELECT ledger_no, max(last_seq) AS last FROM shift"
        " WHERE closed_at <= ? AND ledger_no IS NOT NULL GROUP BY ledger_no ORDER BY ledger_no",
        (cutoff,),
    ).fetchall()
    found = []
    for row in rows:
        mark = connection.execute(
            "SELECT seq, credited, link FROM compaction WHERE ledger_no = ?", (row["ledger_no"],)
        ).fetchone()
        reached = (0, 0, BEGINNING) if mark is None else tuple(mark)
        found.append(_Due(row["ledger_no"], row["last"], *reached))
    return found


def _rows(connection: Connection, due: _Due, now: int, limit: int) -> int:
    """Compact the next rows of a ledger, all of one shift."""
    found = connection.execute(
        "SELECT credit.seq, credit.shift, credit.code, credit.share_hash, credit.header, credit.pubkey,"
        " quote.quote_no, quote.quote_id, quote.amount, quote.amount_issued"
        " FROM credit LEFT JOIN quote ON quote.share_hash = credit.share_hash"
        " AND quote.ledger_no = credit.ledger_no AND quote.seq = credit.seq"
        " WHERE credit.ledger_no = ? AND credit.seq > ? AND credit.seq <= ? ORDER BY credit.seq LIMIT ?",
        (due.ledger_no, due.seq, due.last, limit),
    ).fetchall()
    if not found:
        return 0
    shift = found[0]["shift"]
    rows = [row for row in found if row["shift"] == shift]
    if not _advance(connection, due, rows):
        return 0
    into = archive.of_shift(connection, due.ledger_no, shift, now)
    # A row that is credited and has no quote is damage, which the audit shall find.
    settled = [row for row in rows if row["code"] == 0 and row["quote_no"] is not None]
    archive.note_tips(connection, into, (bytes(row["header"])[PREVIOUS] for row in settled))
    connection.executemany(
        "DELETE FROM credit WHERE ledger_no = ? AND seq = ?", [(due.ledger_no, row["seq"]) for row in settled]
    )
    newest = _newest(connection)
    minted = [row for row in settled if row["amount_issued"] == row["amount"] and row["quote_no"] < newest]
    _move(connection, minted, into, now)
    return len(rows)


def _late(connection: Connection, due: _Due, now: int, limit: int) -> int:
    """Compact quotes that have been minted since their rows were, all of one shift."""
    found = _minted_late(connection, due, limit)
    rows = [row for row in found if row["shift"] == found[0]["shift"]]
    if not rows:
        return 0
    # Nobody else works on this ledger until the commit.
    locked = connection.execute(
        "UPDATE compaction SET seq = seq WHERE ledger_no = ? AND seq = ?", (due.ledger_no, due.seq)
    )
    if locked.rowcount != 1:
        return 0
    _move(connection, rows, archive.of_shift(connection, due.ledger_no, rows[0]["shift"], now), now)
    return len(rows)


def _minted_late(connection: Connection, due: _Due, limit: int) -> list[Row]:
    return connection.execute(
        "SELECT quote_no, quote_id, share_hash, seq, amount, shift.shift FROM quote"
        " JOIN shift ON shift.unit = quote.unit WHERE quote.ledger_no = ? AND quote.seq <= ?"
        " AND amount_issued = amount AND share_hash IS NOT NULL AND quote_no < ? ORDER BY quote.seq LIMIT ?",
        (due.ledger_no, due.seq, _newest(connection), limit),
    ).fetchall()


def _advance(connection: Connection, due: _Due, rows: Sequence[Row]) -> bool:
    """Take rows into the chain; False when another process was faster."""
    link, credited = due.link, due.credited
    marks = []
    for row in rows:
        amount = row["amount"] or 0
        link = extend(link, Link(row["seq"], bytes(row["share_hash"]), amount, bytes(row["pubkey"])))
        credited += amount
        if row["seq"] % STEP == 0:
            marks.append((due.ledger_no, row["seq"], link))
    connection.execute(
        "INSERT INTO compaction (ledger_no, seq, credited, link) VALUES (?, 0, 0, ?) ON CONFLICT DO NOTHING",
        (due.ledger_no, BEGINNING),
    )
    cursor = connection.execute(
        "UPDATE compaction SET seq = ?, credited = ?, link = ? WHERE ledger_no = ? AND seq = ?",
        (rows[-1]["seq"], credited, link, due.ledger_no, due.seq),
    )
    if cursor.rowcount != 1:
        return False
    connection.executemany("INSERT INTO chain_mark (ledger_no, seq, link) VALUES (?, ?, ?)", marks)
    return True


def _move(connection: Connection, rows: Sequence[Row], into: archive.Archive, now: int) -> None:
    if not rows:
        return
    taken: Counter[int] = Counter()
    for row in rows:
        number = (row["quote_no"],)
        connection.execute("DELETE FROM quote WHERE quote_no = ?", number)
        gone = connection.execute("DELETE FROM issue WHERE quote_no = ? RETURNING request_no, amount", number)
        for each_issue in gone.fetchall():
            taken[each_issue["request_no"]] += each_issue["amount"]
    archive.put(
        connection,
        into,
        [
            Archived(
                row["quote_no"],
                bytes(row["share_hash"]),
                UUID(row["quote_id"]).bytes,
                row["seq"],
                row["amount"],
            )
            for row in rows
        ],
        now,
    )
    # What a request took of quotes that are no more is kept as one sum, which its signatures still match.
    connection.executemany(
        "INSERT INTO issue (request_no, quote_no, amount) VALUES (?, ?, ?)"
        " ON CONFLICT (request_no, quote_no) DO UPDATE SET amount = issue.amount + excluded.amount",
        [(request_no, 0, amount) for request_no, amount in sorted(taken.items())],
    )


def _newest(connection: Connection) -> int:
    """The number of the newest quote, which stays, because the next one's comes from it."""
    return int(connection.execute("SELECT coalesce(max(quote_no), 0) FROM quote").fetchone()[0])


def _is_over(connection: Connection, row: Row, window: Window) -> bool:
    """Whether a shift's window has passed, all of its rows are compacted, and nobody builds on its blocks."""
    issuer_no, shift = row["issuer_no"], row["shift"]
    later = connection.execute(
        "SELECT count(*) AS number, min(first_time) AS time FROM shift"
        " WHERE issuer_no = ? AND shift > ? AND rows > 0",
        (issuer_no, shift),
    ).fetchone()
    if later["time"] is None or later["number"] < window.shifts:
        return False
    newest, compacted = connection.execute(
        "SELECT max(last_time), coalesce(max(CASE ledger.ledger_no WHEN ? THEN compaction.seq END), 0)"
        " FROM ledger LEFT JOIN compaction ON compaction.ledger_no = ledger.ledger_no WHERE issuer_no = ?",
        (row["ledger_no"], issuer_no),
    ).fetchone()
    if newest - later["time"] < window.seconds * 1000 or compacted < row["last"]:
        return False
    tips = connection.execute(
        "SELECT header FROM credit JOIN ledger ON ledger.ledger_no = credit.ledger_no"
        " AND ledger.acked_seq = credit.seq"
    ).fetchall()
    present = {bytes(each_tip["header"])[PREVIOUS] for each_tip in tips}
    found = (each.number for tip in present for each in archive.on_tip(connection, tip))
    return row["archive_no"] not in found
