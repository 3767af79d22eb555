"""Text with a checksum that finds typing errors: bech32 (BIP173) and bech32m (BIP350), and segwit addresses,
which are bech32 for version 0 and bech32m for later versions.

Data are groups of 5 bits. Only addresses are limited to 90 characters; invoices are longer.
"""

import base64
import functools
from collections.abc import Iterable, Sequence
from operator import xor
from typing import Literal

from protocols.bitcoin.errors import Bech32Error

ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
MAX_TEXT = 90
CHECKSUM_SIZE = 6

_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
BECH32 = 1
BECH32M = 0x2BC830A3
"""What the checksum comes out as; any other number is an error in the text."""
_VALUE = {character: value for value, character in enumerate(ALPHABET)}
_CHARACTERS = bytes.maketrans(bytes(range(32)), ALPHABET.encode())
_DIGITS = bytes.maketrans(bytes(range(32)), b"0123456789abcdefghijklmnopqrstuv")
"""Of a number in base 32 as `int` reads it."""
_GROUPS = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", bytes(range(32)))


_REMAINDERS = tuple(
    functools.reduce(xor, (generator for bit, generator in enumerate(_GENERATOR) if top >> bit & 1), 0)
    for top in range(32)
)
"""What each group that leaves the register at its top adds at its bottom."""


def _polymod(values: Iterable[int]) -> int:
    check = 1
    for value in values:
        check = (check & 0x1FFFFFF) << 5 ^ value ^ _REMAINDERS[check >> 25]
    return check


def _expand(prefix: str) -> list[int]:
    return [ord(character) >> 5 for character in prefix] + [0] + [ord(character) & 31 for character in prefix]


def regroup(values: Iterable[int], size: Literal[5, 8], new_size: Literal[5, 8], *, pad: bool) -> list[int]:
    """The same bits in groups of the other size, 5 bits or 8. The last group is filled up with zeros, or,
    where it may not be, Bech32Error is raised unless less than a group of zeros is left over.
    """
    data = bytes(values)
    number = int.from_bytes(data, "big") if size == 8 else int(data.translate(_DIGITS) or b"0", 32)
    length, rest = divmod(len(data) * size, new_size)
    if pad and rest:
        length += 1
        number <<= new_size - rest
    elif not pad and rest:
        if rest >= size or number & ((1 << rest) - 1):
            raise Bech32Error("the padding of the data is not zero bits")
        number >>= rest
    if new_size == 8:
        return list(number.to_bytes(length, "big"))
    # Base32 takes five bytes at a time, which are eight groups.
    tail = -length % 8
    whole = (number << 5 * tail).to_bytes((length + tail) * 5 // 8, "big")
    return list(base64.b32encode(whole).translate(_GROUPS)[:length])


def _check_program(version: int, program: bytes) -> None:
    if not 0 <= version <= 16:
        raise Bech32Error(f"witness version {version} is not between 0 and 16")
    if not 2 <= len(program) <= 40 or (version == 0 and len(program) not in {20, 32}):
        raise Bech32Error(f"a witness program of {len(program)} bytes does not exist in version {version}")


def encode_segwit(prefix: str, version: int, program: bytes) -> str:
    """The segwit address of a witness program; raises Bech32Error for a version or length that cannot be."""
    _check_program(version, program)
    return encode(prefix, [version, *regroup(program, 8, 5, pad=True)], BECH32 if version == 0 else BECH32M)


def encode(prefix: str, groups: Sequence[int], constant: int) -> str:
    """Lower-case text of a prefix and groups of 5 bits, with the checksum of BECH32 or BECH32M."""
    check = _polymod([*_expand(prefix), *groups, *[0] * CHECKSUM_SIZE]) ^ constant
    checksum = [check >> 5 * (CHECKSUM_SIZE - 1 - i) & 31 for i in range(CHECKSUM_SIZE)]
    return prefix + "1" + bytes([*groups, *checksum]).translate(_CHARACTERS).decode()


def decode(text: str, limit: int = MAX_TEXT) -> tuple[str, list[int], int]:
    """Prefix (lower case), groups of 5 bits and what the checksum comes out as: BECH32, BECH32M, or a number
    that the caller must refuse. Raises Bech32Error for what has not the form or is longer than `limit`.
    """
    if len(text) > limit or (text.lower() != text and text.upper() != text):
        raise Bech32Error(f"bech32 text is longer than {limit} characters or mixes upper and lower case")
    if not text.isascii():
        # The Kelvin sign is a k in lower case.
        raise Bech32Error("a character does not belong into bech32 text")
    prefix, separator, rest = text.lower().rpartition("1")
    if not separator or not prefix or len(rest) < CHECKSUM_SIZE:
        raise Bech32Error("bech32 text needs a prefix, a 1 and six characters of checksum")
    if any(not "!" <= character <= "~" for character in prefix) or any(c not in _VALUE for c in rest):
        raise Bech32Error("a character does not belong into bech32 text")
    values = [_VALUE[character] for character in rest]
    return prefix, values[:-CHECKSUM_SIZE], _polymod([*_expand(prefix), *values])


def encode_bytes(prefix: str, data: bytes, constant: int) -> str:
    """Lower-case text of a prefix and bytes, with the checksum of BECH32 or BECH32M."""
    return encode(prefix, regroup(data, 8, 5, pad=True), constant)


def decode_bytes(text: str, constant: int, limit: int) -> tuple[str, bytes]:
    """Prefix (lower case) and bytes of a text of at most `limit` characters with that checksum; raises
    Bech32Error.
    """
    prefix, groups, found = decode(text, limit)
    if found != constant:
        raise Bech32Error("the bech32 checksum fails")
    return prefix, bytes(regroup(groups, 5, 8, pad=False))


def decode_segwit(text: str) -> tuple[str, int, bytes]:
    """Human-readable prefix (lower case), witness version and program of `text`; raises Bech32Error."""
    prefix, values, constant = decode(text)
    if not values or constant not in {BECH32, BECH32M}:
        raise Bech32Error("the bech32 checksum fails")
    version = values[0]
    if constant != (BECH32 if version == 0 else BECH32M):
        raise Bech32Error(f"the checksum is of the wrong kind for witness version {version}")
    program = bytes(regroup(values[1:], 5, 8, pad=False))
    _check_program(version, program)
    return prefix, version, program
