"""What a share is worth in ehash: one rule, computed alike by pool and mint.

One ehash is 2^minimum expected hashes. A share earns the work of the target that it was judged by,
W = 2^256 // (T + 1); a fraction of a unit is rounded by the 64 low bits of the hash, which a target does not
bind, so that the expectation is exact, nothing is carried over, and everybody computes the same number.
"""

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

from protocols.bitcoin.target import work

AMOUNT_LIMIT = 1 << 53
"""Amounts stay below it, because wallets read them as JSON numbers."""

ACHIEVED_BITS = 52
MINIMUM_LIMIT = 256

_LOW_BITS = 64
_LOW_BYTES = 8


class Valuation(IntEnum):
    """How a share is valued: by the work of its target, or by the leading zeros of its hash."""

    TARGET = 0
    ACHIEVED = 1


@dataclass(frozen=True, slots=True)
class Price:
    """What a target is worth: `whole` units, one more for hashes whose 64 low bits are below `threshold`."""

    whole: int
    threshold: int

    def amount(self, share_hash: bytes) -> int:
        """The amount of a share of this target; `share_hash` is 32 raw bytes, internal order."""
        if not self.threshold:
            return self.whole
        low = int.from_bytes(share_hash[:_LOW_BYTES], "little")
        return self.whole + (low < self.threshold)


@lru_cache(maxsize=4096)
def price_of(target: int, minimum: int) -> Price:
    """The price of a target in units of 2^minimum hashes, 0 <= minimum < 256; raises ValueError outside."""
    if not 0 <= minimum < MINIMUM_LIMIT:
        raise ValueError(f"a minimum difficulty of {minimum} bits, 0 to {MINIMUM_LIMIT - 1} are possible")
    expected = work(target)
    fraction = expected & ((1 << minimum) - 1)
    # low * 2^minimum < fraction * 2^64, solved for low; -(-a // b) rounds up.
    return Price(expected >> minimum, -(-(fraction << _LOW_BITS) >> minimum))


def achieved_amount(share_hash: bytes, minimum: int) -> int:
    """2^(leading zero bits - minimum), at most 2^52, and 0 for a hash with fewer zero bits than `minimum`."""
    zeros = 256 - int.from_bytes(share_hash, "little").bit_length()
    return 0 if zeros < minimum else 1 << min(zeros - minimum, ACHIEVED_BITS)


def share_amount(
    share_hash: bytes, target: int, minimum: int, valuation: Valuation = Valuation.TARGET
) -> int:
    """The ehash that a share of `target` earns; `share_hash` is 32 raw bytes, internal order.

    Whether the hash meets the target is not looked at here.
    """
    if valuation is Valuation.ACHIEVED:
        return achieved_amount(share_hash, minimum)
    return price_of(target, minimum).amount(share_hash)
