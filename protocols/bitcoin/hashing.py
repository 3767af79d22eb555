"""The hashes of bitcoin; every digest is 32 raw bytes in internal order."""

import hashlib
import hmac
from functools import lru_cache

from protocols.bitcoin.ripemd160 import ripemd160

HASH_SIZE = 32


def sha256(data: bytes) -> bytes:
    """SHA-256 of `data`, 32 bytes."""
    return hashlib.sha256(data).digest()


def sha256d(data: bytes) -> bytes:
    """SHA-256 twice: the hash of transactions, merkle nodes and headers, 32 bytes in internal order."""
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def hmac_sha256(key: bytes, *parts: bytes) -> bytes:
    """HMAC-SHA256 over the concatenation of `parts`, 32 bytes (RFC 2104)."""
    return hmac.digest(key, b"".join(parts), "sha256")


def hmac_sha512(key: bytes, *parts: bytes) -> bytes:
    """HMAC-SHA512 over the concatenation of `parts`, 64 bytes (RFC 2104)."""
    return hmac.digest(key, b"".join(parts), "sha512")


def hash160(data: bytes) -> bytes:
    """RIPEMD-160 of SHA-256: the 20 bytes in pay-to-pubkey-hash and pay-to-script-hash outputs."""
    return ripemd160(sha256(data))


def tagged_hash(tag: str, data: bytes) -> bytes:
    """BIP340 tagged hash: SHA256(SHA256(tag) ‖ SHA256(tag) ‖ data), 32 bytes."""
    return sha256(_tag_prefix(tag) + data)


@lru_cache(maxsize=64)
def _tag_prefix(tag: str) -> bytes:
    return sha256(tag.encode()) * 2


def display(internal: bytes) -> str:
    """Hex in the order people and RPC use: the reverse of internal order."""
    return internal[::-1].hex()


def from_display(text: str) -> bytes:
    """Internal order from displayed hex; raises ValueError for text that is not hex."""
    return bytes.fromhex(text)[::-1]
