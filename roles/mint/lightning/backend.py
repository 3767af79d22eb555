"""What the mint asks of a Lightning node.

Amounts are millisatoshis, times Unix seconds, hashes and preimages 32 bytes. Every call may raise
BackendError; callers bound its time (`roles.mint.lightning.timed`). docs/bolt11.md tells how to write one.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from protocols.lightning.invoice import Invoice

Outcome = Literal["paid", "failed", "pending", "unknown"]


@dataclass(frozen=True, slots=True)
class NewInvoice:
    """An invoice that the node has made: its text, its hash, and until when it can be paid."""

    request: str
    payment_hash: bytes
    expires_at: int


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a payment.

    `failed` and `paid` are for good: what failed is not under way and cannot succeed any more. `unknown` says
    that the node has never heard of it. `fee_msat` and `preimage` belong to `paid`, `reason` to `failed`.
    """

    outcome: Outcome
    fee_msat: int = 0
    preimage: bytes | None = field(default=None, repr=False)
    reason: str = ""


class Backend(Protocol):
    """A Lightning node."""

    async def probe(self) -> None:
        """Return if the node is there and can make and pay invoices; raises BackendUnavailable."""
        ...

    async def create_invoice(self, amount_msat: int, description: str, expiry_s: int) -> NewInvoice:
        """Make an invoice."""
        ...

    async def is_paid(self, payment_hash: bytes) -> bool:
        """Whether an invoice that was made here has been paid in full."""
        ...

    async def cancel_invoice(self, payment_hash: bytes) -> None:
        """Let an invoice that was made here be paid no more, if that is possible still."""
        ...

    def receipts(self) -> AsyncIterator[Sequence[bytes]]:
        """Payment hashes of invoices as they are paid, several at once where several are there, from now on.

        Ends, or raises BackendUnavailable, when the node is lost; it is asked anew then.
        """
        ...

    async def consider(self, invoice: Invoice, now: int) -> None:
        """Raises InvoiceRefused for an invoice that the node would not try to pay: of another network,
        expired, or with features that it does not know.
        """
        ...

    async def pay(self, request: str, amount_msat: int, max_fee_msat: int) -> Fate:
        """Pay an invoice, for at most that fee.

        Asked again for a payment hash that is under way or paid, it must not pay again but tell its fate.
        """
        ...

    async def find_payment(self, payment_hash: bytes) -> Fate:
        """What became of a payment, also one of a former life of the mint."""
        ...

    async def close(self) -> None:
        """Let go of the node."""
        ...
