from contextlib import suppress
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.sv1 import fields
from protocols.sv1.errors import Rejection
from protocols.sv1.requests import (
    Authorize,
    Configure,
    Submit,
    Subscribe,
    read_authorize,
    read_configure,
    read_submit,
    read_subscribe,
    read_suggest_difficulty,
    read_suggest_target,
)

ALL = 0xFFFFFFFF


def test_configure_keeps_what_was_asked_for_in_order() -> None:
    asked = read_configure(
        [
            ["version-rolling", "minimum-difficulty", "info", "version-rolling", 7],
            {
                "version-rolling.mask": "1FFFE000",
                "version-rolling.min-bit-count": 2,
                "minimum-difficulty.value": 2048.5,
                "info.hw-version": "S19\x07",
                "info.hw-id": 5,
            },
        ]
    )
    extensions = ("version-rolling", "minimum-difficulty", "info")
    assert asked == Configure(extensions, 0x1FFFE000, Fraction(4097, 2), {"hw-version": "S19?"})


@pytest.mark.parametrize(
    "params", [[], [None], [[]], [[], None], [[], []], [{}, {}], [[], {"version-rolling.mask": "zz"}]]
)
def test_configure_that_cannot_be_read_asks_for_nothing(params: list[Any]) -> None:
    assert read_configure(params) == Configure((), ALL, None, {})


@pytest.mark.parametrize(
    ("params", "agent", "session"),
    [
        ([], "", ""),
        (["cgminer/4.12"], "cgminer/4.12", ""),
        (["cgminer/4.12", "6b4d"], "cgminer/4.12", "6b4d"),
        (["bosminer", None, "host", None], "bosminer", ""),
        ([None, None, "host:3333", 3333], "", ""),
        ([1, {}], "1", ""),
        (["a\nb" + "x" * 400], "a?b" + "x" * 253, ""),
    ],
)
def test_subscribe_is_read_in_every_form_seen(params: list[Any], agent: str, session: str) -> None:
    assert read_subscribe(params) == Subscribe(agent, session)


@pytest.mark.parametrize(
    ("params", "user", "password"),
    [
        (["alice.rig", "x"], "alice.rig", "x"),
        (["alice"], "alice", ""),
        (["alice", None], "alice", ""),
        (["", ""], "", ""),
        ([17, 5], "17", "5"),
        (["a", "x", ["third"]], "a", "x"),
        (["\ud800"], "?", ""),
    ],
)
def test_authorize_is_read_in_every_form_seen(params: list[Any], user: str, password: str) -> None:
    assert read_authorize(params) == Authorize(user, password)


@pytest.mark.parametrize("params", [[], [None], [[]], [True]])
def test_authorize_without_a_user_is_refused(params: list[Any]) -> None:
    with pytest.raises(Rejection, match="No user name"):
        read_authorize(params)


def test_a_password_is_not_shown() -> None:
    assert "secret" not in repr(Authorize("alice", "secret"))


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        (["a", "1f", "00000001", "66aabbcc", "0000000a"], Submit("a", "1f", b"\0\0\0\1", 0x66AABBCC, 10, 0)),
        (["a", "1", "01", "66AABBCC", "a", ""], Submit("a", "1", b"\1", 0x66AABBCC, 10, 0)),
        (["a", "1", "01", "66AABBCC", "a", None], Submit("a", "1", b"\1", 0x66AABBCC, 10, 0)),
        (["a", "1", "0x01", "0x5", "0XfF", "2000"], Submit("a", "1", b"\1", 5, 255, 0x2000)),
        (["a", 7, "01", 1722000000, 4294967295, 8192], Submit("a", "7", b"\1", 1722000000, ALL, 8192)),
        (["a", "1", "", "1", "1", "1fffe000", "extra"], Submit("a", "1", b"", 1, 1, 0x1FFFE000)),
    ],
)
def test_submit_is_read_in_every_form_seen(params: list[Any], expected: Submit) -> None:
    assert read_submit(params) == expected


@pytest.mark.parametrize(
    ("position", "value", "code", "text"),
    [
        (0, None, 20, "Invalid user name"),
        (1, None, 21, "Job not found"),
        (1, "x" * 65, 21, "Job not found"),
        (2, "0", 20, "Invalid extranonce2"),
        (2, "zz", 20, "Invalid extranonce2"),
        (2, 5, 20, "Invalid extranonce2"),
        (3, "", 20, "Invalid ntime"),
        (3, -1, 20, "Invalid ntime"),
        (3, 1 << 32, 20, "Invalid ntime"),
        (4, "123456789", 20, "Invalid nonce"),
        (4, "+1", 20, "Invalid nonce"),
        (4, True, 20, "Invalid nonce"),
        (5, "g", 20, "Invalid version bits"),
        (5, [], 20, "Invalid version bits"),
    ],
)
def test_a_field_of_submit_that_cannot_be_meant_is_named(
    position: int, value: Any, code: int, text: str
) -> None:
    params: list[Any] = ["a", "1", "01", "1", "1", "0"]
    params[position] = value
    with pytest.raises(Rejection) as caught:
        read_submit(params)
    assert (caught.value.code, caught.value.text) == (code, text)


def test_a_short_submit_is_refused() -> None:
    with pytest.raises(Rejection, match="Too few parameters"):
        read_submit(["a", "1", "01", "1"])


@pytest.mark.parametrize(
    ("params", "difficulty"),
    [
        ([1000], Fraction(1000)),
        ([0.5], Fraction(1, 2)),
        (["0.25"], Fraction(1, 4)),
        ([], None),
        ([0], None),
        ([-1], None),
        ([float("nan")], None),
        ([float("inf")], None),
        (["1e400"], None),
        (["1e999999999999999999999999999999999"], None),
        (["x"], None),
        ([True], None),
        ([10**400], None),
        ([[]], None),
    ],
)
def test_only_a_positive_finite_difficulty_is_a_suggestion(
    params: list[Any], difficulty: Fraction | None
) -> None:
    assert read_suggest_difficulty(params) == difficulty


def test_a_suggested_target_is_read_as_a_difficulty() -> None:
    assert read_suggest_target(["00000000ffff" + "0" * 52]) == 1
    assert read_suggest_target(["00000000007fff80" + "0" * 48]) == 512
    for params in ([], ["00"], ["0" * 64], [5], ["z" * 64]):
        assert read_suggest_target(params) is None


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(alphabet="0123456789abcxX.-e ", max_size=70),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=30), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=400, deadline=None)
@given(st.lists(values, max_size=7))
def test_no_parameters_raise_anything_but_a_rejection(params: list[Any]) -> None:
    for read in (read_configure, read_subscribe, read_suggest_difficulty, read_suggest_target):
        read(params)
    for refusing in (read_authorize, read_submit):
        with suppress(Rejection):
            refusing(params)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, ALL), st.integers(1, 8))
def test_a_number_is_the_same_in_any_notation(number: int, width: int) -> None:
    for text in (f"{number:0{width}x}", f"{number:0{width}X}", f"0x{number:x}"):
        assert fields.u32(text) == number
    assert fields.u32(number) == number
