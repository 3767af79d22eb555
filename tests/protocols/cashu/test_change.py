import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from protocols.cashu.denominations import blank_outputs, change_amounts


@pytest.mark.parametrize(
    ("reserve", "outputs"),
    [(0, 0), (1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (1000, 10), (1024, 10)],
)
def test_so_many_blank_outputs_are_sent_as_the_nut_says(reserve: int, outputs: int) -> None:
    assert blank_outputs(reserve) == outputs


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 1 << 40))
def test_the_number_of_blank_outputs_is_the_logarithm_of_the_reserve(reserve: int) -> None:
    assert blank_outputs(reserve) == max(math.ceil(math.log2(reserve)), 1)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 1 << 50), st.data())
def test_whatever_comes_back_of_a_reserve_but_all_of_it_fits_into_its_blank_outputs(
    reserve: int, data: st.DataObject
) -> None:
    overpaid = data.draw(st.integers(0, reserve - 1))
    amounts = change_amounts(overpaid, blank_outputs(reserve), 1 << 52)
    assert sum(amounts) == overpaid


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 1 << 60), st.integers(0, 70), st.integers(0, 63))
@example(1000, 3, 0)
def test_change_is_never_more_than_there_is_and_as_much_as_fits(
    amount: int, outputs: int, exponent: int
) -> None:
    largest = 1 << exponent
    amounts = change_amounts(amount, outputs, largest)
    assert sum(amounts) <= amount
    assert len(amounts) <= outputs
    assert list(amounts) == sorted(amounts)
    assert all(each & (each - 1) == 0 and 0 < each <= largest for each in amounts)
    left = amount - sum(amounts)
    assert left == 0 or len(amounts) == outputs
    assert not amounts or left < amounts[0] or amounts[0] == largest


def test_the_change_of_the_nuts_example() -> None:
    assert change_amounts(900, 10, 1 << 52) == (4, 128, 256, 512)
