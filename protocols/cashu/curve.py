"""The map from a secret to the curve point that a mint signs (NUT-00)."""

from protocols.bitcoin.hashing import sha256
from protocols.bitcoin.secp256k1 import is_point

_DOMAIN = b"Secp256k1_HashToCurve_Cashu_"


def hash_to_curve(message: bytes) -> bytes:
    """Y of a message: the first compressed point 02 ‖ SHA256(SHA256(domain ‖ message) ‖ counter u32
    little-endian).

    Every second counter gives a point, so the loop ends; 2^32 failures in a row cannot be met with SHA-256.
    """
    digest = sha256(_DOMAIN + message)
    counter = 0
    while not is_point(point := b"\x02" + sha256(digest + counter.to_bytes(4, "little"))):
        counter += 1
    return point


def secret_point(secret: str) -> bytes:
    """Y of a proof's secret, hashed as UTF-8 text: by which a mint knows a spent proof (33 bytes)."""
    return hash_to_curve(secret.encode())
