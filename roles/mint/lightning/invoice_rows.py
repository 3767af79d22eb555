"""Quotes that are paid by invoice, in the store."""

from collections.abc import Sequence
from dataclasses import dataclass

from roles.mint.lightning.backend import NewInvoice
from roles.mint.quote import Quote
from roles.runtime.storage import Connection


@dataclass(frozen=True, slots=True)
class OpenInvoice:
    """An invoice that nobody has paid yet, and its place among them."""

    place: tuple[int, int]
    payment_hash: bytes


@dataclass(frozen=True, slots=True)
class Receipt:
    """A quote that has been counted as paid, or is about to be, and since when, in Unix seconds."""

    quote_id: str
    updated_at: int
    is_counted: bool = True


def store(connection: Connection, quote: Quote, invoice: NewInvoice, now: int) -> None:
    """Keep a new quote and its invoice."""
    quote_no = connection.execute(
        "INSERT INTO quote (quote_id, method, unit, amount, updated_at, created_at, pubkey)"
        " VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING quote_no",
        (quote.quote_id, quote.method, quote.unit, quote.amount, now, now, quote.pubkey),
    ).fetchone()["quote_no"]
    connection.execute(
        "INSERT INTO invoice (quote_no, request, payment_hash, expires_at) VALUES (?, ?, ?, ?)",
        (quote_no, invoice.request, invoice.payment_hash, invoice.expires_at),
    )


def settle(connection: Connection, payment_hashes: Sequence[bytes], now: int) -> dict[bytes, Receipt]:
    """Count invoices as paid; gives the quotes that were not, by their hashes."""
    paid = {}
    for payment_hash in payment_hashes:
        row = connection.execute(
            "UPDATE quote SET amount_paid = amount,"
            " updated_at = CASE WHEN updated_at < :now THEN :now ELSE updated_at + 1 END"
            " WHERE quote_no = (SELECT quote_no FROM invoice WHERE payment_hash = :payment_hash)"
            " AND amount_paid = 0 RETURNING quote_id, updated_at",
            {"now": now, "payment_hash": payment_hash},
        ).fetchone()
        if row is not None:
            paid[payment_hash] = Receipt(row["quote_id"], row["updated_at"])
    return paid


def open_invoices(connection: Connection, after: tuple[int, int], limit: int) -> list[OpenInvoice]:
    """Unpaid invoices behind a place (an expiry, and a row of `quote`), in the order of their places."""
    rows = connection.execute(
        "SELECT quote_no, payment_hash, expires_at FROM invoice JOIN quote USING (quote_no)"
        " WHERE (expires_at, quote_no) > (?, ?) AND amount_paid = 0"
        " ORDER BY expires_at, quote_no LIMIT ?",
        (*after, limit),
    ).fetchall()
    return [OpenInvoice((row["expires_at"], row["quote_no"]), row["payment_hash"]) for row in rows]


def count_open(connection: Connection, now: int) -> int:
    """How many invoices may still be paid."""
    row = connection.execute(
        "SELECT count(*) AS number FROM invoice JOIN quote USING (quote_no)"
        " WHERE expires_at >= ? AND amount_paid = 0",
        (now,),
    ).fetchone()
    return int(row["number"])
