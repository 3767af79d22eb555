"""Mint quotes as an operator sees them, and what he may mend of them."""

from typing import Final

from protocols.ehash.shift import METHOD
from roles.mint import archive, journal, quote_rows
from roles.mint.errors import RepairRefused
from roles.mint.orders import IssueTold, QuoteTold
from roles.mint.quote import Quote
from roles.runtime.storage import Connection

NO_NUMBER: Final = -1
"""Of a quote that was compacted: which requests it was issued by is not kept."""


def look(connection: Connection, quote_id: str) -> QuoteTold:
    """A quote and what was issued for it; raises RepairRefused."""
    number, quote = _find(connection, quote_id)
    issues = connection.execute(
        "SELECT request_no, amount, created_at FROM issue JOIN request USING (request_no)"
        " WHERE quote_no = ? ORDER BY request_no",
        (number,),
    ).fetchall()
    return QuoteTold(
        quote=quote.quote_id,
        kind="mint",
        method=quote.method,
        unit=quote.unit,
        state=quote.state,
        amount=quote.amount,
        amount_paid=quote.amount_paid,
        amount_issued=quote.amount_issued,
        locked=quote.pubkey is not None,
        updated_at=quote.updated_at,
        issues=[
            IssueTold(request=each["request_no"], amount=each["amount"], time=each["created_at"])
            for each in issues
        ],
    )


def correct(connection: Connection, quote_id: str, amount_paid: int, reason: str, now: int) -> bool:
    """Set what was paid for a quote, and keep why; False when it is so already. Raises RepairRefused.

    Never below what was issued, nor above what the quote asks for, and never for a quote that shares made:
    those are paid by work that both ledgers prove.
    """
    number, quote = _find(connection, quote_id)
    if quote.method == METHOD:
        raise RepairRefused(
            "the quote was made of a share, and what it is worth is proved by the share's work",
            hint="`hashpool audit` compares the ledgers",
        )
    if amount_paid < quote.amount_issued:
        raise RepairRefused(f"{quote.amount_issued} of it was issued already")
    if amount_paid > quote.amount:
        raise RepairRefused(f"the quote asks for {quote.amount}, not for more")
    before = quote.amount_paid
    changed = connection.execute(
        "UPDATE quote SET amount_paid = :paid,"
        " updated_at = CASE WHEN updated_at >= :now THEN updated_at + 1 ELSE :now END"
        " WHERE quote_id = :quote AND amount_paid = :before AND amount_paid <> :paid"
        " AND amount_issued <= :paid RETURNING quote_no",
        {"paid": amount_paid, "now": now, "quote": quote_id, "before": before},
    ).fetchone()
    if changed is None:
        return False
    # The quote's number and not its id, with which a quote that no key locks can be minted.
    subject = f"quote number {number}"
    journal.record(
        connection, now, "correct", subject, f"amount_paid {before} to {amount_paid}, because: {reason}"
    )
    return True


def _find(connection: Connection, quote_id: str) -> tuple[int, Quote]:
    """The number of a quote and the quote, also of one that was compacted; raises RepairRefused."""
    row = connection.execute(f"{quote_rows.SELECT} WHERE quote_id = ?", (quote_id,)).fetchone()
    if row is not None:
        return row["quote_no"], Quote.from_row(row)
    quote = archive.by_ids(connection, [quote_id]).get(quote_id)
    if quote is None:
        raise RepairRefused("there is no quote of this id")
    return NO_NUMBER, quote
