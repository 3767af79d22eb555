"""Block headers, 80 bytes, and whole blocks."""

from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct

from protocols.bitcoin.encoding import ByteReader, compact_size
from protocols.bitcoin.errors import TrailingError, TruncatedError
from protocols.bitcoin.hashing import sha256d
from protocols.bitcoin.transaction import Transaction

HEADER_SIZE = 80
ROLLABLE_VERSION_BITS = 0x1FFFFFE0
"""The version bits a miner may use as search space (BIP323, a superset of BIP320's)."""

_LAYOUT = Struct("<I32s32sIII")


@dataclass(frozen=True, slots=True)
class Header:
    """A block header: unsigned 32-bit integers, and hashes of 32 bytes in internal order."""

    version: int
    previous: bytes
    merkle_root: bytes
    time: int
    bits: int
    nonce: int

    def pack(self) -> bytes:
        """The 80 bytes that are hashed."""
        return _LAYOUT.pack(self.version, self.previous, self.merkle_root, self.time, self.bits, self.nonce)

    def hash(self) -> bytes:
        """The block or share hash, 32 bytes in internal order."""
        return sha256d(self.pack())

    @classmethod
    def parse(cls, data: bytes) -> "Header":
        """The header that is all of `data`; raises TruncatedError or TrailingError unless it has 80 bytes."""
        if len(data) != HEADER_SIZE:
            raise (TruncatedError if len(data) < HEADER_SIZE else TrailingError)(
                f"a header has 80 bytes, not {len(data)}"
            )
        return cls(*_LAYOUT.unpack(data))


def serialize_block(header: bytes, coinbase: bytes, transactions: Sequence[bytes]) -> bytes:
    """A block from its packed header and serialised transactions, witnesses included."""
    return b"".join((header, compact_size(1 + len(transactions)), coinbase, *transactions))


def parse_block(data: bytes) -> tuple[Header, tuple[Transaction, ...]]:
    """Header and transactions of a serialised block; raises EncodingError."""
    reader = ByteReader(data)
    header = Header.parse(reader.read(HEADER_SIZE))
    transactions = tuple(Transaction.read(reader) for _ in range(reader.count(10)))
    reader.finish()
    return header, transactions
