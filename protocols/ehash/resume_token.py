"""Resume tokens: what a server gives with a channel, by which a client is given it again after a loss.

A client treats them as opaque bytes. Ours name the store and the slot where the channel is recorded, and 24
bytes that nobody can guess. What is recorded is a digest of token and locking key, so that the record gives
no token away, and a token nothing to who has another key.
"""

from struct import Struct
from typing import NamedTuple

from protocols.bitcoin.hashing import tagged_hash

SIZE = 32
MAX_SIZE = 32
"""Of anybody's token."""
LIFE_S = 120.0
"""How long after the loss a token may be presented, in seconds, unless a server allows less."""
DIGEST_SIZE = 16

_LAYOUT = Struct("<II24s")
_TAG = "hashpool/resume/v1"


class ResumeToken(NamedTuple):
    """A token of ours: store and slot of the record U32 each, and the secret of 24 bytes."""

    store: int
    slot: int
    secret: bytes

    def pack(self) -> bytes:
        """The 32 bytes."""
        return _LAYOUT.pack(*self)

    @classmethod
    def parse(cls, data: bytes) -> "ResumeToken | None":
        """The same again; None for what is none of ours."""
        return cls(*_LAYOUT.unpack(data)) if len(data) == SIZE else None

    def __repr__(self) -> str:
        return f"ResumeToken(store={self.store:08x}, slot={self.slot})"


def digest(token: bytes, key: bytes | None) -> bytes:
    """What is recorded of a token for a channel with this locking key (33 bytes, None for none), 16 bytes."""
    return tagged_hash(_TAG, token + (key or b""))[:DIGEST_SIZE]
