"""Authority keys as text (spec section 4.7).

Public: Base58Check over U16 LE version 1 and the 32-byte x-only key. Secret: Base58Check of 32 bytes.
"""

from protocols.bitcoin import base58, secp256k1
from protocols.bitcoin.errors import Base58Error
from protocols.noise.errors import AuthorityKeyError

VERSION = b"\x01\x00"
KEY_SIZE = 32


def encode_public(xonly: bytes) -> str:
    """Return the text of an x-only key of 32 bytes; raise AuthorityKeyError for bytes that are none."""
    return base58.encode_check(VERSION + _check_public(xonly))


def decode_public(text: str) -> bytes:
    """Return the 32-byte x-only key of a text; raise AuthorityKeyError."""
    payload = _decode(text)
    if payload[:2] != VERSION:
        raise AuthorityKeyError("the text is no authority key of version 1")
    return _check_public(payload[2:])


def encode_secret(secret: bytes) -> str:
    """Return the text of a secret of 32 bytes; raise AuthorityKeyError for bytes that are none."""
    return base58.encode_check(_check_secret(secret))


def decode_secret(text: str) -> bytes:
    """Return the 32-byte secret of a text; raise AuthorityKeyError."""
    return _check_secret(_decode(text))


def public_of(secret: bytes) -> bytes:
    """Return the x-only key, 32 bytes, that belongs to a secret."""
    return secp256k1.xonly(secp256k1.public_key(_check_secret(secret)))


def _decode(text: str) -> bytes:
    try:
        return base58.decode_check(text)
    except Base58Error as error:
        raise AuthorityKeyError(f"not an authority key: {error}") from None


def _check_public(xonly: bytes) -> bytes:
    if len(xonly) != KEY_SIZE or not secp256k1.is_point(b"\x02" + xonly):
        raise AuthorityKeyError("not the x coordinate of a point, 32 bytes")
    return xonly


def _check_secret(secret: bytes) -> bytes:
    if not secp256k1.is_secret(secret):
        raise AuthorityKeyError("not a secret key")
    return secret
