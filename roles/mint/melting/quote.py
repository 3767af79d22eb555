"""A melt quote as the mint keeps it and as wallets see it."""

from dataclasses import dataclass, field
from typing import Final, Literal

from protocols.cashu.models import BlindSignature
from roles.runtime.storage import Row

MeltState = Literal["UNPAID", "PENDING", "PAID"]
UNPAID: Final = 0
PENDING: Final = 1
PAID: Final = 2
STATES: Final[tuple[MeltState, ...]] = ("UNPAID", "PENDING", "PAID")
"""By the number that the store keeps."""


@dataclass(frozen=True, slots=True)
class MeltQuote:
    """Amounts in sats but `amount_msat`; times in Unix seconds; `payment_hash` and `preimage` 32 bytes.

    `mint_quote_no` is the row of the mint quote whose invoice this pays, when the invoice is this mint's own;
    `sent_at` when tokens were put up for the payment.
    """

    melt_no: int
    quote_id: str
    method: str
    unit: str
    request: str
    payment_hash: bytes
    amount: int
    amount_msat: int
    fee_reserve: int
    expiry: int
    state: MeltState
    updated_at: int
    mint_quote_no: int | None = None
    sent_at: int | None = None
    preimage: bytes | None = field(default=None, repr=False)
    change: tuple[BlindSignature, ...] | None = None

    def to_json(self) -> dict[str, object]:
        """The melt quote response; `change` is there once it is paid, be it none."""
        body: dict[str, object] = {
            "quote": self.quote_id,
            "method": self.method,
            "request": self.request,
            "amount": self.amount,
            "unit": self.unit,
            "fee_reserve": self.fee_reserve,
            "state": self.state,
            "expiry": self.expiry,
            "updated_at": self.updated_at,
            "payment_preimage": None if self.preimage is None else self.preimage.hex(),
        }
        if self.change is not None:
            body["change"] = [signature.to_json() for signature in self.change]
        return body

    @classmethod
    def from_row(cls, row: Row, change: tuple[BlindSignature, ...] | None = None) -> "MeltQuote":
        """The quote of a row of the melt table."""
        return cls(
            row["melt_no"],
            row["quote_id"],
            row["method"],
            row["unit"],
            row["request"],
            row["payment_hash"],
            row["amount"],
            row["amount_msat"],
            row["fee_reserve"],
            row["expires_at"],
            STATES[row["state"]],
            row["updated_at"],
            row["mint_quote_no"],
            row["sent_at"],
            row["preimage"],
            change,
        )
