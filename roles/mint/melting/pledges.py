"""What melts put up, in the store.

A melt puts its tokens up: rows of `spent` that are pending, and sums in their keysets' `pending`. Then it is
settled, which makes the rows anew so that they stand among the spent ones by their number, or given up, which
deletes them. All steps compare and set the melt's state, so each happens once, whoever takes it. Locks are
taken in the order of `roles.mint.transaction`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter

from protocols.cashu.errors import (
    InvoicePaidError,
    OutputsPendingError,
    OutputsSignedError,
    QuotePendingError,
)
from protocols.cashu.models import BlindedMessage, BlindSignature, Proof
from roles.mint.errors import CountersBrokenError
from roles.mint.keysets import KeysetBook
from roles.mint.melting.quote import PAID, PENDING, UNPAID, MeltQuote
from roles.mint.melting.request import MeltRequest
from roles.mint.melting.rows import check_unpaid
from roles.mint.melting.rules import Bill, Stake
from roles.mint.transaction import check_taken
from roles.runtime import crash
from roles.runtime.storage import Connection

_PLEDGED = ("request_no", "sent_at", "inputs", "input_fee")
_NOTHING: Mapping[str, object] = {
    "request_no": None,
    "sent_at": None,
    "inputs": 0,
    "input_fee": 0,
    "fee": 0,
    "kept": 0,
    "preimage": None,
}
_TAKEN = "the melt quote is being paid, or has been"
_SpentRow = tuple[bytes, int, int, str | None, int, int]


@dataclass(frozen=True, slots=True)
class Pledge:
    """A pending melt: what it has put up, and its blank outputs that nothing was signed for yet, in order."""

    quote: MeltQuote
    stake: Stake
    blanks: tuple[tuple[bytes, str], ...]
    points: tuple[bytes, ...]


def pledge(
    connection: Connection,
    request: MeltRequest,
    quote: MeltQuote,
    stake: Stake,
    points: Sequence[bytes],
    *,
    book: KeysetBook,
    now: int,
) -> bool:
    """Put the inputs up, and keep the outputs for the change; False when the same request has done so.

    Raises QuotePendingError, InvoicePaidError, ProofsPendingError, ProofsSpentError, OutputsPendingError,
    OutputsSignedError, CountersBrokenError.
    """
    request_no = _begin(connection, request.digest, now)
    if request_no is None:
        return False
    check_unpaid(connection, quote.payment_hash)
    told = {"request_no": request_no, "sent_at": now, "inputs": stake.inputs, "input_fee": stake.input_fee}
    if not _move(connection, quote.melt_no, (UNPAID, PENDING), told, now):
        raise QuotePendingError(_TAKEN)
    _take(connection, request.inputs, points, request_no, book, is_pending=True)
    _reserve(connection, quote.melt_no, request.outputs, book)
    for number, amount in sorted(_sums(request.inputs, book).items()):
        cursor = connection.execute(
            "UPDATE keyset SET pending = pending + :amount"
            " WHERE keyset_no = :number AND redeemed + pending <= issued - :amount",
            {"amount": amount, "number": number},
        )
        if cursor.rowcount != 1:
            raise CountersBrokenError(f"keyset number {number} would redeem more than it has issued")
    crash.at("mint.melt-written")
    return True


def find_pledge(connection: Connection, melt_no: int) -> Pledge | None:
    """A pending melt with what it has put up, None when it is not pending any more."""
    row = connection.execute("SELECT * FROM melt WHERE melt_no = ? AND state = 1", (melt_no,)).fetchone()
    if row is None:
        return None
    inputs = connection.execute(
        "SELECT y FROM spent WHERE request_no = ? AND pending = 1", (row["request_no"],)
    ).fetchall()
    blanks = connection.execute(
        "SELECT blank.blinded, keyset_id FROM blank JOIN keyset USING (keyset_no)"
        " WHERE melt_no = ? AND NOT EXISTS (SELECT 1 FROM promise WHERE promise.blinded = blank.blinded)"
        " ORDER BY place",
        (melt_no,),
    ).fetchall()
    return Pledge(
        MeltQuote.from_row(row),
        Stake(row["inputs"], row["input_fee"]),
        tuple((each["blinded"], each["keyset_id"]) for each in blanks),
        tuple(each["y"] for each in inputs),
    )


def settle(
    connection: Connection,
    pledged: Pledge,
    bill: Bill,
    preimage: bytes | None,
    change: Sequence[tuple[bytes, BlindSignature]],
    *,
    book: KeysetBook,
    now: int,
) -> bool:
    """Spend for good what a melt has put up, and keep its change (B_ and signature); False when it is not
    pending any more. Raises OutputsSignedError when an output was signed elsewhere meanwhile.
    """
    melt_no = pledged.quote.melt_no
    request_no = _end(
        connection, melt_no, PAID, {"preimage": preimage, "fee": bill.fee, "kept": bill.kept}, now
    )
    if request_no is None:
        return False
    rows = _release(connection, request_no)
    _insert_spent(connection, [(*row, request_no, 0) for row in rows])
    _promise(connection, change, request_no, book)
    _drop_blanks(connection, melt_no)
    issued = _issued(change, book)
    back = Counter[int]()
    for _, number, amount, _ in rows:
        back[number] += amount
    for number in sorted(back.keys() | issued.keys()):
        connection.execute(
            "UPDATE keyset SET pending = pending - :back, redeemed = redeemed + :back, issued = issued + :out"
            " WHERE keyset_no = :number",
            {"back": back[number], "out": issued[number], "number": number},
        )
    crash.at("mint.melt-settled-written")
    return True


def give_up(connection: Connection, melt_no: int, now: int) -> bool:
    """Give the inputs of a failed payment back; False when it is not pending any more."""
    request_no = _end(connection, melt_no, UNPAID, {}, now)
    if request_no is None:
        return False
    back = Counter[int]()
    for _, number, amount, _ in _release(connection, request_no):
        back[number] += amount
    connection.execute("DELETE FROM blank WHERE melt_no = ?", (melt_no,))
    for number in sorted(back):
        connection.execute(
            "UPDATE keyset SET pending = pending - ? WHERE keyset_no = ?", (back[number], number)
        )
    connection.execute("DELETE FROM request WHERE request_no = ?", (request_no,))
    return True


def pay_own(
    connection: Connection,
    request: MeltRequest,
    quote: MeltQuote,
    stake: Stake,
    points: Sequence[bytes],
    *,
    bill: Bill,
    change: Sequence[tuple[bytes, BlindSignature]],
    book: KeysetBook,
    now: int,
) -> bool:
    """Pay an invoice of this very mint: tokens here become a paid quote there, at once; False when the same
    request has done so. Raises what `pledge` does.
    """
    request_no = _begin(connection, request.digest, now)
    if request_no is None:
        return False
    check_unpaid(connection, quote.payment_hash)
    told = {
        "request_no": request_no,
        "sent_at": now,
        "inputs": stake.inputs,
        "input_fee": stake.input_fee,
        "kept": bill.kept,
    }
    if not _move(connection, quote.melt_no, (UNPAID, PAID), told, now):
        raise QuotePendingError(_TAKEN)
    _pay(connection, quote.mint_quote_no, now)
    _take(connection, request.inputs, points, request_no, book, is_pending=False)
    _reserve(connection, quote.melt_no, request.outputs, book)
    _promise(connection, change, request_no, book)
    _drop_blanks(connection, quote.melt_no)
    _count(connection, Counter(_sums(request.inputs, book)), _issued(change, book))
    return True


def _pay(connection: Connection, quote_no: int | None, now: int) -> None:
    """Have a quote of ours paid in full; raises InvoicePaidError where it has been."""
    cursor = connection.execute(
        "UPDATE quote SET amount_paid = amount,"
        " updated_at = CASE WHEN updated_at < :now THEN :now ELSE updated_at + 1 END"
        " WHERE quote_no = :quote_no AND amount_paid = 0",
        {"now": now, "quote_no": quote_no},
    )
    if cursor.rowcount != 1:
        raise InvoicePaidError("the invoice has been paid")


def _count(connection: Connection, back: Counter[int], issued: Counter[int]) -> None:
    """Count what came back and what was issued, by keyset; raises CountersBrokenError."""
    for number in sorted(back.keys() | issued.keys()):
        cursor = connection.execute(
            "UPDATE keyset SET redeemed = redeemed + :back, issued = issued + :out"
            " WHERE keyset_no = :number AND redeemed + pending <= issued - :back",
            {"back": back[number], "out": issued[number], "number": number},
        )
        if cursor.rowcount != 1:
            raise CountersBrokenError(f"keyset number {number} would redeem more than it has issued")


def _begin(connection: Connection, digest: bytes, now: int) -> int | None:
    row = connection.execute(
        "INSERT INTO request (digest, kind, created_at) VALUES (?, 'melt', ?)"
        " ON CONFLICT DO NOTHING RETURNING request_no",
        (digest, now),
    ).fetchone()
    return None if row is None else int(row["request_no"])


def _move(
    connection: Connection, melt_no: int, states: tuple[int, int], told: Mapping[str, object], now: int
) -> bool:
    """Take a melt from one state to another, with what is told and the defaults of the rest; False when it is
    not in the one any more.
    """
    row = connection.execute(
        "UPDATE melt SET state = :after, request_no = :request_no, sent_at = :sent_at, inputs = :inputs,"
        " input_fee = :input_fee, fee = :fee, kept = :kept, preimage = :preimage,"
        " updated_at = CASE WHEN updated_at < :now THEN :now ELSE updated_at + 1 END"
        " WHERE melt_no = :melt_no AND state = :before RETURNING melt_no",
        {**_NOTHING, **told, "before": states[0], "after": states[1], "melt_no": melt_no, "now": now},
    ).fetchone()
    return row is not None


def _end(
    connection: Connection, melt_no: int, after: int, told: Mapping[str, object], now: int
) -> int | None:
    """End a pending melt; the row of its request, None when it is not pending any more."""
    row = connection.execute(
        "SELECT request_no, sent_at, inputs, input_fee FROM melt WHERE melt_no = ? AND state = 1", (melt_no,)
    ).fetchone()
    if row is None:
        return None
    kept = {} if after == UNPAID else {name: row[name] for name in _PLEDGED}
    if not _move(connection, melt_no, (PENDING, after), {**kept, **told}, now):
        return None
    return int(row["request_no"])


def _take(
    connection: Connection,
    inputs: Sequence[Proof],
    points: Sequence[bytes],
    request_no: int,
    book: KeysetBook,
    *,
    is_pending: bool,
) -> None:
    rows = [
        (point, book.get(proof.keyset_id).number, proof.amount, proof.witness, request_no, int(is_pending))
        for point, proof in zip(points, inputs, strict=True)
    ]
    if _insert_spent(connection, rows) != len(rows):
        check_taken(connection, points, request_no)


def _insert_spent(connection: Connection, rows: Sequence[_SpentRow]) -> int:
    cursor = connection.executemany(
        "INSERT INTO spent (y, keyset_no, amount, witness, request_no, pending) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT DO NOTHING",
        sorted(rows, key=itemgetter(0)),
    )
    return cursor.rowcount


def _release(connection: Connection, request_no: int) -> list[tuple[bytes, int, int, str | None]]:
    """Delete what a request has put up; gives it: Y, keyset, amount, witness."""
    rows = connection.execute(
        "SELECT y, keyset_no, amount, witness FROM spent WHERE request_no = ? AND pending = 1 ORDER BY y",
        (request_no,),
    ).fetchall()
    connection.execute("DELETE FROM spent WHERE request_no = ? AND pending = 1", (request_no,))
    return [(row["y"], row["keyset_no"], row["amount"], row["witness"]) for row in rows]


def _reserve(
    connection: Connection, melt_no: int, outputs: Sequence[BlindedMessage], book: KeysetBook
) -> None:
    for output in outputs:
        if connection.execute("SELECT 1 FROM promise WHERE blinded = ?", (output.blinded,)).fetchone():
            raise OutputsSignedError("an output has been signed before")
    rows = [
        (melt_no, place, output.blinded, book.get(output.keyset_id).number)
        for place, output in enumerate(outputs)
    ]
    if not rows:
        return
    cursor = connection.executemany(
        "INSERT INTO blank (melt_no, place, blinded, keyset_no) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        rows,
    )
    if cursor.rowcount != len(rows):
        raise OutputsPendingError("an output is pending")


def _promise(
    connection: Connection,
    change: Sequence[tuple[bytes, BlindSignature]],
    request_no: int,
    book: KeysetBook,
) -> None:
    rows = [
        (
            blinded,
            book.get(signature.keyset_id).number,
            signature.amount,
            signature.signature,
            signature.dleq.e if signature.dleq else b"",
            signature.dleq.s if signature.dleq else b"",
            request_no,
        )
        for blinded, signature in sorted(change, key=itemgetter(0))
    ]
    if not rows:
        return
    cursor = connection.executemany(
        "INSERT INTO promise (blinded, keyset_no, amount, signature, dleq_e, dleq_s, request_no)"
        " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        rows,
    )
    if cursor.rowcount != len(rows):
        raise OutputsSignedError("an output has been signed before")


def _sums(inputs: Sequence[Proof], book: KeysetBook) -> dict[int, int]:
    sums = Counter[int]()
    for proof in inputs:
        sums[book.get(proof.keyset_id).number] += proof.amount
    return dict(sums)


def _issued(change: Sequence[tuple[bytes, BlindSignature]], book: KeysetBook) -> Counter[int]:
    issued = Counter[int]()
    for _, signature in change:
        issued[book.get(signature.keyset_id).number] += signature.amount
    return issued


def _drop_blanks(connection: Connection, melt_no: int) -> None:
    """Forget the outputs that got nothing; a wallet may use them again."""
    connection.execute(
        "DELETE FROM blank WHERE melt_no = ? AND NOT EXISTS"
        " (SELECT 1 FROM promise WHERE promise.blinded = blank.blinded)",
        (melt_no,),
    )
