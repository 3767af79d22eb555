"""A request to be paid over Lightning, as text: what BOLT 11 calls an invoice.

Routing hints, fallback addresses and unknown fields are passed over when an invoice is read. Times are Unix
seconds, amounts millisatoshis, hashes and secrets 32 bytes, keys 33. Raises InvoiceError.
"""

from dataclasses import dataclass, field

from protocols.bitcoin import bech32
from protocols.bitcoin.errors import Bech32Error, PointError
from protocols.bitcoin.hashing import sha256
from protocols.bitcoin.secp256k1 import ecdsa_recover, ecdsa_sign
from protocols.lightning import tagged_field
from protocols.lightning.amount import decode_prefix, encode_prefix
from protocols.lightning.errors import InvoiceError

TEXT_LIMIT = 7_089
"""Characters of the largest QR code."""
DEFAULT_EXPIRY_S = 3600
DEFAULT_FINAL_DELTA = 18
DESCRIPTION_LIMIT = 639
"""Bytes of a description; a longer one goes in by its hash."""

_TIME_GROUPS = 7
_SIGNATURE_GROUPS = 104
_KNOWN_FEATURES = frozenset({8, 14, 16, 24, 48})
_URI = "lightning:"


@dataclass(frozen=True, slots=True)
class Invoice:
    """What an invoice says; `payee` is the key that has signed it, None while it is not signed.

    `features` is a number whose bits are feature bits. Either `description` or `description_hash` is there,
    though some writers leave out both.
    """

    currency: str
    amount_msat: int | None
    timestamp: int
    payment_hash: bytes
    payment_secret: bytes | None = field(default=None, repr=False)
    description: str | None = None
    description_hash: bytes | None = None
    expiry_s: int = DEFAULT_EXPIRY_S
    final_delta: int = DEFAULT_FINAL_DELTA
    features: int = 0
    payee: bytes | None = None

    @property
    def expires_at(self) -> int:
        """From when on it should not be paid."""
        return self.timestamp + self.expiry_s

    @property
    def unknown_features(self) -> tuple[int, ...]:
        """Even feature bits that are not known here: a payer must understand what they demand."""
        bits = range(0, self.features.bit_length(), 2)
        return tuple(bit for bit in bits if self.features >> bit & 1 and bit not in _KNOWN_FEATURES)


def encode(invoice: Invoice, secret: bytes) -> str:
    """The text of an invoice, signed by `secret`; raises InvoiceError, SecretError."""
    prefix = encode_prefix(invoice.currency, invoice.amount_msat)
    if not 0 <= invoice.timestamp < 1 << 5 * _TIME_GROUPS:
        raise InvoiceError("the time is out of range")
    groups = tagged_field.number_groups(invoice.timestamp, _TIME_GROUPS) + _fields(invoice)
    signature, recovery = ecdsa_sign(secret, _digest(prefix, groups))
    groups += bech32.regroup(signature + bytes((recovery,)), 8, 5, pad=True)
    return bech32.encode(prefix, groups, bech32.BECH32)


def decode(text: str) -> Invoice:
    """Read an invoice in either case, with or without `lightning:` before it, and check its signature."""
    if text[: len(_URI)].lower() == _URI:
        text = text[len(_URI) :]
    try:
        prefix, groups, checksum = bech32.decode(text, TEXT_LIMIT)
    except Bech32Error as error:
        raise InvoiceError(f"the invoice is no bech32 text: {error}") from error
    if checksum != bech32.BECH32:
        raise InvoiceError("the checksum of the invoice fails")
    currency, amount = decode_prefix(prefix)
    if len(groups) < _TIME_GROUPS + _SIGNATURE_GROUPS:
        raise InvoiceError("the invoice is too short")
    signed, signature = groups[:-_SIGNATURE_GROUPS], groups[-_SIGNATURE_GROUPS:]
    found = _found(signed[_TIME_GROUPS:])
    payee = _payee(_digest(prefix, signed), tagged_field.read_bytes("signature", signature))
    if found.get("n") not in {None, payee}:
        raise InvoiceError("the invoice is not signed by the key that it names")
    if "p" not in found:
        raise InvoiceError("the invoice has no payment hash")
    return Invoice(
        currency,
        amount,
        tagged_field.read_number(signed[:_TIME_GROUPS]),
        found["p"],
        found.get("s"),
        _text(found.get("d")),
        found.get("h"),
        _number(found.get("x"), DEFAULT_EXPIRY_S),
        _number(found.get("c"), DEFAULT_FINAL_DELTA),
        _number(found.get("9"), 0),
        payee,
    )


def _fields(invoice: Invoice) -> list[int]:
    groups = tagged_field.write_bytes("p", _sized(invoice.payment_hash))
    if invoice.payment_secret is not None:
        groups += tagged_field.write_bytes("s", _sized(invoice.payment_secret))
    if invoice.description is not None:
        groups += tagged_field.write_bytes("d", invoice.description.encode())
    if invoice.description_hash is not None:
        groups += tagged_field.write_bytes("h", _sized(invoice.description_hash))
    if invoice.expiry_s != DEFAULT_EXPIRY_S:
        groups += tagged_field.write_number("x", invoice.expiry_s)
    groups += tagged_field.write_number("c", invoice.final_delta)
    if invoice.features:
        groups += tagged_field.write_number("9", invoice.features)
    return groups


def _sized(value: bytes) -> bytes:
    if len(value) != 32:
        raise InvoiceError("a hash or secret of an invoice has 32 bytes")
    return value


def _found(groups: list[int]) -> dict[str, bytes]:
    """The first field of each kind that has the length of its kind; numbers stay in groups of 5 bits."""
    found: dict[str, bytes] = {}
    for letter, data in tagged_field.read_fields(groups):
        if letter in found:
            continue
        if letter in "psh":
            if tagged_field.is_hash(data):
                found[letter] = tagged_field.read_bytes(letter, data)
        elif letter == "n":
            if tagged_field.is_key(data):
                found[letter] = tagged_field.read_bytes(letter, data)
        elif letter == "d":
            found[letter] = tagged_field.read_bytes(letter, data)
        elif letter in "xc9":
            found[letter] = bytes(data)
    return found


def _number(groups: bytes | None, default: int) -> int:
    return default if groups is None else tagged_field.read_number(groups)


def _text(data: bytes | None) -> str | None:
    try:
        return None if data is None else data.decode()
    except UnicodeDecodeError as error:
        raise InvoiceError("the description is not UTF-8") from error


def _digest(prefix: str, groups: list[int]) -> bytes:
    return sha256(prefix.encode() + bytes(bech32.regroup(groups, 5, 8, pad=True)))


def _payee(digest: bytes, signature: bytes) -> bytes:
    try:
        return ecdsa_recover(digest, signature[:-1], signature[-1])
    except PointError as error:
        raise InvoiceError("the signature of the invoice is not valid") from error
