"""Issuers, their ledgers and shifts, and the credits and quotes made of their rows, in the store."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from protocols.ehash.errors import CreditCode
from protocols.ehash.shift import FIRST_SHIFT, METHOD, Unit
from roles.credit.acceptor import Standing
from roles.credit.errors import LedgerBehind
from roles.mint import keyset_rows
from roles.mint.keysets import KeysetBook, MintKeyset
from roles.mint.seed import MintSeed
from roles.mint.settlement import LedgerState, Settlement, Verdict
from roles.runtime import crash
from roles.runtime.storage import Connection


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
            created.append(keyset_rows.create(connection, seed, unit, now, book.ring))
    return created


def open_ledger(connection: Connection, identity: bytes, store_id: bytes, next_seq: int) -> Standing:
    """Where a ledger stands, made known with its first hello; raises LedgerBehind."""
    connection.execute(
        "INSERT INTO ledger (issuer_no, store_id, first_shift, shift)"
        " SELECT issuer_no, ?, max(shift), max(shift) FROM shift JOIN issuer USING (issuer_no)"
        " WHERE identity = ? ON CONFLICT DO NOTHING",
        (store_id, identity),
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


def state(connection: Connection, identity: bytes, store_id: bytes) -> LedgerState:
    """The standing of a ledger that has been opened."""
    row = connection.execute(
        "SELECT ledger.*, shift.unit, shift.minimum, shift.valuation FROM ledger"
        " JOIN issuer USING (issuer_no) JOIN shift USING (issuer_no, shift)"
        " WHERE identity = ? AND store_id = ?",
        (identity, store_id),
    ).fetchone()
    return LedgerState(
        ledger_no=row["ledger_no"],
        issuer_no=row["issuer_no"],
        acked_seq=row["acked_seq"],
        shift=row["shift"],
        unit=row["unit"],
        minimum=row["minimum"],
        valuation=row["valuation"],
        last_time=row["last_time"],
        work_level=int(row["work_level"]),
    )


def settled(
    connection: Connection, ledger_no: int, first: int, last: int
) -> dict[int, tuple[bytes, bytes, int]]:
    """Seq to header, locking key and code of rows that were settled before."""
    rows = connection.execute(
        "SELECT seq, header, pubkey, code FROM credit WHERE ledger_no = ? AND seq BETWEEN ? AND ?",
        (ledger_no, first, last),
    ).fetchall()
    return {row["seq"]: (row["header"], row["pubkey"], row["code"]) for row in rows}


def store(
    connection: Connection, before: LedgerState, settlement: Settlement, now: int
) -> tuple[Verdict, ...]:
    """Keep a frame's verdicts and create its quotes, paid at once; gives the verdicts as they were stored.

    A share that has a quote already, under another issuer or number, becomes duplicate-elsewhere.
    """
    after = settlement.state
    verdicts = tuple(_create_quote(connection, after, verdict, now) for verdict in settlement.verdicts)
    connection.executemany(
        "INSERT INTO credit (ledger_no, seq, shift, code, share_hash, header, target, time, flags, pubkey)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [_credit(after, verdict) for verdict in verdicts],
    )
    accepted = [verdict.credit.amount for verdict in verdicts if verdict.credit is not None]
    connection.execute(
        "UPDATE shift SET minimum = ?, valuation = ?, credited = credited + ?, rows = rows + ?"
        " WHERE issuer_no = ? AND shift = ?",
        (after.minimum, after.valuation, sum(accepted), len(verdicts), after.issuer_no, after.shift),
    )
    cursor = connection.execute(
        "UPDATE ledger SET acked_seq = ?, last_time = ?, work_level = ?"
        " WHERE ledger_no = ? AND acked_seq = ?",
        (after.acked_seq, after.last_time, str(after.work_level), after.ledger_no, before.acked_seq),
    )
    if cursor.rowcount != 1:
        raise RuntimeError(f"ledger {after.ledger_no} was settled by two at once")
    crash.at("mint.credits-written")
    return verdicts


def _create_quote(connection: Connection, state: LedgerState, verdict: Verdict, now: int) -> Verdict:
    credit = verdict.credit
    if credit is None:
        return verdict
    cursor = connection.execute(
        "INSERT INTO quote (quote_id, method, unit, amount, amount_paid, updated_at, created_at, pubkey,"
        " share_hash, ledger_no, seq) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (
            verdict.quote_id,
            METHOD,
            state.unit,
            credit.amount,
            credit.amount,
            now,
            now,
            credit.key,
            credit.share_hash,
            state.ledger_no,
            verdict.seq,
        ),
    )
    if cursor.rowcount == 1:
        return verdict
    return replace(verdict, code=CreditCode.DUPLICATE_ELSEWHERE, credit=None, quote_id="")


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
