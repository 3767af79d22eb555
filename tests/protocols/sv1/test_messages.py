import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.sv1.errors import ErrorCode, MalformedError, Rejection
from protocols.sv1.messages import (
    NULL,
    Call,
    Empty,
    Reply,
    error_reply,
    notification,
    parse,
    reply,
    request,
)


def call(line: bytes) -> Call:
    message = parse(line)
    assert isinstance(message, Call)
    return message


def answer(line: bytes) -> Reply:
    message = parse(line)
    assert isinstance(message, Reply)
    return message


@pytest.mark.parametrize(
    "id",
    [
        b"1",
        b"0",
        b"-7",
        b"34406",
        b"2147483648",
        b"18446744073709551616",
        b"123456789012345678901234567890",
        b"1.5",
        b"1.50",
        b"1e3",
        b'"abc"',
        b'"4"',
        b"null",
        b"true",
        b'"\\ud800"',
    ],
)
def test_ids_are_echoed_as_they_were_written(id: bytes) -> None:
    assert call(b'{"id":%b,"method":"m","params":[]}' % id).id == id
    assert call(b'{"params":[1e400],"method":"m","id":%b}' % id).id in {id, b"1000.0", b"1.5"}


def test_a_request_without_an_id_is_answered_under_null() -> None:
    assert call(b'{"method":"m","params":[]}') == Call(NULL, "m", [])
    assert call(b'{"id":[1],"method":"m"}').id == NULL
    assert call(b'{"id":{"a":1},"method":"m"}').id == NULL
    assert call(b'{"id":NaN,"method":"m"}').id == NULL
    assert call(b'{"id":1e400,"method":"m"}').id == NULL


def test_extra_keys_order_and_missing_params_do_not_matter() -> None:
    line = b'{"ttl":2,"method":"mining.authorize","jsonrpc":"2.0","params":["a","x",[1]],"id":3}'
    assert call(line) == Call(b"3", "mining.authorize", ["a", "x", [1]])
    assert call(b'{"id":1,"method":"m"}').params == []
    assert call(b'{"id":1,"method":"m","params":null}').params == []


def test_of_a_key_given_twice_the_last_counts() -> None:
    assert call(b'{"id":1.5,"id":2.25,"method":"m"}').id == b"2.25"


@pytest.mark.parametrize(
    ("line", "id", "text"),
    [
        (b"hello", b"null", "Not JSON"),
        (b'{"id":1,"method":"mining.authorize","params":["a"b","x"]}', b"null", "Not JSON"),
        (b'{"id":1', b"null", "Not JSON"),
        (b"[" * 5000, b"null", "Not JSON"),
        (b'{"id":' + b"9" * 5000 + b".5e1,", b"null", "Not JSON"),
        (b"[1]", b"null", "Not an object"),
        (b"1", b"null", "Not an object"),
        (b'{"id":7,"method":1}', b"7", "Method not a string"),
        (b'{"id":7,"method":"m","params":{"a":1}}', b"7", "Params not array"),
        (b'{"id":7,"method":"m","params":"x"}', b"7", "Params not array"),
    ],
)
def test_what_is_no_message_is_said_so_under_its_id(line: bytes, id: bytes, text: str) -> None:
    with pytest.raises(MalformedError) as caught:
        parse(line)
    assert (caught.value.id, caught.value.code, caught.value.text) == (id, 20, text)


def test_a_line_nested_beyond_reason_is_refused_whatever_the_parser_makes_of_it() -> None:
    with pytest.raises(MalformedError):
        parse(b"[" * 5000 + b"]" * 5000)


def test_a_line_nested_beyond_reason_is_refused_whatever_the_type_of_its_id() -> None:
    line = b'{"id":1.5,"method":"m","params":%b}' % (b"[" * 1_010 + b"]" * 1_010)
    with pytest.raises(MalformedError):
        parse(line)


def test_bytes_that_are_not_utf8_are_read_with_a_mark_in_their_place() -> None:
    assert call(b'{"id":1,"method":"mining.authorize","params":["rig\xff"]}').params == ["rig\ufffd"]
    assert call(b'{"id":1,"method":"m","params":[NaN,1e400]}').id == b"1"


