"""Issuers, their ledgers and shifts, and the credits and quotes made of their rows, in the store."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from protocols.ehash.errors import CreditCode
from protocols.ehash.shift import FIRST_SHIFT, METHOD, Progress, Unit
from roles.credit.acceptor import Standing
from roles.credit.errors import LedgerBehind
from roles.mint import archive, keyset_rows
from roles.mint.errors import SettledElsewhere
from roles.mint.keysets import KeyRing, KeysetBook, MintKeyset
from roles.mint.seed import MintSeed
from roles.mint.settlement import OK, LedgerState, Settlement, Verdict
from roles.runtime import crash
from roles.runtime.storage import Connection, each

PREVIOUS: Final = slice(4, 36)
"""Where a header names the block that it builds on."""


def register(
    connection: Connection, identities: Iterable[bytes], seed: MintSeed, book: KeysetBook, now: int
) -> list[MintKeyset]:
    """Make every issuer known with its first shift and its keyset; gives the keysets that are new."""
    units = {keyset.unit for keyset in book}
    created = []
    for identity in identities:
        connection.execute(
            "INSERT INTO issuer (identity, created_at) VALUES (?, ?) ON CONFLICT DO NOTHING", (identity, now)
        )
        unit = Unit(identity, FIRST_SHIFT).name
        connection.execute(
            "INSERT INTO shift (issuer_no, shift, unit) SELECT issuer_no, ?, ? FROM issuer WHERE identity = ?"
            " ON CONFLICT DO NOTHING",
            (FIRST_SHIFT, unit, identity),
        )
        if unit not in units:
            created.append(keyset_rows.first(connection, seed, unit, now, book.ring))
    return created


def open_ledger(connection: Connection, identity: bytes, store_id: bytes, next_seq: int) -> Standing:
    """Where a ledger stands, made known with its first hello; raises LedgerBehind."""
    connection.execute(
        "INSERT INTO ledger (issuer_no, store_id, first_shift, shift)"
        " SELECT issuer_no, ?, 0, 0 FROM issuer WHERE identity = ? ON CONFLICT DO NOTHING",
        (store_id, identity),
    )
    # A ledger without rows begins in a shift of its own: where the next row of another one belongs depends on
    # the rows before it.
    connection.execute(
        "UPDATE ledger SET first_shift = :shift, shift = :shift"
        " WHERE store_id = :store_id AND acked_seq = 0"
        " AND issuer_no = (SELECT issuer_no FROM issuer WHERE identity = :identity)",
        {"shift": _free_shift(connection, identity), "store_id": store_id, "identity": identity},
    )
    row = connection.execute(
        "SELECT acked_seq, first_shift FROM ledger JOIN issuer USING (issuer_no)"
        " WHERE identity = ? AND store_id = ?",
        (identity, store_id),
    ).fetchone()
    if next_seq <= row["acked_seq"]:
        raise LedgerBehind(
            f"the issuer's ledger ends before row {next_seq}, and row {row['acked_seq']} of it is settled:"
            " it was restored from an old backup"
        )
    return Standing(row["acked_seq"], row["first_shift"])


def _free_shift(connection: Connection, identity: bytes) -> int:
    """The earliest shift of an issuer that has no row and none after it."""
    newest = connection.execute(
        "SELECT max(shift) FROM shift JOIN issuer USING (issuer_no) WHERE identity = ? AND rows > 0",
        (identity,),
    ).fetchone()[0]
    return FIRST_SHIFT if newest is None else int(newest) + 1


def state(connection: Connection, identity: bytes, store_id: bytes) -> LedgerState:
    """The standing of a ledger that has been opened."""
    row = connection.execute(
        "SELECT ledger.*, shift.minimum, shift.valuation, shift.full_at, shift.first_time, shift.work,"
        " shift.ends_in_block, shift.lenient, shift.rows,"
        " (SELECT max(shift) FROM shift WHERE shift.issuer_no = ledger.issuer_no AND rows > 0) AS newest"
        " FROM ledger JOIN issuer ON issuer.issuer_no = ledger.issuer_no"
        " LEFT JOIN shift ON shift.issuer_no = ledger.issuer_no AND shift.shift = ledger.shift"
        " WHERE identity = ? AND store_id = ?",
        (identity, store_id),
    ).fetchone()
    progress = None
    if row["full_at"] is not None:
        progress = Progress(
            int(row["full_at"]), row["first_time"], int(row["work"]), bool(row["ends_in_block"])
        )
    return LedgerState(
        ledger_no=row["ledger_no"],
        issuer_no=row["issuer_no"],
        acked_seq=row["acked_seq"],
        shift=row["shift"],
        unit=Unit(identity, row["shift"]).name,
        minimum=row["minimum"],
        valuation=row["valuation"],
        last_time=row["last_time"],
        work_level=int(row["work_level"]),
        identity=identity,
        progress=progress,
        is_lenient=bool(row["lenient"]),
        newest=row["newest"],
    )


def opened_in_turn(connection: Connection, issuer_no: int, number: int) -> int | None:
    """When the issuer opened its `number`-th newest shift, in Unix seconds; None if it has fewer."""
    row = connection.execute(
        "SELECT opened_at FROM shift WHERE issuer_no = ? AND opened_at IS NOT NULL"
        " ORDER BY shift DESC LIMIT 1 OFFSET ?",
        (issuer_no, number - 1),
    ).fetchone()
    return None if row is None else int(row["opened_at"])


def settled(
    connection: Connection, ledger_no: int, first: int, last: int
) -> dict[int, tuple[bytes, bytes, int]]:
    """Seq to header, locking key and code of rows that were settled before and are not compacted."""
    rows = connection.execute(
        "SELECT seq, header, pubkey, code FROM credit WHERE ledger_no = ? AND seq BETWEEN ? AND ?",
        (ledger_no, first, last),
    ).fetchall()
    return {row["seq"]: (row["header"], row["pubkey"], row["code"]) for row in rows}


@dataclass(frozen=True, slots=True)
class Again:
    """A row that comes again; its id is the quote's that the row would have."""

    seq: int
    share_hash: bytes
    previous: bytes
    key: bytes
    quote_id: str


