import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.mining.errors import CapacityExhausted
from protocols.mining.extranonce import COUNTERS, FULL_SIZE, PrefixAllocator, counter_of, standard_extranonce


def allocator(position: int = 0, tip_position: int = 0, room: int = 1 << 30) -> PrefixAllocator:
    return PrefixAllocator(3, position=position, tip_position=tip_position, reserved=position + room)


@given(st.lists(st.sampled_from(["grant", "release", "restart"]), max_size=60), st.integers(0, 2 * COUNTERS))
@settings(max_examples=100, deadline=None)
def test_no_prefix_is_granted_twice_within_a_tip_even_over_restarts(actions: list[str], start: int) -> None:
    prefixes = allocator(start, start, room=16)
    granted: list[bytes] = []
    live: list[bytes] = []
    for action in actions:
        if action == "release" and live:
            prefixes.release(live.pop())
        elif action == "restart":
            live.clear()
            prefixes = PrefixAllocator(
                3,
                position=prefixes.reserved,
                tip_position=prefixes.tip_position,
                reserved=prefixes.reserved + 16,
            )
        elif action == "grant" and prefixes.available:
            granted.append(prefixes.grant())
            live.append(granted[-1])
            assert prefixes.granted == len(live)
    assert len(set(granted)) == len(granted)
    assert all(len(prefix) == 4 and prefix[0] == 3 for prefix in granted)


def test_the_counter_starts_again_after_its_last_value() -> None:
    prefixes = allocator(COUNTERS - 1, COUNTERS - 1)
    last = prefixes.grant()
    assert (last, counter_of(last)) == (b"\x03\xff\xff\xff", COUNTERS - 1)
    assert prefixes.grant() == b"\x03\0\0\0"


def test_a_prefix_in_use_is_passed_over_in_later_tips() -> None:
    prefixes = allocator()
    first = prefixes.grant()
    prefixes.position = COUNTERS
    prefixes.new_tip()
    assert prefixes.grant() == b"\x03\0\0\x01"
    prefixes.release(first)
    prefixes.position = 2 * COUNTERS
    prefixes.new_tip()
    assert prefixes.grant() == first


def test_all_prefixes_of_a_tip_can_be_used_up() -> None:
    prefixes = allocator(COUNTERS, 0)
    with pytest.raises(CapacityExhausted) as caught:
        prefixes.grant()
    assert caught.value.code == "channel-capacity-exhausted"
    prefixes.new_tip()
    assert prefixes.grant() == b"\x03\0\0\0"


def test_nothing_is_granted_beyond_what_is_reserved() -> None:
    prefixes = allocator(room=1)
    prefixes.grant()
    with pytest.raises(CapacityExhausted):
        prefixes.grant()
    prefixes.reserve(2)
    prefixes.reserve(1)
    assert prefixes.available == 1
    prefixes.grant()


@pytest.mark.parametrize("server_id", [-1, 256])
def test_a_server_id_is_one_byte(server_id: int) -> None:
    with pytest.raises(ValueError, match="one byte"):
        PrefixAllocator(server_id, position=0, tip_position=0, reserved=0)


def test_a_standard_channels_extranonce_is_its_prefix_and_zeros() -> None:
    assert standard_extranonce(b"\1\2\3\4") == b"\1\2\3\4" + bytes(16)
    assert len(standard_extranonce(b"\1\2\3\4")) == FULL_SIZE


def test_a_prefix_that_is_in_use_again_is_passed_over_like_any_other() -> None:
    allocator = PrefixAllocator(1, position=COUNTERS - 1, tip_position=COUNTERS - 1, reserved=COUNTERS + 2)
    allocator.reclaim(b"\1\0\0\0")
    assert allocator.granted == 1
    assert [allocator.grant()[3] for _ in range(2)] == [255, 1]
