"""Amounts as sums of powers of two, and what it costs to spend them."""

from collections.abc import Iterable


def split(amount: int) -> tuple[int, ...]:
    """The powers of two that sum to `amount`, ascending, the fewest there are; none for 0."""
    return tuple(1 << bit for bit in range(amount.bit_length()) if amount >> bit & 1)


def input_fee(fees_ppk: Iterable[int]) -> int:
    """The fee of a request: the thousandths that each input's own keyset asks, summed and rounded up
    (NUT-02).
    """
    return (sum(fees_ppk) + 999) // 1000
