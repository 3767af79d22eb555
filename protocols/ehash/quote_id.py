"""The id of a share's quote: computable by the mint and by the holder of the locking key, by nobody else."""

from protocols.bitcoin.hashing import hmac_sha256
from protocols.bitcoin.secp256k1 import ecdh

_VERSION = 0x80
_VARIANT = 0x80


def shared_secret(secret: bytes, point: bytes) -> bytes:
    """The 32-byte ECDH secret between the mint's quote key and a locking key, from either side.

    Both sides may keep it: it is the same for all shares of a key. Raises PointError and SecretError.
    """
    return ecdh(secret, point)


def quote_id(shared: bytes, share_hash: bytes) -> str:
    """The quote id of a share: a version 8 UUID (RFC 9562) in lower case, cut from an HMAC-SHA256.

    `share_hash` is 32 raw bytes, internal order.
    """
    raw = bytearray(hmac_sha256(shared, share_hash)[:16])
    raw[6] = raw[6] & 0x0F | _VERSION
    raw[8] = raw[8] & 0x3F | _VARIANT
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
