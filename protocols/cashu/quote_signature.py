"""Signatures that unlock a mint quote (NUT-20), in the amended form and the one before it.

Both are BIP340 over SHA-256 of a message. Amended: "Cashu_MintQuoteSig_v1", then quote id, and amount and B_
of every output, each with its length before it as u32 big-endian; amounts are minimal big-endian bytes.
Legacy: quote id and the hex of every B_ as text, without amounts.
"""

from collections.abc import Sequence

from protocols.bitcoin.hashing import sha256
from protocols.bitcoin.secp256k1 import schnorr_sign, schnorr_verify
from protocols.cashu.models import BlindedMessage

_DOMAIN = b"Cashu_MintQuoteSig_v1"


def message_hash(quote: str, outputs: Sequence[BlindedMessage]) -> bytes:
    """What the amended form signs, 32 bytes."""
    return sha256(amended_message(quote, outputs))


def amended_message(quote: str, outputs: Sequence[BlindedMessage]) -> bytes:
    """The amended message before it is hashed."""
    fields = [quote.encode()]
    for output in outputs:
        fields.append(output.amount.to_bytes((output.amount.bit_length() + 7) // 8, "big"))
        fields.append(output.blinded)
    return _DOMAIN + b"".join(len(field).to_bytes(4, "big") + field for field in fields)


def legacy_message_hash(quote: str, outputs: Sequence[BlindedMessage]) -> bytes:
    """What the legacy form signs, 32 bytes."""
    return sha256(legacy_message(quote, outputs))


def legacy_message(quote: str, outputs: Sequence[BlindedMessage]) -> bytes:
    """The legacy message before it is hashed."""
    return (quote + "".join(output.blinded.hex() for output in outputs)).encode()


def sign(secret: bytes, quote: str, outputs: Sequence[BlindedMessage], aux: bytes) -> bytes:
    """The amended signature, 64 bytes, with 32 bytes of fresh entropy; raises SecretError for a secret that
    is none.
    """
    return schnorr_sign(secret, message_hash(quote, outputs), aux)


def sign_legacy(secret: bytes, quote: str, outputs: Sequence[BlindedMessage], aux: bytes) -> bytes:
    """The legacy signature, for mints that refuse the amended one with 20008."""
    return schnorr_sign(secret, legacy_message_hash(quote, outputs), aux)


def verify(public: bytes, quote: str, outputs: Sequence[BlindedMessage], signature: bytes) -> bool:
    """Whether the holder of `public` (33 bytes) signed for these outputs, in either form."""
    key = public[1:]
    return schnorr_verify(key, message_hash(quote, outputs), signature) or schnorr_verify(
        key, legacy_message_hash(quote, outputs), signature
    )
