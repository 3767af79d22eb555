"""Tagged fields of an invoice: a letter, a length, and data in groups of 5 bits (BOLT 11)."""

from collections.abc import Iterator, Sequence

from protocols.bitcoin.bech32 import ALPHABET, regroup
from protocols.bitcoin.errors import Bech32Error
from protocols.lightning.errors import InvoiceError

LENGTH_LIMIT = 1 << 10

_HASH_LENGTH = 52
_KEY_LENGTH = 53

Field = tuple[str, Sequence[int]]


def write_bytes(letter: str, value: bytes) -> list[int]:
    """A field with bytes; raises InvoiceError when there are more than 639."""
    return write_groups(letter, regroup(value, 8, 5, pad=True))


def write_number(letter: str, value: int) -> list[int]:
    """A field with a number, big-endian, as short as it can be."""
    return write_groups(letter, number_groups(value, (value.bit_length() + 4) // 5))


def write_groups(letter: str, groups: Sequence[int]) -> list[int]:
    """A field with groups of 5 bits; raises InvoiceError when there are too many."""
    if len(groups) >= LENGTH_LIMIT:
        raise InvoiceError(f"field {letter} is too long")
    return [ALPHABET.index(letter), len(groups) >> 5, len(groups) & 31, *groups]


def number_groups(value: int, length: int) -> list[int]:
    """A number in `length` groups of 5 bits, big-endian."""
    return [value >> 5 * place & 31 for place in reversed(range(length))]


def read_fields(groups: Sequence[int]) -> Iterator[Field]:
    """Letter and data of each field; raises InvoiceError where one ends too late."""
    place = 0
    while place < len(groups):
        head = groups[place : place + 3]
        end = place + 3 + (head[1] << 5 | head[2]) if len(head) == 3 else len(groups) + 1
        if end > len(groups):
            raise InvoiceError("a field ends behind the invoice")
        yield ALPHABET[head[0]], groups[place + 3 : end]
        place = end


def read_number(groups: Sequence[int]) -> int:
    """The number that groups of 5 bits spell, big-endian."""
    value = 0
    for group in groups:
        value = value << 5 | group
    return value


def read_bytes(letter: str, groups: Sequence[int]) -> bytes:
    """The bytes of a field; raises InvoiceError when what fills its last group is not zero."""
    try:
        return bytes(regroup(groups, 5, 8, pad=False))
    except Bech32Error as error:
        raise InvoiceError(f"field {letter} is not whole bytes") from error


def is_hash(groups: Sequence[int]) -> bool:
    """Whether a field is as long as 32 bytes; one of another length must be passed over."""
    return len(groups) == _HASH_LENGTH


def is_key(groups: Sequence[int]) -> bool:
    """Whether a field is as long as 33 bytes; one of another length must be passed over."""
    return len(groups) == _KEY_LENGTH
