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


def blank_outputs(fee_reserve: int) -> int:
    """How many blank outputs a wallet sends with a melt, so that whatever comes back of the reserve fits
    (NUT-08).
    """
    return max((fee_reserve - 1).bit_length(), 1) if fee_reserve else 0


def change_amounts(amount: int, outputs: int, largest: int) -> tuple[int, ...]:
    """Powers of two up to `largest`, ascending and at most `outputs` of them, that come to `amount`, or as
    close below it as so few can (NUT-08).
    """
    amounts: list[int] = []
    while amount and len(amounts) < outputs:
        amounts.append(min(1 << amount.bit_length() - 1, largest))
        amount -= amounts[-1]
    return tuple(reversed(amounts))
