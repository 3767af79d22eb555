"""Melt quotes in the store, and the invoices that they pay."""

from collections.abc import Sequence
from dataclasses import dataclass

from protocols.cashu.errors import InvoicePaidError, QuotePendingError, QuoteUnknownError
from protocols.cashu.models import BlindSignature, Dleq
from roles.mint.melting.quote import PAID, MeltQuote
from roles.runtime.storage import Connection, Row


@dataclass(frozen=True, slots=True)
class OwnInvoice:
    """An invoice of this mint: its quote, its text, until when it can be paid, and whether it has been."""

    quote_no: int
    quote_id: str
    request: str
    expires_at: int
    is_paid: bool


def own_invoice(connection: Connection, payment_hash: bytes) -> OwnInvoice | None:
    """The mint's own invoice of a hash, None where others have made it."""
    row = connection.execute(
        "SELECT quote_no, quote_id, request, expires_at, amount_paid FROM invoice"
        " JOIN quote USING (quote_no) WHERE payment_hash = ?",
        (payment_hash,),
    ).fetchone()
    if row is None:
        return None
    own = (row["quote_no"], row["quote_id"], row["request"], row["expires_at"])
    return OwnInvoice(*own, row["amount_paid"] > 0)


def check_unpaid(connection: Connection, payment_hash: bytes) -> None:
    """Raises InvoicePaidError, QuotePendingError for an invoice that a melt has paid, or is paying."""
    row = connection.execute(
        "SELECT state FROM melt WHERE payment_hash = ? AND state > 0", (payment_hash,)
    ).fetchone()
    if row is not None:
        if row["state"] == PAID:
            raise InvoicePaidError("the invoice has been paid")
        raise QuotePendingError("the invoice is being paid")


def create(connection: Connection, quote: MeltQuote) -> None:
    """Keep a new quote."""
    connection.execute(
        "INSERT INTO melt (quote_id, method, unit, request, payment_hash, amount, amount_msat, fee_reserve,"
        " expires_at, mint_quote_no, updated_at, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            quote.quote_id,
            quote.method,
            quote.unit,
            quote.request,
            quote.payment_hash,
            quote.amount,
            quote.amount_msat,
            quote.fee_reserve,
            quote.expiry,
            quote.mint_quote_no,
            quote.updated_at,
            quote.updated_at,
        ),
    )


def find(connection: Connection, method: str, quote_id: str) -> MeltQuote:
    """A quote with its change; raises QuoteUnknownError."""
    found = known(connection, method, [quote_id])
    if not found:
        raise QuoteUnknownError("the melt quote is not known")
    return found[0]


def known(connection: Connection, method: str, quote_ids: Sequence[str]) -> list[MeltQuote]:
    """Those of the quotes that there are, with their change."""
    found = []
    for quote_id in quote_ids:
        row = connection.execute(
            "SELECT * FROM melt WHERE quote_id = ? AND method = ?", (quote_id, method)
        ).fetchone()
        if row is not None:
            found.append(_with_change(connection, row))
    return found


def of_request(connection: Connection, digest: bytes) -> MeltQuote | None:
    """The melt that a request has begun, None for a request that began none."""
    row = connection.execute(
        "SELECT melt.* FROM melt JOIN request USING (request_no) WHERE digest = ?", (digest,)
    ).fetchone()
    return None if row is None else _with_change(connection, row)


def pending(connection: Connection) -> list[int]:
    """The melts whose payment's fate is not known, oldest first."""
    rows = connection.execute("SELECT melt_no FROM melt WHERE state = 1 ORDER BY melt_no").fetchall()
    return [row["melt_no"] for row in rows]


def _with_change(connection: Connection, row: Row) -> MeltQuote:
    if row["state"] != PAID:
        return MeltQuote.from_row(row)
    rows = connection.execute(
        "SELECT promise.amount, keyset_id, signature, dleq_e, dleq_s FROM blank"
        " JOIN promise USING (blinded) JOIN keyset ON keyset.keyset_no = promise.keyset_no"
        " WHERE melt_no = ? AND request_no = ? ORDER BY place",
        (row["melt_no"], row["request_no"]),
    ).fetchall()
    change = [
        BlindSignature(
            each["amount"], each["keyset_id"], each["signature"], Dleq(each["dleq_e"], each["dleq_s"])
        )
        for each in rows
    ]
    return MeltQuote.from_row(row, tuple(change))
