"""Tolerant readers of single fields: what real firmware sends where the texts ask for something stricter.

Each returns None for a value that cannot be meant; what that implies is the caller's to say.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final

__all__ = ["difficulty", "hex_bytes", "text", "u32"]

_HEX: Final = frozenset("0123456789abcdefABCDEF")
_LARGEST_DIFFICULTY: Final = 1 << 192
_NUMBER_TEXT = 32


def text(value: object) -> str | None:
    """A string, or a number's text: some firmware sends its worker's number unquoted."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def u32(value: object) -> int | None:
    """Hex of a u32, big-endian, in either case, short or with 0x, or the number itself."""
    if type(value) is int:
        return value if 0 <= value < 1 << 32 else None
    if not isinstance(value, str):
        return None
    digits = value[2:] if value[:2] in ("0x", "0X") else value
    if not 1 <= len(digits) <= 8 or not _HEX.issuperset(digits):
        return None
    return int(digits, 16)


def hex_bytes(value: object) -> bytes | None:
    """Whole bytes in hex, in either case, with or without 0x."""
    if not isinstance(value, str):
        return None
    digits = value[2:] if value[:2] in ("0x", "0X") else value
    if len(digits) % 2 or not _HEX.issuperset(digits):
        return None
    return bytes.fromhex(digits)


def difficulty(value: object) -> Fraction | None:
    """A difficulty above 0 and at most 2^192, from a number or its text, without rounding the double."""
    if isinstance(value, str):
        # float() of a short text is cheap; Fraction() of "1e999999999" is not.
        if len(value) > _NUMBER_TEXT:
            return None
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return Fraction(value) if 0 < value <= _LARGEST_DIFFICULTY else None
