"""JSON-RPC as bitcoind speaks it: 1.x by default, 2.0 on request, batches, notifications, HTTP codes.

A failed 1.x request is an HTTP error; 2.0 requests and batches answer 200; notifications get no answer.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import orjson

from roles.regtest_node.errors import (
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    RpcError,
)

MAX_BATCH = 1_000

Json = Any
"""A value as JSON decodes it."""

Execute = Callable[[str, list[Json] | dict[str, Json]], Awaitable[Json]]
"""Runs a method with its parameters; raises RpcError."""


@dataclass(frozen=True, slots=True)
class Amount:
    """Satoshi that are written as bitcoin with eight decimals."""

    satoshi: int

    def __str__(self) -> str:
        whole, part = divmod(abs(self.satoshi), 100_000_000)
        return f"{'-' if self.satoshi < 0 else ''}{whole}.{part:08}"


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer; no body where JSON-RPC answers nothing."""

    status: HTTPStatus
    body: bytes = b""


@dataclass(slots=True)
class _Request:
    """What is known of a request so far: enough to answer it even when the rest is wrong."""

    id: Json = None
    has_id: bool = True
    second: bool = False
    method: str = ""
    params: list[Json] | dict[str, Json] | None = None

    @property
    def is_notification(self) -> bool:
        return self.second and not self.has_id

    def read(self, value: Json) -> None:
        """Takes the fields of a request object in bitcoind's order; raises RpcError."""
        if not isinstance(value, dict):
            raise RpcError(INVALID_REQUEST, "Invalid Request object")
        self.has_id = "id" in value
        if isinstance(value.get("id"), list | dict) and not _can_be_written([[value["id"]]]):
            raise RpcError(INVALID_REQUEST, "id is nested too deeply")
        self.id = value.get("id")
        version = value.get("jsonrpc")
        if version is not None and not isinstance(version, str):
            raise RpcError(INVALID_REQUEST, "jsonrpc field must be a string")
        if version not in {None, "1.0", "2.0"}:
            raise RpcError(INVALID_REQUEST, "JSON-RPC version not supported")
        self.second = version == "2.0"
        method, params = value.get("method"), value.get("params")
        if method is None:
            raise RpcError(INVALID_REQUEST, "Missing method")
        if not isinstance(method, str):
            raise RpcError(INVALID_REQUEST, "Method must be a string")
        if params is not None and not isinstance(params, list | dict):
            raise RpcError(INVALID_REQUEST, "Params must be an array or object")
        self.method, self.params = method, [] if params is None else params

    def reply(self, result: Json, error: RpcError | None = None) -> dict[str, Json]:
        told: dict[str, Json] = {"jsonrpc": "2.0"} if self.second else {}
        if error is None or not self.second:
            told["result"] = None if error else result
        if error is not None or not self.second:
            told["error"] = {"code": error.code, "message": error.message} if error else None
        if self.has_id:
            told["id"] = self.id
        return told


async def answer(body: bytes, execute: Execute) -> Reply:
    """Answers the body of one POST."""
    request = _Request()
    try:
        value = _decode(body)
        if isinstance(value, list):
            return await _answer_batch(value, execute)
        request.read(value)
    except RpcError as error:
        # What cannot be read as a request is an HTTP error in either version.
        return Reply(_legacy_status(error), encode(request.reply(None, error)))
    try:
        reply, status = request.reply(await execute(request.method, request.params or [])), HTTPStatus.OK
    except RpcError as error:
        reply = request.reply(None, error)
        status = HTTPStatus.OK if request.second else _legacy_status(error)
    return Reply(HTTPStatus.NO_CONTENT) if request.is_notification else Reply(status, encode(reply))


def _decode(body: bytes) -> Json:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RpcError(PARSE_ERROR, "Parse error") from error
    if not isinstance(value, dict | list):
        raise RpcError(PARSE_ERROR, "Top-level object parse error")
    return value


async def _answer_batch(values: list[Json], execute: Execute) -> Reply:
    if len(values) > MAX_BATCH:
        raise RpcError(INVALID_REQUEST, f"a batch has at most {MAX_BATCH} requests")
    replies = []
    for value in values:
        request = _Request()
        try:
            request.read(value)
            reply = request.reply(await execute(request.method, request.params or []))
        except RpcError as error:
            reply = request.reply(None, error)
        if not request.is_notification:
            replies.append(reply)
    if values and not replies:
        return Reply(HTTPStatus.NO_CONTENT)
    return Reply(HTTPStatus.OK, encode(replies))


def encode(value: Json) -> bytes:
    """JSON text with a line end; an `Amount` becomes a number with eight decimals."""
    return orjson.dumps(value, _encode_other, orjson.OPT_PASSTHROUGH_DATACLASS) + b"\n"


def _can_be_written(value: Json) -> bool:
    # What is read may be nested four times as deep as what is written.
    try:
        orjson.dumps(value)
    except TypeError:
        return False
    return True


def _encode_other(value: object) -> orjson.Fragment:
    if isinstance(value, Amount):
        return orjson.Fragment(str(value))
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _legacy_status(error: RpcError) -> HTTPStatus:
    if error.code == INVALID_REQUEST:
        return HTTPStatus.BAD_REQUEST
    return HTTPStatus.NOT_FOUND if error.code == METHOD_NOT_FOUND else HTTPStatus.INTERNAL_SERVER_ERROR
