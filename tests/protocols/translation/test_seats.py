import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.translation.errors import SlicesExhausted
from protocols.translation.extranonce import Layout
from protocols.translation.seats import Seats

LAYOUTS = [Layout(2, 1), Layout(2, 2), Layout(4, 2), Layout(6, 2), Layout(4, 4), Layout(8, 4), Layout(1, 1)]


def part(layout: Layout, extranonce1: bytes) -> tuple[int, int]:
    first = int.from_bytes(extranonce1, "big") << 8 * layout.extranonce2_size
    return first, first + (1 << 8 * layout.extranonce2_size)


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 1 << 32),
    st.lists(st.tuples(st.sampled_from(LAYOUTS), st.sampled_from(["take", "back", "tip"])), max_size=60),
)
def test_no_two_parts_overlap_whatever_the_layouts(start: int, steps: list[tuple[Layout, str]]) -> None:
    seats = Seats(start)
    held: list[tuple[Layout, bytes]] = []
    cooling: list[tuple[Layout, bytes]] = []
    for layout, what in steps:
        if what == "take":
            try:
                slice = seats.take(layout)
            except SlicesExhausted:
                continue
            assert len(slice) == layout.slice_size
            low, high = part(layout, slice)
            for other in held + cooling:
                its_low, its_high = part(*other)
                assert high <= its_low or its_high <= low
            held.append((layout, slice))
        elif what == "back" and held:
            seat = held.pop(0)
            seats.give_back(*seat)
            cooling.append(seat)
        elif what == "tip":
            seats.new_tip()
            cooling.clear()
        assert len(seats) == len(held)


def test_a_part_is_not_granted_again_within_a_tip() -> None:
    seats, layout = Seats(7), Layout(2, 1)
    taken = [seats.take(layout) for _ in range(256)]
    assert len(set(taken)) == 256
    seats.give_back(layout, taken[3])
    with pytest.raises(SlicesExhausted):
        seats.take(layout)
    seats.new_tip()
    assert seats.take(layout) == taken[3]


def test_the_part_that_holds_all_smaller_ones_is_left_out_where_there_is_a_choice() -> None:
    seats, layout = Seats(0xFFFFFFFF), Layout(8, 4)
    assert [seats.take(layout).hex() for _ in range(2)] == ["ffffffff", "00000001"]
    small = Layout(4, 4)
    assert seats.take(small).hex() == "ffffffff"


def test_a_slice_that_holds_anothers_part_is_passed_by_at_once() -> None:
    seats = Seats(0x00010000)
    assert seats.take(Layout(6, 2)).hex() == "0001"
    assert seats.take(Layout(4, 4)).hex() == "00020000"
    assert seats.take(Layout(6, 2)).hex() == "0003"
    seats.give_back(Layout(4, 4), bytes.fromhex("00020000"))
    seats.new_tip()
    assert seats.take(Layout(4, 4)).hex() == "00020001"


def test_who_is_here_already_is_known_to_layouts_that_come_later() -> None:
    seats = Seats(0x00010000)
    assert seats.take(Layout(4, 4)).hex() == "00010000"
    assert seats.take(Layout(4, 4)).hex() == "00010001"
    assert seats.take(Layout(6, 2)).hex() == "0002"
    assert (len(seats), seats.needed) == (3, 8)
    for extranonce1 in ("00010000", "00010001"):
        seats.give_back(Layout(4, 4), bytes.fromhex(extranonce1))
    seats.new_tip()
    for _ in range(65_533):
        seats.take(Layout(6, 2))
    assert seats.take(Layout(6, 2)).hex() == "0001"
    with pytest.raises(SlicesExhausted):
        seats.take(Layout(6, 2))


def test_the_last_part_within_another_is_gone_when_all_of_them_are() -> None:
    seats, small, large = Seats(1), Layout(1, 2), Layout(2, 1)
    held = [seats.take(small) for _ in range(2)]
    assert seats.take(large).hex() == "01"
    seats.give_back(small, held[0])
    seats.new_tip()
    taken = {seats.take(large) for _ in range(254)}
    assert b"\x00" not in taken
    seats.give_back(small, held[1])
    seats.new_tip()
    assert seats.take(large) == b"\x00"
    assert Seats(1).needed == 0