def compacted(connection: Connection, state: LedgerState, rows: Sequence[Again]) -> dict[int, int]:
    """Seq to code of rows that were settled before and are compacted: ok for those whose quote is there
    still, bad-work for those of a shift that has ended.
    """
    quotes = each(
        connection,
        "SELECT ledger_no, seq, pubkey FROM quote WHERE share_hash = ?",
        [row.share_hash for row in rows],
    )
    codes: dict[int, int] = {}
    left: dict[bytes, list[Again]] = {}
    for row, quote in zip(rows, quotes, strict=True):
        if quote is None:
            left.setdefault(row.previous, []).append(row)
        elif (quote["ledger_no"], quote["seq"], quote["pubkey"]) == (state.ledger_no, row.seq, row.key):
            codes[row.seq] = OK
    for previous, missing in left.items():
        archives = archive.on_tip(connection, previous)
        if any(each_one.ended_at is not None for each_one in archives):
            codes |= dict.fromkeys((row.seq for row in missing), int(CreditCode.BAD_WORK))
        for each_one in archives:
            found = archive.ids_of(connection, each_one, [row.share_hash for row in missing])
            for row in missing:
                if found.get(row.share_hash) == (UUID(row.quote_id).bytes, row.seq):
                    codes[row.seq] = OK
    return codes


def store(
    connection: Connection,
    before: LedgerState,
    settlement: Settlement,
    now: int,
    *,
    seed: MintSeed,
    ring: KeyRing | None,
) -> tuple[tuple[Verdict, ...], MintKeyset | None]:
    """Keep a frame's verdicts and create its quotes, paid at once; gives the verdicts as they were stored,
    and the keyset of a shift that is new.

    A share that has a quote already, under another issuer or number, becomes duplicate-elsewhere; one whose
    shift has ended, as far as anybody can tell, bad-work.
    """
    after = settlement.state
    _advance_ledger(connection, before, after)
    opened = None
    if before.progress is None or before.shift != after.shift:
        opened = _open_shift(connection, before, after, now, seed=seed, ring=ring)
    verdicts = _create_quotes(connection, after, settlement.verdicts, now)
    verdicts = _without_archived(connection, verdicts)
    connection.executemany(
        "INSERT INTO credit (ledger_no, seq, shift, code, share_hash, header, target, time, flags, pubkey)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [_credit(after, verdict) for verdict in verdicts],
    )
    _advance_shift(connection, after, verdicts)
    crash.at("mint.credits-written")
    return verdicts, opened


def _advance_ledger(connection: Connection, before: LedgerState, after: LedgerState) -> None:
    """Have a ledger settled so far; raises SettledElsewhere unless it is as it was before."""
    cursor = connection.execute(
        "UPDATE ledger SET acked_seq = ?, shift = ?, last_time = ?, work_level = ?"
        " WHERE ledger_no = ? AND acked_seq = ?",
        (
            after.acked_seq,
            after.shift,
            after.last_time,
            str(after.work_level),
            after.ledger_no,
            before.acked_seq,
        ),
    )
    if cursor.rowcount != 1:
        raise SettledElsewhere(f"ledger {after.ledger_no} was settled by two at once")


def _advance_shift(connection: Connection, after: LedgerState, verdicts: Sequence[Verdict]) -> None:
    """Count a frame's rows in their shift; raises SettledElsewhere where that is closed."""
    accepted = [verdict.credit.amount for verdict in verdicts if verdict.credit is not None]
    progress = after.progress
    assert progress is not None
    cursor = connection.execute(
        "UPDATE shift SET minimum = ?, valuation = ?, credited = credited + ?, rows = rows + ?, work = ?,"
        " full_at = ?, first_time = ?, ends_in_block = ?"
        " WHERE issuer_no = ? AND shift = ? AND closed_at IS NULL",
        (
            after.minimum,
            after.valuation,
            sum(accepted),
            len(verdicts),
            str(progress.work),
            str(progress.full_at),
            progress.first_time,
            int(progress.block),
            after.issuer_no,
            after.shift,
        ),
    )
    if cursor.rowcount != 1:
        raise SettledElsewhere(f"shift {after.shift} was closed while rows of it were settled")


