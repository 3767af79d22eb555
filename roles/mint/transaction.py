"""What one request changes, each in one transaction: it stands as a whole or leaves nothing.

These functions run inside a write of the store. They give False, and change nothing, when the same request
was carried out before: its answer is then `replay`.

Every write locks rows in one order, because processes that share the store would lock each other out: the
request, quotes by id, spent by Y, promises by B_, and the counters of keysets, which everybody needs, last.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import NoReturn

from protocols.cashu.errors import (
    AmountOutOfLimitsError,
    OutputsPendingError,
    OutputsSignedError,
    ProofsPendingError,
    ProofsSpentError,
    QuoteIssuedError,
)
from protocols.cashu.models import BlindedMessage, BlindSignature, Dleq, Proof
from roles.mint.errors import CountersBrokenError
from roles.mint.keysets import KeysetBook
from roles.mint.request import MintRequest, SwapRequest
from roles.mint.rules import Portion, sums_by_keyset
from roles.runtime import crash
from roles.runtime.storage import Connection, Row, each

KEYSET_LIMIT = (1 << 63) - 1

_TAKE = (
    "UPDATE quote SET amount_issued = amount_issued + :amount,"
    " updated_at = CASE WHEN updated_at >= :now THEN updated_at + 1 ELSE :now END"
    " WHERE quote_id = :quote_id AND amount_issued + :amount <= amount_paid RETURNING quote_no"
)
# Not before what was told of the quote when it was taken for paid.
_COUNT_AND_TAKE = (
    "UPDATE quote SET amount_paid = CASE WHEN amount_paid = 0 THEN amount ELSE amount_paid END,"
    " amount_issued = amount_issued + :amount,"
    " updated_at = CASE WHEN updated_at < :now AND :told < :now THEN :now"
    " WHEN updated_at < :told THEN :told + 1 ELSE updated_at + 1 END"
    " WHERE quote_id = :quote_id"
    " AND amount_issued + :amount <= CASE WHEN amount_paid = 0 THEN amount ELSE amount_paid END"
    " RETURNING quote_no"
)


def store_swap(
    connection: Connection,
    request: SwapRequest,
    points: Sequence[bytes],
    signatures: Sequence[BlindSignature],
    *,
    book: KeysetBook,
    now: int,
) -> bool:
    """Spend the inputs, whose Ys are `points`, and keep the signatures.

    Raises ProofsSpentError, ProofsPendingError, OutputsSignedError, OutputsPendingError,
    AmountOutOfLimitsError, CountersBrokenError.
    """
    begun = _begin(connection, "swap", request.digest, now)
    if begun is None:
        return False
    request_no = begun.request_no
    numbers = _numbers(book, request.inputs)
    rows = [
        (point, numbers[proof.keyset_id], proof.amount, proof.witness, request_no)
        for point, proof in zip(points, request.inputs, strict=True)
    ]
    rows.sort(key=itemgetter(0))
    cursor = connection.executemany(
        "INSERT INTO spent (y, keyset_no, amount, witness, request_no) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT DO NOTHING",
        rows,
    )
    if cursor.rowcount != len(rows):
        check_taken(connection, points, request_no)
    _keep(connection, request.outputs, signatures, book, begun)
    _count(connection, book, redeemed=request.inputs, issued=request.outputs)
    crash.at("mint.swap-written")
    return True


def store_mint(
    connection: Connection,
    request: MintRequest,
    portions: Sequence[Portion],
    signatures: Sequence[BlindSignature],
    *,
    book: KeysetBook,
    now: int,
) -> bool:
    """Take the portions from their quotes, which are counted as paid first if need be, and keep the
    signatures.

    Raises QuoteIssuedError when a quote no longer holds its portion, OutputsSignedError,
    OutputsPendingError, AmountOutOfLimitsError.
    """
    begun = _begin(connection, "mint", request.digest, now)
    if begun is None:
        return False
    request_no = begun.request_no
    for portion in sorted(portions, key=lambda each: each.quote.quote_id):
        given = {"amount": portion.amount, "now": now, "quote_id": portion.quote.quote_id}
        if portion.quote.is_counted:
            row = connection.execute(_TAKE, given).fetchone()
        else:
            told = {"told": portion.quote.updated_at}
            row = connection.execute(_COUNT_AND_TAKE, given | told).fetchone()
        if row is None:
            raise QuoteIssuedError(f"quote {portion.quote.quote_id} has been minted")
        connection.execute(
            "INSERT INTO issue (request_no, quote_no, amount) VALUES (?, ?, ?)",
            (request_no, row["quote_no"], portion.amount),
        )
    _keep(connection, request.outputs, signatures, book, begun)
    _count(connection, book, redeemed=(), issued=request.outputs)
    crash.at("mint.tokens-written")
    return True


def replay(
    connection: Connection, digest: bytes, outputs: Sequence[BlindedMessage]
) -> list[BlindSignature] | None:
    """The signatures with which a request was answered, in the order of its outputs; None for one that was
    not carried out.
    """
    rows = connection.execute(
        "SELECT blinded, keyset_id, amount, signature, dleq_e, dleq_s FROM request"
        " JOIN promise USING (request_no) JOIN keyset USING (keyset_no) WHERE digest = ?",
        (digest,),
    ).fetchall()
    found = {row["blinded"]: _signature(row) for row in rows}
    return [found[output.blinded] for output in outputs if output.blinded in found] or None


def restore(connection: Connection, points: Sequence[bytes]) -> list[BlindSignature | None]:
    """For each B_ the signature that it got, None for one that was never signed (NUT-09)."""
    rows = each(
        connection,
        "SELECT keyset_id, amount, signature, dleq_e, dleq_s FROM promise JOIN keyset USING (keyset_no)"
        " WHERE blinded = ?",
        points,
    )
    return [None if row is None else _signature(row) for row in rows]


def check_taken(connection: Connection, points: Sequence[bytes], request_no: int) -> NoReturn:
    """Raises ProofsPendingError or ProofsSpentError for inputs of which another request has some."""
    for point in points:
        row = connection.execute(
            "SELECT pending FROM spent WHERE y = ? AND request_no <> ?", (point, request_no)
        ).fetchone()
        if row is not None and row["pending"]:
            raise ProofsPendingError("an input is pending")
    raise ProofsSpentError("an input has been spent")


def spent_witnesses(connection: Connection, points: Sequence[bytes]) -> list[tuple[bool, str | None, bool]]:
    """For each Y whether it was spent, with which witness, and whether it is pending instead (NUT-07)."""
    found: list[tuple[bool, str | None, bool]] = []
    for row in each(connection, "SELECT witness, pending FROM spent WHERE y = ?", points):
        if row is None:
            found.append((False, None, False))
        else:
            pending = bool(row["pending"])
            found.append((not pending, row["witness"], pending))
    return found


@dataclass(frozen=True, slots=True)
class _Begun:
    """A request that is new, and whether payments are pending, which keep outputs for their change."""

    request_no: int
    is_melting: bool


def _begin(connection: Connection, kind: str, digest: bytes, now: int) -> _Begun | None:
    row = connection.execute(
        "INSERT INTO request (digest, kind, created_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
        " RETURNING request_no, EXISTS (SELECT 1 FROM melt WHERE state = 1) AS is_melting",
        (digest, kind, now),
    ).fetchone()
    return None if row is None else _Begun(row["request_no"], bool(row["is_melting"]))


def _keep(
    connection: Connection,
    outputs: Sequence[BlindedMessage],
    signatures: Sequence[BlindSignature],
    book: KeysetBook,
    begun: _Begun,
) -> None:
    numbers = _numbers(book, signatures)
    rows = [
        (
            output.blinded,
            numbers[signature.keyset_id],
            signature.amount,
            signature.signature,
            signature.dleq.e if signature.dleq else None,
            signature.dleq.s if signature.dleq else None,
            begun.request_no,
        )
        for output, signature in zip(outputs, signatures, strict=True)
    ]
    rows.sort(key=itemgetter(0))
    cursor = connection.executemany(
        "INSERT INTO promise (blinded, keyset_no, amount, signature, dleq_e, dleq_s, request_no)"
        " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        rows,
    )
    if cursor.rowcount != len(rows):
        raise OutputsSignedError("an output has been signed before")
    if begun.is_melting:
        kept = each(connection, "SELECT 1 FROM blank WHERE blinded = ?", [row[0] for row in rows])
        if any(row is not None for row in kept):
            raise OutputsPendingError("an output is kept for the change of a pending payment")


def _numbers(book: KeysetBook, items: Iterable[Proof | BlindSignature]) -> dict[str, int]:
    """The rows of the keysets that items are of."""
    return {keyset_id: book.get(keyset_id).number for keyset_id in {item.keyset_id for item in items}}


def _count(
    connection: Connection, book: KeysetBook, *, redeemed: Sequence[Proof], issued: Sequence[BlindedMessage]
) -> None:
    """Let the counters of keysets say so, too; raises CountersBrokenError and AmountOutOfLimitsError."""
    back = {book.get(keyset_id).number: n for keyset_id, n in sums_by_keyset(redeemed).items()}
    out = {book.get(keyset_id).number: n for keyset_id, n in sums_by_keyset(issued).items()}
    for number in sorted(back.keys() | out.keys()):
        taken, given = back.get(number, 0), out.get(number, 0)
        cursor = connection.execute(
            "UPDATE keyset SET redeemed = redeemed + :back, issued = issued + :out"
            " WHERE keyset_no = :number AND redeemed + pending <= issued - :back AND issued <= :limit - :out",
            {"back": taken, "out": given, "number": number, "limit": KEYSET_LIMIT},
        )
        if cursor.rowcount != 1:
            raise _broken(connection, number, taken)


def _broken(connection: Connection, number: int, back: int) -> Exception:
    row = connection.execute(
        "SELECT keyset_id, redeemed + pending AS taken, issued FROM keyset WHERE keyset_no = ?", (number,)
    ).fetchone()
    if row["taken"] + back > row["issued"]:
        return CountersBrokenError(f"keyset number {number} would redeem more than it has issued")
    return AmountOutOfLimitsError(f"keyset {row['keyset_id']} would issue more than 2^63 - 1")


def _signature(row: Row) -> BlindSignature:
    dleq = Dleq(row["dleq_e"], row["dleq_s"])
    return BlindSignature(row["amount"], row["keyset_id"], row["signature"], dleq)