def test_an_object_that_says_nothing_is_taken_as_a_sign_of_life() -> None:
    assert parse(b"{}") == Empty()
    assert parse(b'{"id":5}') == Empty()


@pytest.mark.parametrize(
    ("fields", "code", "text"),
    [
        (b'"result":null,"error":[21,"Job not found",null]', 21, "Job not found"),
        (b'"result":true,"error":[23,"Above target"]', 23, "Above target"),
        (b'"result":null,"error":["x",{"a":1}]', 20, "Rejected"),
        (b'"result":null,"error":[99999999999,7]', 20, "7"),
        (b'"result":null,"error":"Stale"', 20, "Stale"),
        (b'"result":null,"error":{"code":24,"message":"Unauthorized"}', 24, "Unauthorized"),
        (b'"result":null,"error":{"message":null}', 20, "Rejected"),
        (b'"result":false,"error":null,"reject-reason":"Above target"', 20, "Above target"),
        (b'"result":false,"error":null', 20, "Rejected"),
        (b'"error":7', 20, "7"),
        (b'"error":["only one"]', 20, "Rejected"),
        (b'"result":false,"error":"a\\u0007b"', 20, "a?b"),
    ],
)
def test_all_shapes_of_an_error_are_read(fields: bytes, code: int, text: str) -> None:
    error = answer(b'{"id":4,%b}' % fields).error
    assert error is not None
    assert (error.code, error.text) == (code, text)


@pytest.mark.parametrize("error", [b"null", b"[]", b"{}", b'""', b"false", b"0"])
def test_an_empty_error_is_none(error: bytes) -> None:
    assert answer(b'{"id":4,"result":true,"error":%b}' % error) == Reply(b"4", True, None)


def test_an_error_text_is_bounded() -> None:
    error = answer(b'{"id":4,"result":null,"error":"%b"}' % (b"x" * 7000)).error
    assert error is not None
    assert len(error.text) == 256


def test_answers_have_all_three_keys_on_one_line() -> None:
    assert reply(b"7", True) == b'{"id":7,"result":true,"error":null}\n'
    assert reply(b'"x"', [1, "a"]) == b'{"id":"x","result":[1,"a"],"error":null}\n'
    rejection = Rejection(ErrorCode.LOW_DIFFICULTY, "Above target")
    assert error_reply(NULL, rejection) == b'{"id":null,"result":null,"error":[23,"Above target",null]}\n'
    unknown = Rejection(ErrorCode.UNKNOWN_METHOD, "Method not found")
    assert error_reply(b"1", unknown) == b'{"id":1,"result":null,"error":[-3,"Method not found",null]}\n'


def test_calls_are_written_on_one_line() -> None:
    assert notification("client.x", ["a"]) == b'{"id":null,"method":"client.x","params":["a"]}\n'
    assert request(4, "mining.submit", []) == b'{"id":4,"method":"mining.submit","params":[]}\n'
    assert json.loads(notification("x", ["\ud800"]))["params"] == ["\ud800"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
ids = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=12)
    | st.floats(allow_nan=False, allow_infinity=False)
)


@settings(max_examples=300, deadline=None)
@given(ids)
def test_any_id_comes_back_as_the_same_value(id: Any) -> None:
    line = json.dumps({"id": id, "method": "m", "params": []}).encode()
    echoed = json.loads(reply(call(line).id, True))["id"]
    assert echoed == id
    assert type(echoed) is type(id)


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=60)
    | st.fixed_dictionaries(
        {},
        optional={
            "id": json_values,
            "method": json_values,
            "params": json_values,
            "result": json_values,
            "error": json_values,
            "reject-reason": json_values,
        },
    ).map(lambda fields: json.dumps(fields).encode())
)
def test_no_line_raises_anything_but_malformed(line: bytes) -> None:
    try:
        message = parse(line)
    except MalformedError as error:
        json.loads(error_reply(error.id, error))
    else:
        if isinstance(message, Call):
            json.loads(reply(message.id, None))
