"""JSON-RPC as bitcoind speaks it, without a socket: requests to bytes, answers to results or errors."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

import orjson

from roles.node_client.errors import (
    NodeBusy,
    NodeError,
    NodeMalformed,
    NodeRefused,
    NodeUnauthorized,
    NodeUnreachable,
    NodeWarmingUp,
)

WARMING_UP = -28
_METHOD_NOT_FOUND = -32601
_MAX_MESSAGE = 500
_WRONG_PORT = "is this bitcoind's port?"

# bitcoind answers errors of JSON-RPC 1.x with 500, and 404 for a method that it does not know.
_SPOKEN = {HTTPStatus.OK, HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.INTERNAL_SERVER_ERROR}


class Call(NamedTuple):
    """A method and its positional parameters."""

    method: str
    params: tuple[Any, ...] = ()


def encode(call: Call, number: int) -> bytes:
    """One request."""
    return orjson.dumps(_request(call, number))


def encode_batch(calls: Sequence[Call]) -> bytes:
    """Several requests in one, numbered from 0."""
    return orjson.dumps([_request(call, number) for number, call in enumerate(calls)])


def decode(call: Call, number: int, status: int, body: bytes) -> Any:
    """The result of an answer; raises NodeError."""
    answer = _parse(status, body)
    if not isinstance(answer, dict) or answer.get("id") != number:
        raise _malformed(call.method)
    return _result(call, answer)


def decode_batch(calls: Sequence[Call], status: int, body: bytes) -> list[Any | NodeError]:
    """Result or error of each request, in their order; raises NodeError when the batch as a whole failed."""
    answers = _parse(status, body)
    if isinstance(answers, dict) and answers.get("error"):
        _result(Call("a batch"), answers)
    if not isinstance(answers, list):
        raise _malformed("a batch")
    found: dict[int, dict[str, Any]] = {}
    for answer in answers:
        if isinstance(answer, dict) and isinstance(answer.get("id"), int):
            found[answer["id"]] = answer
    if sorted(found) != list(range(len(calls))):
        raise _malformed("a batch")
    return [_outcome(call, found[number]) for number, call in enumerate(calls)]


def _outcome(call: Call, answer: dict[str, Any]) -> Any | NodeError:
    try:
        return _result(call, answer)
    except NodeError as error:
        return error


def _request(call: Call, number: int) -> dict[str, Any]:
    return {"jsonrpc": "1.0", "id": number, "method": call.method, "params": list(call.params)}


def _parse(status: int, body: bytes) -> Any:
    match status:
        case HTTPStatus.UNAUTHORIZED:
            raise NodeUnauthorized(
                "the node does not accept our credentials",
                hint="compare bitcoin.rpc_cookie_file, or rpc_user and its password, with the node's",
            )
        case HTTPStatus.FORBIDDEN:
            raise NodeUnauthorized("the node does not serve this address", hint="see rpcallowip of the node")
        case HTTPStatus.SERVICE_UNAVAILABLE:
            raise NodeBusy("the node's work queue is full", hint="see rpcworkqueue of the node")
        case status if status not in _SPOKEN:
            raise NodeMalformed(f"the node answers with HTTP status {status}", hint=_WRONG_PORT)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise NodeMalformed(
            f"the node's answer with HTTP status {status} is not JSON", hint=_WRONG_PORT
        ) from error


def _result(call: Call, answer: dict[str, Any]) -> Any:
    error = answer.get("error")
    if error is None:
        if "result" not in answer:
            raise _malformed(call.method)
        return answer["result"]
    code, message = (error.get("code"), error.get("message")) if isinstance(error, dict) else (None, None)
    if not isinstance(code, int) or not isinstance(message, str):
        raise _malformed(call.method)
    if code == WARMING_UP:
        raise NodeWarmingUp(f"the node is starting: {message[:_MAX_MESSAGE]}", hint="it takes a while")
    hint = "the node is too old, or not bitcoind" if code == _METHOD_NOT_FOUND else ""
    raise NodeRefused(call.method, code, message[:_MAX_MESSAGE], hint=hint)


def _malformed(method: str) -> NodeMalformed:
    return NodeMalformed(f"the answer to {method} is not JSON-RPC", hint=_WRONG_PORT)


def unreachable(url: str, why: str) -> NodeUnreachable:
    """The error for a connection that could not be made or broke."""
    return NodeUnreachable(f"no connection to the node at {url}: {why}", hint="is it running there?")