def _open_shift(
    connection: Connection,
    before: LedgerState,
    after: LedgerState,
    now: int,
    *,
    seed: MintSeed,
    ring: KeyRing | None,
) -> MintKeyset | None:
    """Close the issuer's earlier shifts, and have the new one with its unit; gives a keyset that is new."""
    connection.execute(
        "UPDATE shift SET closed_at = ? WHERE issuer_no = ? AND shift < ? AND closed_at IS NULL",
        (now, after.issuer_no, after.shift),
    )
    if before.shift != after.shift:
        connection.execute(
            "UPDATE shift SET ledger_no = ?, last_seq = ? WHERE issuer_no = ? AND shift = ? AND rows > 0",
            (before.ledger_no, before.acked_seq, before.issuer_no, before.shift),
        )
    connection.execute(
        "INSERT INTO shift (issuer_no, shift, unit, opened_at) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (issuer_no, shift) DO UPDATE SET opened_at = excluded.opened_at"
        " WHERE shift.opened_at IS NULL",
        (after.issuer_no, after.shift, after.unit, now),
    )
    crash.at("mint.shift-opened")
    known = connection.execute("SELECT 1 FROM keyset WHERE unit = ?", (after.unit,)).fetchone()
    if known is not None:
        return None
    return keyset_rows.first(connection, seed, after.unit, now, ring)


def _create_quotes(
    connection: Connection, state: LedgerState, verdicts: Sequence[Verdict], now: int
) -> tuple[Verdict, ...]:
    """The verdicts, where shares that have a quote already are duplicates; the others have theirs now."""
    rows = [
        (
            verdict.quote_id,
            METHOD,
            state.unit,
            verdict.credit.amount,
            verdict.credit.amount,
            now,
            now,
            verdict.credit.key,
            verdict.credit.share_hash,
            state.ledger_no,
            verdict.seq,
        )
        for verdict in verdicts
        if verdict.credit is not None
    ]
    cursor = connection.executemany(
        "INSERT INTO quote (quote_id, method, unit, amount, amount_paid, updated_at, created_at, pubkey,"
        " share_hash, ledger_no, seq) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        rows,
    )
    if cursor.rowcount == len(rows):
        return tuple(verdicts)
    there = each(
        connection,
        "SELECT ledger_no, seq FROM quote WHERE share_hash = ?",
        [verdict.share_hash for verdict in verdicts],
    )
    return tuple(
        verdict
        if verdict.credit is None
        or (row is not None and (row["ledger_no"], row["seq"]) == (state.ledger_no, verdict.seq))
        else _refused(verdict, CreditCode.DUPLICATE_ELSEWHERE)
        for verdict, row in zip(verdicts, there, strict=True)
    )


def _without_archived(connection: Connection, verdicts: tuple[Verdict, ...]) -> tuple[Verdict, ...]:
    """The verdicts, where shares that were credited in a shift that is archived, or was, have no quote.

    Looked for after quotes are made: one that is compacted meanwhile is in the one place or in the other.
    """
    by_tip: dict[bytes, list[bytes]] = {}
    for verdict in verdicts:
        if verdict.credit is not None:
            by_tip.setdefault(verdict.row.header[PREVIOUS], []).append(verdict.share_hash)
    codes: dict[bytes, CreditCode] = {}
    for previous, share_hashes in by_tip.items():
        archives = archive.on_tip(connection, previous)
        # Whether a share was among those of a shift that has ended, nobody knows any more.
        if any(each_one.ended_at is not None for each_one in archives):
            codes |= dict.fromkeys(share_hashes, CreditCode.BAD_WORK)
        for each_one in archives:
            known = archive.ids_of(connection, each_one, share_hashes)
            codes |= dict.fromkeys(known, CreditCode.DUPLICATE_ELSEWHERE)
    if not codes:
        return verdicts
    connection.executemany(
        "DELETE FROM quote WHERE share_hash = ?", [(each_one,) for each_one in sorted(codes)]
    )
    return tuple(
        _refused(verdict, codes[verdict.share_hash])
        if verdict.credit is not None and verdict.share_hash in codes
        else verdict
        for verdict in verdicts
    )


def _refused(verdict: Verdict, code: CreditCode) -> Verdict:
    return replace(verdict, code=code, credit=None, quote_id="")


def _credit(state: LedgerState, verdict: Verdict) -> Sequence[object]:
    row = verdict.row
    return (
        state.ledger_no,
        verdict.seq,
        state.shift,
        int(verdict.code),
        verdict.share_hash,
        row.header,
        row.target.to_bytes(32, "little"),
        row.time,
        row.flags,
        row.locking_key,
    )
