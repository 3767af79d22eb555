"""What miners roll and what tells them apart, by what the pool grants."""

import pytest

from protocols.translation.errors import ExtranonceTooSmall
from protocols.translation.slicing import Slicing


@pytest.mark.parametrize(
    ("size", "own", "rolled"),
    [(16, 4, 8), (12, 4, 8), (11, 4, 4), (8, 4, 4), (7, 2, 4), (6, 2, 4), (5, 2, 2), (4, 2, 2), (3, 1, 2)],
)
def test_hardware_rolls_eight_bytes_four_or_two(size: int, own: int, rolled: int) -> None:
    layout = Slicing().layout(size)
    assert (layout.slice_size, layout.extranonce2_size) == (own, rolled)
    assert len(layout.padding(size)) == size - own - rolled


@pytest.mark.parametrize("size", [0, 1, 2])
@pytest.mark.parametrize("is_proxy", [False, True])
def test_a_pool_that_grants_less_is_of_no_use(size: int, is_proxy: bool) -> None:
    with pytest.raises(ExtranonceTooSmall):
        Slicing().layout(size, is_proxy=is_proxy)


@pytest.mark.parametrize(
    ("size", "own", "rolled"), [(16, 2, 14), (8, 2, 6), (6, 2, 4), (5, 1, 4), (4, 1, 3), (3, 1, 2)]
)
def test_a_proxy_gets_all_that_its_slice_leaves(size: int, own: int, rolled: int) -> None:
    layout = Slicing().layout(size, is_proxy=True)
    assert (layout.slice_size, layout.extranonce2_size) == (own, rolled)


def test_two_proxies_behind_each_other_leave_hardware_four_bytes_of_eight() -> None:
    first = Slicing().layout(8, is_proxy=True)
    second = Slicing().layout(first.extranonce2_size)
    assert second.extranonce2_size == 4


@pytest.mark.parametrize(("size", "own"), [(16, 4), (12, 4), (11, 3), (10, 2)])
def test_a_miner_that_must_roll_eight_bytes_has_a_shorter_slice_where_there_is_no_other_way(
    size: int, own: int
) -> None:
    layout = Slicing().layout(size, rolled=8)
    assert (layout.slice_size, layout.extranonce2_size) == (own, 8)


def test_a_miner_that_must_roll_eight_bytes_is_refused_where_they_are_not_there() -> None:
    with pytest.raises(ExtranonceTooSmall):
        Slicing().layout(8, rolled=8)


def test_the_bytes_of_slices_are_the_operators_choice() -> None:
    slicing = Slicing(twelve_and_more=2, eight_to_eleven=3, four_to_seven=1)
    assert [slicing.layout(size).slice_size for size in (12, 8, 6, 4, 3)] == [2, 3, 1, 1, 1]
