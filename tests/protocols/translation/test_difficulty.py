from fractions import Fraction
from math import inf, nextafter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.bitcoin.errors import TargetError
from protocols.bitcoin.target import DIFFICULTY_ONE, MAX_TARGET, SPACE, from_work
from protocols.translation.difficulty import Rounding, exact_difficulty, told_difficulty

targets = st.integers(1, 255).flatmap(lambda bits: st.integers(1, 1 << bits))


@pytest.mark.parametrize(
    ("hashes", "difficulty"),
    [
        (1 << 48, 65535),
        (1 << 32, Fraction(65535, 65536)),
        (1 << 16, Fraction(65535, 1 << 32)),
        (1024 << 32, 1024 * Fraction(65535, 65536)),
    ],
)
def test_a_quantised_target_is_told_exactly(hashes: int, difficulty: Fraction) -> None:
    target = from_work(hashes)
    assert exact_difficulty(target) == difficulty
    assert Fraction(told_difficulty(target)) == difficulty


@settings(max_examples=200, deadline=None)
@given(st.integers(16, (1 << 37) - 1), st.integers(8, 63))
def test_a_double_holds_the_difficulty_of_any_quantised_target(units: int, minimum: int) -> None:
    told = told_difficulty(from_work(units << minimum))
    assert Fraction(told) == Fraction((units << minimum) * 65535, 1 << 48)


@settings(max_examples=300, deadline=None)
@given(targets, st.sampled_from(Rounding))
def test_a_miner_is_never_told_less_than_it_is_judged_by(target: int, rounding: Rounding) -> None:
    told = Fraction(told_difficulty(target, rounding))
    assert told >= exact_difficulty(target)
    # A hash at the target told is a good one, but for the 2^-128 by which a quantised target is rounded.
    assert DIFFICULTY_ONE / told <= Fraction(SPACE, SPACE // (target + 1))


@settings(max_examples=200, deadline=None)
@given(targets)
def test_rounding_goes_up_to_the_next_number_and_no_further(target: int) -> None:
    exact = exact_difficulty(target)
    whole = told_difficulty(target, Rounding.INTEGER)
    power = told_difficulty(target, Rounding.POWER_OF_TWO)
    assert isinstance(whole, int)
    assert isinstance(power, int)
    assert whole - 1 < exact <= whole
    assert power & (power - 1) == 0
    assert power == 1 or power < 2 * exact
    told = told_difficulty(target)
    assert Fraction(nextafter(told, -inf)) < exact <= Fraction(told)


def test_the_easiest_target_is_told_as_one_where_only_integers_are_understood() -> None:
    assert told_difficulty(MAX_TARGET, Rounding.INTEGER) == 1
    assert told_difficulty(MAX_TARGET, Rounding.POWER_OF_TWO) == 1


def test_a_target_that_no_hash_meets_has_no_difficulty() -> None:
    with pytest.raises(TargetError):
        exact_difficulty(0)
