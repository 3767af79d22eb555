"""Targets as integers, their compact form, their work and their difficulty.

A hash meets a target when, read as a little-endian integer, it is not above it.
"""

from fractions import Fraction
from functools import lru_cache

from protocols.bitcoin.errors import TargetError

SPACE = 1 << 256
MAX_TARGET = SPACE - 1
DIFFICULTY_ONE = 0xFFFF << 208
"""The target of difficulty 1."""


def from_bits(bits: int) -> int:
    """The target of a header's compact form; raises TargetError when it is zero, negative or too large."""
    if not 0 <= bits <= 0xFFFFFFFF:
        raise TargetError("a compact target has 32 bits")
    size, mantissa = bits >> 24, bits & 0x007FFFFF
    target = mantissa >> 8 * (3 - size) if size <= 3 else mantissa << 8 * (size - 3)
    if (bits & 0x00800000 and mantissa) or not 0 < target < SPACE:
        raise TargetError(f"the compact target {bits:#010x} is zero, negative or too large")
    return target


def to_bits(target: int) -> int:
    """The compact form of `target`, which keeps 15 to 23 leading bits and rounds down; raises TargetError."""
    _check(target)
    size = (target.bit_length() + 7) // 8
    mantissa = target << 8 * (3 - size) if size <= 3 else target >> 8 * (size - 3)
    if mantissa & 0x00800000:
        # The top bit of the mantissa is the sign.
        mantissa >>= 8
        size += 1
    return size << 24 | mantissa


@lru_cache(maxsize=4096)
def work(target: int) -> int:
    """Expected number of hashes until one meets `target`: 2^256 // (target + 1); raises TargetError."""
    _check(target, least=0)
    return SPACE // (target + 1)


def from_work(hashes: int) -> int:
    """The target that takes `hashes` on average, 2^256 // hashes - 1; raises TargetError outside 1…2^256."""
    if not 1 <= hashes <= SPACE:
        raise TargetError(f"{hashes} hashes are not the work of any target")
    return SPACE // hashes - 1


def meets(block_hash: bytes, target: int) -> bool:
    """Whether a hash of 32 bytes in internal order is valid for `target`."""
    return int.from_bytes(block_hash, "little") <= target


def difficulty(target: int) -> Fraction:
    """How many times harder than difficulty 1 `target` is, exactly; raises TargetError for zero."""
    _check(target)
    return Fraction(DIFFICULTY_ONE, target)


def from_difficulty(value: Fraction) -> int:
    """The largest target at least as hard as difficulty `value`; raises TargetError unless it is positive.

    Difficulties too small for any target give 2^256 - 1, too large ones 0, which no hash meets.
    """
    if value <= 0:
        raise TargetError(f"difficulty {value} is not positive")
    return min(MAX_TARGET, DIFFICULTY_ONE * value.denominator // value.numerator)


def difficulty_of_work(hashes: int) -> Fraction:
    """The difficulty whose expected number of hashes is `hashes`: hashes * 65535 / 2^48."""
    return Fraction(hashes * 0xFFFF, 1 << 48)


def _check(target: int, least: int = 1) -> None:
    if not least <= target < SPACE:
        raise TargetError(f"a target lies between {least} and 2^256 - 1")
