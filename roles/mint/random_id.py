"""Ids of quotes that nobody can guess: UUIDs of version 7 (RFC 9562) with 74 random bits."""

from uuid import UUID

ENTROPY_SIZE = 10


def random_id(now_ms: int, entropy: bytes) -> str:
    """The id made at `now_ms` (Unix milliseconds) of 10 random bytes, of which 74 bits go in."""
    bits = int.from_bytes(entropy, "big")
    value = (now_ms & (1 << 48) - 1) << 80 | 7 << 76 | (bits >> 62 & 0xFFF) << 64 | 2 << 62
    return str(UUID(int=value | bits & (1 << 62) - 1))
