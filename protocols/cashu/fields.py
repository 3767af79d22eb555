"""The checks that every JSON and CBOR field of Cashu goes through; each raises MalformedError and nothing
else.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache

from protocols.cashu.errors import MalformedError

POINT_SIZE = 33
SCALAR_SIZE = 32
AMOUNT_LIMIT = 1 << 64


def as_object(value: object, what: str) -> Mapping[str, object]:
    """A JSON object, or MalformedError."""
    if not isinstance(value, dict):
        raise MalformedError(f"{what} is not an object")
    return value


def as_array(value: object, what: str) -> Sequence[object]:
    """A JSON array, or MalformedError."""
    if not isinstance(value, list):
        raise MalformedError(f"{what} is not an array")
    return value


def as_text(value: object, what: str, limit: int) -> str:
    """A string of at most `limit` characters that UTF-8 can carry, or MalformedError."""
    if not isinstance(value, str):
        raise MalformedError(f"{what} is not a string")
    if len(value) > limit:
        raise MalformedError(f"{what} is longer than {limit} characters")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise MalformedError(f"{what} is not Unicode text") from None
    return value


def as_integer(value: object, what: str, limit: int = AMOUNT_LIMIT) -> int:
    """An integer from 0 to `limit` - 1 that is neither a float nor a boolean, or MalformedError."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise MalformedError(f"{what} is not an integer")
    if not 0 <= value < limit:
        raise MalformedError(f"{what} is out of range")
    return value


def as_bytes(value: object, what: str, size: int) -> bytes:
    """The `size` bytes that a hex string of either case spells, or MalformedError."""
    if isinstance(value, str) and len(value) == 2 * size:
        try:
            found = bytes.fromhex(value)
        except ValueError:
            found = b""
        # White space would be passed over.
        if len(found) == size:
            return found
    raise MalformedError(f"{what} is not {2 * size} hex digits")


def check_point(value: bytes, what: str) -> bytes:
    """The same bytes if they have the form of a compressed point (33 bytes, 02 or 03 first), or
    MalformedError.

    Whether the curve holds the point is found by the operation that uses it.
    """
    if len(value) != POINT_SIZE or value[0] not in {2, 3}:
        raise MalformedError(f"{what} is not a compressed public key")
    return value


def as_point(value: object, what: str) -> bytes:
    """A compressed point in hex, by its form (see `check_point`), or MalformedError."""
    return check_point(as_bytes(value, what, POINT_SIZE), what)


def as_keyset_id(value: object, what: str = "keyset id") -> str:
    """A keyset id in lower case: 16 hex digits (version 1, or short) or 66, or MalformedError."""
    if isinstance(value, str) and len(value) in {16, 66} and (found := _lower_hex(value)):
        return found
    raise MalformedError(f"{what} is not 16 or 66 hex digits")


@lru_cache(maxsize=256)
def _lower_hex(value: str) -> str:
    """The same hex digits in lower case, empty for what are none: all tokens of a request name the same."""
    try:
        found = bytes.fromhex(value)
    except ValueError:
        return ""
    # White space would be passed over.
    return value.lower() if len(found) == len(value) // 2 else ""
