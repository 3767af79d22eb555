import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.translation.errors import ExtranonceTooSmall, SlicesExhausted
from protocols.translation.extranonce import Layout, Slices


@pytest.mark.parametrize(("size", "granted", "padding"), [(8, 12, 0), (8, 16, 4), (4, 8, 0), (2, 32, 26)])
def test_what_upstream_grants_beyond_the_miners_parts_is_padding(
    size: int, granted: int, padding: int
) -> None:
    assert Layout(size).padding(granted) == bytes(padding)


def test_an_extranonce_smaller_than_the_miners_parts_is_refused() -> None:
    assert Layout(8).needed == 12
    with pytest.raises(ExtranonceTooSmall):
        Layout(8).padding(11)


def test_a_slice_that_is_in_use_is_not_given_again() -> None:
    slices = Slices(start=254, size=1)
    taken = [slices.take() for _ in range(256)]
    assert taken[:3] == [b"\xfe", b"\xff", b"\x00"]
    assert len(set(taken)) == len(slices) == 256
    with pytest.raises(SlicesExhausted):
        slices.take()
    slices.give_back(b"\x07")
    assert slices.take() == b"\x07"


@settings(max_examples=200, deadline=None)
@given(st.lists(st.booleans() | st.integers(0, 20), max_size=60), st.integers(0, 1 << 40))
def test_live_slices_are_always_different(steps: list[bool | int], start: int) -> None:
    slices = Slices(start, size=1)
    live: list[bytes] = []
    for step in steps:
        if step is True or not live:
            live.append(slices.take())
        else:
            slices.give_back(live.pop(int(step) % len(live)))
        assert len(set(live)) == len(live) == len(slices)
