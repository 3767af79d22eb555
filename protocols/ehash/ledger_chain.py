"""The hash chain over the settled rows of an issuer's ledger, by which two sides compare what they hold.

h(0) is 32 zero bytes, h(n) = SHA-256(h(n-1) ‖ seq U64 ‖ share hash ‖ amount U64 ‖ key), big-endian, amount 0
for a row that the mint refused.
"""

from typing import Final, NamedTuple

from protocols.bitcoin.hashing import sha256

BEGINNING: Final = bytes(32)
STEP: Final = 1_000
"""The value at every so-manieth row is kept, besides that at the end."""


class Link(NamedTuple):
    """What the chain takes of a ledger row; `amount` is what was credited in ehash, 0 for a refused row."""

    seq: int
    share_hash: bytes
    amount: int
    key: bytes


def extend(value: bytes, link: Link) -> bytes:
    """The value of the chain after one more row, 32 bytes."""
    seq, amount = link.seq.to_bytes(8, "big"), link.amount.to_bytes(8, "big")
    return sha256(value + seq + link.share_hash + amount + link.key)
