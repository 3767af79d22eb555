"""A write of the mint's own does less when it has taken long, and more again when it has not."""

import pytest

from roles.mint.stride import Stride


class Clock:
    """Stands still but for what is told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def take(stride: Stride, clock: Clock, seconds: float) -> int:
    with stride.timed() as rows:
        clock.now += seconds
    return rows


def test_a_slow_write_is_followed_by_half_as_much_down_to_one_row() -> None:
    clock = Clock()
    stride = Stride(200, within=0.5, clock=clock)
    assert [take(stride, clock, 1) for _ in range(10)] == [200, 100, 50, 25, 12, 6, 3, 1, 1, 1]


def test_quick_writes_do_more_again_up_to_the_most() -> None:
    clock = Clock()
    stride = Stride(8, within=0.5, clock=clock)
    for _ in range(4):
        take(stride, clock, 1)
    assert [take(stride, clock, 0.5) for _ in range(8)] == [1, 2, 3, 4, 6, 8, 8, 8]


def test_a_write_that_fails_leaves_the_number_as_it_is() -> None:
    clock = Clock()
    stride = Stride(8, within=0.5, clock=clock)

    def fail() -> None:
        with stride.timed():
            clock.now += 1
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert stride.rows == 8
