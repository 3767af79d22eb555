"""How a call's arguments find their parameters."""

import pytest

from roles.regtest_node.errors import RpcError
from roles.regtest_node.jsonrpc import Json
from roles.regtest_node.method import Kind, Method, Parameter, hash_from, whole

METHOD = Method(
    "weigh",
    "Testing",
    "Weighs a thing.",
    (
        Parameter("thing", (Kind.STRING,), "What"),
        Parameter("precision|digits", (Kind.NUMBER, Kind.BOOL), "How well", required=False, default=3),
        Parameter("extra", (), "Anything", required=False),
    ),
    lambda: None,
)


@pytest.mark.parametrize(
    ("given", "bound"),
    [
        (["a"], ["a", 3, None]),
        (["a", None], ["a", 3, None]),
        (["a", 5, {}], ["a", 5, {}]),
        (["a", True], ["a", True, None]),
        ({"thing": "a"}, ["a", 3, None]),
        ({"thing": "a", "digits": 1}, ["a", 1, None]),
        ({"extra": [1], "thing": "a"}, ["a", 3, [1]]),
        ({"args": ["a"], "precision": 2}, ["a", 2, None]),
    ],
)
def test_arguments_are_bound_by_place_or_name(given: Json, bound: list[Json]) -> None:
    assert METHOD.bind(given) == bound


@pytest.mark.parametrize(
    ("given", "code", "text"),
    [
        ([], -1, "Weighs a thing."),
        (["a", 1, 2, 3], -1, "weigh"),
        ({}, -1, "Weighs"),
        ([1], -3, '"Position 1 (thing)": "JSON value of type number is not of expected type string"'),
        (["a", "b"], -3, "not of expected type number or bool"),
        ([None, 1], -3, "type null is not of expected type string"),
        ({"thing": "a", "colour": 1}, -8, "Unknown named parameter colour"),
        ({"args": ["a"], "thing": "b"}, -8, "Parameter thing specified twice"),
        ({"thing": "a", "digits": 1, "precision": 2}, -8, "specified twice"),
    ],
)
def test_wrong_arguments_are_answered_as_bitcoind_does(given: Json, code: int, text: str) -> None:
    with pytest.raises(RpcError) as caught:
        METHOD.bind(given)
    assert caught.value.code == code
    assert text in caught.value.message


def test_the_help_shows_what_is_optional() -> None:
    assert METHOD.signature == 'weigh "thing" ( precision ) ( extra )'
    assert "2. precision|digits    (number or bool, optional) How well" in METHOD.help
    assert "3. extra    (any, optional) Anything" in METHOD.help


@pytest.mark.parametrize("value", [1.5, True, "1", 1 << 31, -(1 << 31) - 1])
def test_an_integer_is_whole_and_has_32_bits(value: Json) -> None:
    with pytest.raises(RpcError) as caught:
        whole(value)
    assert caught.value.code == -1


def test_a_hash_has_64_digits() -> None:
    assert hash_from("01" + "00" * 31, "it") == bytes(31) + b"\x01"
    with pytest.raises(RpcError, match="it must be of length 64 \\(not 3, for 'abc'\\)"):
        hash_from("abc", "it")
    with pytest.raises(RpcError, match="it must be hexadecimal string"):
        hash_from("g" * 64, "it")
