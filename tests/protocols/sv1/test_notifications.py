import json
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.sv1.errors import MalformedError
from protocols.sv1.messages import Call, parse
from protocols.sv1.notifications import (
    Notify,
    SetExtranonce,
    get_version,
    notify,
    read_notify,
    read_set_difficulty,
    read_set_extranonce,
    read_set_version_mask,
    reconnect,
    set_difficulty,
    set_extranonce,
    set_version_mask,
    show_message,
    swap_words,
)

u32s = st.integers(0, 0xFFFFFFFF)
hashes = st.binary(min_size=32, max_size=32)
jobs = st.builds(
    Notify,
    st.text("0123456789abcdef", min_size=1, max_size=16),
    hashes,
    st.binary(max_size=200),
    st.binary(max_size=200),
    st.lists(hashes, max_size=12).map(tuple),
    u32s,
    u32s,
    u32s,
    st.booleans(),
)
JOB = Notify(
    "1f",
    bytes(range(32)),
    b"\x01\x02",
    b"\x03",
    (b"\xaa" * 32, b"\xbb" * 32),
    0x20000000,
    0x1D00FFFF,
    5,
    True,
)


def params(line: bytes) -> list[Any]:
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    message = parse(line)
    assert isinstance(message, Call)
    return message.params


def test_a_notify_has_the_field_widths_and_orders_that_firmware_reads() -> None:
    assert json.loads(notify(JOB)) == {
        "id": None,
        "method": "mining.notify",
        "params": [
            "1f",
            "03020100070605040b0a09080f0e0d0c13121110171615141b1a19181f1e1d1c",
            "0102",
            "03",
            ["aa" * 32, "bb" * 32],
            "20000000",
            "1d00ffff",
            "00000005",
            True,
        ],
    }


@settings(max_examples=200, deadline=None)
@given(jobs)
def test_a_notify_is_read_as_it_was_written(job: Notify) -> None:
    assert read_notify(params(notify(job))) == job


@given(hashes)
def test_swapping_words_twice_gives_back_the_hash(hash32: bytes) -> None:
    assert swap_words(swap_words(hash32)) == hash32


@pytest.mark.parametrize(
    ("position", "value"),
    [
        (0, None),
        (0, "x" * 65),
        (0, '1"'),
        (0, "\\"),
        (0, "\n"),
        (0, "\ud800"),
        (1, "00"),
        (1, 5),
        (2, "0"),
        (3, None),
        (4, "x"),
        (4, ["00"]),
        (4, ["00" * 32, None]),
        (4, ["00" * 32] * 65),
        (5, "z"),
        (6, None),
        (7, "123456789"),
    ],
)
def test_a_notify_with_a_bad_field_is_refused(position: int, value: Any) -> None:
    broken = params(notify(JOB))
    broken[position] = value
    with pytest.raises(MalformedError):
        read_notify(broken)


def test_a_short_notify_is_refused() -> None:
    with pytest.raises(MalformedError, match="too short"):
        read_notify(params(notify(JOB))[:8])


@pytest.mark.parametrize(
    ("difficulty", "text"),
    [
        (1, b"[1]"),
        (1.0, b"[1]"),
        (16384.0, b"[16384]"),
        (0.5, b"[0.5]"),
        (1024.5, b"[1024.5]"),
        (2.0**70, b"[1180591620717411303424]"),
    ],
)
def test_whole_difficulties_are_written_as_integers(difficulty: float, text: bytes) -> None:
    assert set_difficulty(difficulty).endswith(b'"mining.set_difficulty","params":' + text + b"}\n")


@given(st.floats(min_value=1e-9, max_value=1e15))
def test_a_difficulty_is_read_as_the_double_that_was_written(difficulty: float) -> None:
    assert read_set_difficulty(params(set_difficulty(difficulty))) == Fraction(difficulty)


def test_the_other_notifications_are_read_as_they_were_written() -> None:
    assert read_set_version_mask(params(set_version_mask(0x1FFFE000))) == 0x1FFFE000
    assert params(set_version_mask(0)) == ["00000000"]
    assert read_set_extranonce(params(set_extranonce(b"\x01\x02", 4))) == SetExtranonce(b"\x01\x02", 4)
    assert params(show_message("hello")) == ["hello"]
    assert params(reconnect()) == []
    assert json.loads(get_version(3)) == {"id": 3, "method": "client.get_version", "params": []}


@pytest.mark.parametrize("bad", [[], ["x"], [None], [0]])
def test_a_difficulty_or_mask_that_is_none_is_refused(bad: list[Any]) -> None:
    with pytest.raises(MalformedError):
        read_set_difficulty(bad)
    if bad != [0]:
        with pytest.raises(MalformedError):
            read_set_version_mask(bad)


@pytest.mark.parametrize("bad", [[], ["00"], ["0", 4], ["00", "4"], ["00", -1], ["00" * 30, 3], [None, 4]])
def test_an_extranonce_that_is_none_is_refused(bad: list[Any]) -> None:
    with pytest.raises(MalformedError):
        read_set_extranonce(bad)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_notify_with_any_field_replaced_raises_nothing_but_malformed(data: st.DataObject) -> None:
    job = replace(data.draw(jobs), clean=True)
    changed = params(notify(job))
    position = data.draw(st.integers(0, 8))
    changed[position] = data.draw(
        st.none()
        | st.integers()
        | st.floats()
        | st.text(max_size=70)
        | st.lists(st.text(max_size=66), max_size=3)
    )
    try:
        read_notify(changed)
    except MalformedError:
        pass
