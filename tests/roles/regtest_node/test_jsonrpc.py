"""JSON-RPC as bitcoind speaks it, without a socket."""

import json
from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roles.regtest_node.errors import METHOD_NOT_FOUND, MISC_ERROR, RpcError
from roles.regtest_node.jsonrpc import MAX_BATCH, Amount, answer, encode


async def execute(name: str, params: Any) -> Any:
    """Echoes, or fails."""
    if name == "echo":
        return params
    if name == "fail":
        raise RpcError(MISC_ERROR, "no luck")
    raise RpcError(METHOD_NOT_FOUND, "Method not found")


async def told(value: Any) -> tuple[int, Any]:
    reply = await answer(json.dumps(value).encode(), execute)
    return reply.status.value, json.loads(reply.body) if reply.body else None


async def test_the_first_version_answers_with_result_and_error_both() -> None:
    assert await told({"method": "echo", "params": [1], "id": "a"}) == (
        200,
        {"result": [1], "error": None, "id": "a"},
    )
    assert await told({"jsonrpc": "1.0", "method": "echo", "id": None}) == (
        200,
        {"result": [], "error": None, "id": None},
    )


async def test_the_first_version_answers_without_an_id_to_a_request_without_one() -> None:
    assert await told({"method": "echo"}) == (200, {"result": [], "error": None})


async def test_errors_of_the_first_version_are_http_errors() -> None:
    status, reply = await told({"method": "fail", "id": 1})
    assert (status, reply) == (500, {"result": None, "error": {"code": -1, "message": "no luck"}, "id": 1})
    status, reply = await told({"method": "nothing", "id": 1})
    assert (status, reply["error"]["code"]) == (404, -32601)


async def test_the_second_version_answers_200_and_leaves_out_what_is_null() -> None:
    assert await told({"jsonrpc": "2.0", "method": "echo", "params": {"a": 1}, "id": 1}) == (
        200,
        {"jsonrpc": "2.0", "result": {"a": 1}, "id": 1},
    )
    assert await told({"jsonrpc": "2.0", "method": "fail", "id": 1}) == (
        200,
        {"jsonrpc": "2.0", "error": {"code": -1, "message": "no luck"}, "id": 1},
    )


async def test_notifications_get_no_answer() -> None:
    assert await told({"jsonrpc": "2.0", "method": "echo"}) == (204, None)
    assert await told({"jsonrpc": "2.0", "method": "fail"}) == (204, None)
    assert await told([{"jsonrpc": "2.0", "method": "echo"}]) == (204, None)


async def test_an_id_of_null_is_no_notification() -> None:
    status, reply = await told({"jsonrpc": "2.0", "method": "echo", "id": None})
    assert (status, reply) == (200, {"jsonrpc": "2.0", "result": [], "id": None})


async def test_a_batch_is_answered_as_a_batch_and_never_fails_as_a_whole() -> None:
    status, reply = await told(
        [
            {"method": "echo", "params": [1], "id": 1},
            {"jsonrpc": "2.0", "method": "echo"},
            {"jsonrpc": "2.0", "method": "fail", "id": 2},
            {"method": "nothing", "id": 3},
            17,
        ]
    )
    assert status == 200
    assert [each.get("id") for each in reply] == [1, 2, 3, None]
    assert reply[3]["error"] == {"code": -32600, "message": "Invalid Request object"}


async def test_an_empty_batch_is_answered_with_an_empty_one() -> None:
    assert await told([]) == (200, [])


async def test_a_batch_is_bounded() -> None:
    status, reply = await told([{"method": "echo"}] * (MAX_BATCH + 1))
    assert (status, reply["error"]["code"]) == (400, -32600)


@pytest.mark.parametrize(
    ("request_", "status", "message"),
    [
        ({"id": 1}, 400, "Missing method"),
        ({"method": 5, "id": 1}, 400, "Method must be a string"),
        ({"method": "echo", "params": "x", "id": 1}, 400, "Params must be an array or object"),
        ({"jsonrpc": 2, "method": "echo", "id": 1}, 400, "jsonrpc field must be a string"),
        ({"jsonrpc": "3.0", "method": "echo", "id": 1}, 400, "JSON-RPC version not supported"),
        ("text", 500, "Top-level object parse error"),
    ],
)
async def test_what_is_no_request_is_named(request_: Any, status: int, message: str) -> None:
    got, reply = await told(request_)
    assert (got, reply["error"]["message"]) == (status, message)


@pytest.mark.parametrize("depth", [10, 252, 253, 254, 1_000])
async def test_an_id_comes_back_or_is_said_to_be_too_deep(depth: int) -> None:
    nested = b"[" * depth + b"]" * depth
    for body in (b'{"id":%b,"method":"echo"}' % nested, b'[{"id":%b,"method":"echo"}]' % nested):
        reply = await answer(body, execute)
        assert (b'"id":%b' % nested in reply.body) != (b"too deeply" in reply.body)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 5_000, b'{"method": NaN}'])
async def test_what_is_no_json_is_a_parse_error(body: bytes) -> None:
    reply = await answer(body, execute)
    assert reply.status is HTTPStatus.INTERNAL_SERVER_ERROR
    assert json.loads(reply.body)["error"] == {"code": -32700, "message": "Parse error"}


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
async def test_no_bytes_make_it_fail(body: bytes) -> None:
    assert (await answer(body, execute)).status.value in {200, 204, 400, 404, 500}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 53), 1 << 53) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=7), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "jsonrpc": JSON | st.just("2.0"),
            "method": JSON | st.just("echo"),
            "params": JSON,
            "id": JSON,
        },
    )
)
@settings(max_examples=200, deadline=None)
async def test_every_request_object_has_an_answer_that_carries_its_id(value: dict[str, Any]) -> None:
    status, reply = await told(value)
    if status == 204:
        assert value["jsonrpc"] == "2.0"
        assert "id" not in value
    elif "id" in value:
        assert reply["id"] == value["id"]


@pytest.mark.parametrize(
    ("satoshi", "text"),
    [(0, b"0.00000000"), (1, b"0.00000001"), (5_000_000_000, b"50.00000000"), (-1, b"-0.00000001")],
)
def test_amounts_are_numbers_with_eight_decimals(satoshi: int, text: bytes) -> None:
    assert encode({"value": Amount(satoshi)}) == b'{"value":' + text + b"}\n"
