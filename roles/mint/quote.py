"""A mint quote as the mint keeps it and as wallets see it (NUT-04, NUT-20, and the accounting of NUT-25)."""

from dataclasses import dataclass, replace
from typing import Literal

from roles.runtime.storage import Row

State = Literal["UNPAID", "PAID", "ISSUED"]


@dataclass(frozen=True, slots=True)
class Quote:
    """Amounts in units of `unit`; `updated_at` in Unix seconds, increasing with every change of the
    accounting.

    `request` is what the method asks to be paid: for ehash the share hash, 32 raw bytes in hex, internal
    order; for bolt11 an invoice, which can be paid until `expiry` (Unix seconds). What is paid stays
    mintable.
    """

    quote_id: str
    method: str
    unit: str
    request: str
    amount: int
    amount_paid: int
    amount_issued: int
    updated_at: int
    pubkey: bytes | None
    expiry: int | None = None
    payment_hash: bytes | None = None
    """Of the invoice, 32 bytes."""
    is_counted: bool = True
    """Whether the store has that it was paid; if it does not, minting it counts it."""

    def paid(self, updated_at: int, *, is_counted: bool = True) -> "Quote":
        """The same quote, paid in full since then."""
        return replace(self, amount_paid=self.amount, updated_at=updated_at, is_counted=is_counted)

    @property
    def mintable(self) -> int:
        """What can still be minted."""
        return self.amount_paid - self.amount_issued

    @property
    def state(self) -> State:
        """The deprecated summary of the accounting, for wallets that know nothing else."""
        if self.amount_paid == 0:
            return "UNPAID"
        return "PAID" if self.mintable else "ISSUED"

    def to_json(self) -> dict[str, object]:
        """The mint quote response."""
        return {
            "quote": self.quote_id,
            "request": self.request,
            "method": self.method,
            "unit": self.unit,
            "amount": self.amount,
            "state": self.state,
            "amount_paid": self.amount_paid,
            "amount_issued": self.amount_issued,
            "updated_at": self.updated_at,
            "expiry": self.expiry,
            "pubkey": None if self.pubkey is None else self.pubkey.hex(),
        }

    @classmethod
    def from_row(cls, row: Row) -> "Quote":
        """The quote of a row of the quote table with what its method adds to it."""
        share_hash: bytes | None = row["share_hash"]
        return cls(
            row["quote_id"],
            row["method"],
            row["unit"],
            row["request"] or "" if share_hash is None else share_hash.hex(),
            row["amount"],
            row["amount_paid"],
            row["amount_issued"],
            row["updated_at"],
            row["pubkey"],
            row["expires_at"],
            row["payment_hash"],
        )
