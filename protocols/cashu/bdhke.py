"""Blind Diffie-Hellman key exchange (NUT-00): blind, sign, unblind, verify.

Points are 33 bytes compressed, scalars 32 bytes big-endian. Multiplication by a mint's key or a blinding
factor is constant time. A point that is not on the curve raises MalformedError; a scalar that is none is the
caller's mistake and raises the curve's SecretError.
"""

import hmac

from protocols.bitcoin.errors import PointError
from protocols.bitcoin.secp256k1 import add, multiply_secret, negate, public_key
from protocols.cashu.curve import secret_point
from protocols.cashu.errors import MalformedError


def blind(secret: str, blinding: bytes) -> bytes:
    """B_ = Y + rG, what a wallet asks the mint to sign."""
    return blind_point(secret_point(secret), blinding)


def blind_point(point: bytes, blinding: bytes) -> bytes:
    """B_ = Y + rG for a Y that is known; raises MalformedError for a Y off the curve."""
    try:
        return add(point, public_key(blinding))
    except PointError as error:
        raise MalformedError(f"Y: {error}") from None


def sign(private_key: bytes, blinded: bytes) -> bytes:
    """C_ = kB_, in constant time; raises MalformedError for a B_ off the curve."""
    try:
        return multiply_secret(blinded, private_key)
    except PointError as error:
        raise MalformedError(f"B_: {error}") from None


def unblind(signature: bytes, blinding: bytes, mint_key: bytes) -> bytes:
    """C = C_ - rK; raises MalformedError for points off the curve."""
    try:
        return add(signature, negate(multiply_secret(mint_key, blinding)))
    except PointError as error:
        raise MalformedError(f"C_ or K: {error}") from None


def verify(private_key: bytes, secret: str, signature: bytes) -> bool:
    """Whether C is the mint's signature on the secret."""
    return verify_point(private_key, secret_point(secret), signature)


def verify_point(private_key: bytes, point: bytes, signature: bytes) -> bool:
    """Whether C == kY for a Y on the curve, compared as canonical encodings."""
    return hmac.compare_digest(multiply_secret(point, private_key), signature)
