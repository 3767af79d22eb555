"""Base58 and Base58Check, the text form of old addresses and of keys."""

from protocols.bitcoin.errors import Base58Error
from protocols.bitcoin.hashing import sha256d

ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
MAX_TEXT = 256
CHECKSUM_SIZE = 4

_VALUE = {character: value for value, character in enumerate(ALPHABET)}


def encode(data: bytes) -> str:
    """Base58 of `data`; every leading zero byte is a leading 1."""
    number = int.from_bytes(data, "big")
    digits = []
    while number:
        number, digit = divmod(number, 58)
        digits.append(ALPHABET[digit])
    zeros = len(data) - len(data.lstrip(b"\0"))
    return ALPHABET[0] * zeros + "".join(reversed(digits))


def decode(text: str) -> bytes:
    """The bytes of base58 `text`; raises Base58Error for other characters or more than 256 of them."""
    if len(text) > MAX_TEXT:
        raise Base58Error(f"base58 text of {len(text)} characters, at most {MAX_TEXT} are read")
    number = 0
    for character in text:
        value = _VALUE.get(character)
        if value is None:
            raise Base58Error(f"{character!r} is not a base58 character")
        number = number * 58 + value
    zeros = len(text) - len(text.lstrip(ALPHABET[0]))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")


def encode_check(payload: bytes) -> str:
    """Base58 of `payload` and the first four bytes of its double SHA-256."""
    return encode(payload + sha256d(payload)[:CHECKSUM_SIZE])


def decode_check(text: str) -> bytes:
    """The payload of Base58Check `text`; raises Base58Error when it is not base58 or the checksum fails."""
    data = decode(text)
    payload, checksum = data[:-CHECKSUM_SIZE], data[-CHECKSUM_SIZE:]
    if len(data) < CHECKSUM_SIZE or sha256d(payload)[:CHECKSUM_SIZE] != checksum:
        raise Base58Error("the base58 checksum fails")
    return payload
