"""What reads the invoices that wallets want paid."""

from typing import Final

from protocols.bitcoin import bech32
from protocols.lightning.errors import InvoiceError
from protocols.lightning.invoice import Invoice, decode, encode
from tests.fuzz.campaign import Parser
from tests.fuzz.mutation import Mutator

INVOICES: Final = tuple(
    encode(invoice, b"\x11" * 32)
    for invoice in (
        Invoice("bc", 21_000, 1_700_000_000, b"\x01" * 32, b"\x02" * 32, "coffee", features=1 << 14),
        Invoice("bcrt", None, 1_700_000_000, b"\x03" * 32, description_hash=b"\x04" * 32, expiry_s=60),
    )
)


def make_invoice(mutator: Mutator) -> str:
    """Damaged text, or groups damaged under a checksum that holds."""
    if mutator.chance.random() < 0.5:
        return mutator.text(list(INVOICES))
    prefix, groups, _ = bech32.decode(mutator.chance.choice(INVOICES), 1_000)
    damaged = mutator.damage([bytes(groups)])
    return bech32.encode(prefix, [group & 31 for group in damaged], bech32.BECH32)


def read_invoice(text: str) -> None:
    """Read an invoice, and ask it for all it tells."""
    invoice = decode(text)
    assert invoice.unknown_features == tuple(sorted(invoice.unknown_features))
    assert invoice.expires_at >= invoice.timestamp


PARSERS: Final = (Parser("invoices", make_invoice, read_invoice, (InvoiceError,)),)
