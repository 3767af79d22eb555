"""One line to one message and back.

Both directions use the same two shapes: a call (`method` present; a request if it has an id, else a
notification) and a reply. Ids are opaque: they are kept as the JSON text that the peer wrote and are echoed
as such, whatever their type. Extra keys are ignored.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, Final

import orjson

from protocols.sv1.errors import ErrorCode, MalformedError, Rejection

__all__ = [
    "NULL",
    "Call",
    "Empty",
    "Message",
    "Reply",
    "dump",
    "error_reply",
    "notification",
    "parse",
    "reply",
    "request",
]

NULL: Final = b"null"
"""The id of a message without one."""

_TEXT_LIMIT = 256
_DEPTH_LIMIT = 512


@dataclass(frozen=True, slots=True)
class Call:
    """A request or notification; `id` is its JSON text, `null` where the peer gave none."""

    id: bytes
    method: str
    params: list[Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer; `error` is None if the peer reported none in any of the four shapes in use."""

    id: bytes
    result: Any
    error: Rejection | None


@dataclass(frozen=True, slots=True)
class Empty:
    """An object that says nothing, such as the `{}` that some firmware sends to keep a connection open."""


Message = Call | Reply | Empty


def parse(line: bytes) -> Message:
    """Read one line; raises MalformedError and nothing else."""
    fields, exact = _load(line)
    if not isinstance(fields, dict):
        raise MalformedError("Not an object")
    id = _id_text(fields.get("id"), line, exact)
    method = fields.get("method")
    if method is not None:
        if not isinstance(method, str):
            raise MalformedError("Method not a string", id)
        params = fields.get("params")
        if params is None:
            params = []
        if not isinstance(params, list):
            raise MalformedError("Params not array", id)
        return Call(id, method, params)
    if "result" in fields or "error" in fields:
        return Reply(id, fields.get("result"), _error(fields))
    return Empty()


def reply(id: bytes, result: object) -> bytes:
    """A successful answer, ended by LF."""
    return b'{"id":%b,"result":%b,"error":null}\n' % (id, dump(result))


def error_reply(id: bytes, rejection: Rejection) -> bytes:
    """A refusal as every firmware reads it: result null, error `[code, text, null]`."""
    return b'{"id":%b,"result":null,"error":[%d,%b,null]}\n' % (id, rejection.code, dump(rejection.text))


def notification(method: str, params: object) -> bytes:
    """A call that wants no answer."""
    return b'{"id":null,"method":%b,"params":%b}\n' % (dump(method), dump(params))


def request(id: int, method: str, params: object) -> bytes:
    """A call that wants an answer."""
    return b'{"id":%d,"method":%b,"params":%b}\n' % (id, dump(method), dump(params))


def dump(value: object) -> bytes:
    """A value as JSON text."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value).encode()


def _load(line: bytes) -> tuple[Any, bool]:
    """The JSON value, and whether its text was strictly valid."""
    try:
        return orjson.loads(line), True
    except ValueError:
        pass
    try:
        # Lenient: NaN, lone surrogates and bytes that are not UTF-8 occur in the field, in names above all.
        return json.loads(line.decode("utf-8", "replace")), False
    except (ValueError, RecursionError):
        raise MalformedError("Not JSON") from None


def _id_text(id: object, line: bytes, exact: bool) -> bytes:
    if id is None:
        return NULL
    if type(id) is int:
        return b"%d" % id
    if isinstance(id, float) and exact:
        # Only the original text says how the peer writes it: orjson turns integers above 2^64 into floats.
        if line.count(b"[") + line.count(b"{") > _DEPTH_LIMIT:
            # The reader that keeps numbers as text gives up at fewer levels than orjson.
            raise MalformedError("Too deeply nested")
        fields = json.loads(line, parse_float=_Verbatim, parse_int=_Verbatim)
        return str(fields["id"]).encode()
    if isinstance(id, (list, dict)) or (isinstance(id, float) and not math.isfinite(id)):
        return NULL
    return json.dumps(id).encode()


class _Verbatim(str):
    """A number as it was written."""

    __slots__ = ()


def _error(fields: dict[str, Any]) -> Rejection | None:
    error = fields.get("error")
    if isinstance(error, list) and len(error) >= 2:
        return Rejection(_code(error[0]), _text(error[1]))
    if isinstance(error, dict) and error:
        return Rejection(_code(error.get("code")), _text(error.get("message")))
    if error:
        return Rejection(ErrorCode.OTHER, _text(error))
    reason = fields.get("reject-reason")
    if reason:
        return Rejection(ErrorCode.OTHER, _text(reason))
    if fields.get("result") is False:
        return Rejection(ErrorCode.OTHER, "Rejected")
    return None


def _code(value: object) -> int:
    return value if type(value) is int and abs(value) < 1 << 31 else ErrorCode.OTHER


def _text(value: object) -> str:
    if isinstance(value, (int, float)):
        value = str(value)
    text = value if isinstance(value, str) else "Rejected"
    return "".join(c if c.isprintable() else "?" for c in text[:_TEXT_LIMIT])
