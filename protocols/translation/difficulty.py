"""What a miner is told of its target: a difficulty, never easier than what it is judged by."""

from enum import Enum
from fractions import Fraction
from math import ceil, inf, nextafter

from protocols.bitcoin.errors import TargetError
from protocols.bitcoin.target import difficulty, difficulty_of_work, from_work, work

HASHES_PER_DIFFICULTY = 2**48 / 65_535
"""Expected hashes of a share of difficulty 1."""


class Rounding(Enum):
    """Which numbers a firmware understands in mining.set_difficulty."""

    NONE = "none"
    INTEGER = "integer"
    POWER_OF_TWO = "power_of_two"


def exact_difficulty(target: int) -> Fraction:
    """The difficulty of a target: N * 65535 / 2^48 where the target is that of N hashes, as quantised ones
    are.

    Raises TargetError for a target below 1.
    """
    if target < 1:
        raise TargetError(f"no hash meets the target {target}")
    hashes = work(target)
    return difficulty_of_work(hashes) if from_work(hashes) == target else difficulty(target)


def told_difficulty(target: int, rounding: Rounding = Rounding.NONE) -> float:
    """The number for mining.set_difficulty: the exact difficulty, or the next higher one that can be said."""
    wanted = exact_difficulty(target)
    if rounding is Rounding.INTEGER:
        return ceil(wanted)
    if rounding is Rounding.POWER_OF_TWO:
        return 1 << (ceil(wanted) - 1).bit_length()
    nearest = float(wanted)
    return nearest if Fraction(nearest) >= wanted else nextafter(nearest, inf)
