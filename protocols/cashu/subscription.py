"""Messages of a mint's websocket (NUT-17): JSON-RPC 2.0, one object a message.

A wallet subscribes to objects of one kind by their names and is sent the state of each, now and after every
change.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from protocols.cashu.errors import MalformedError, RpcError
from protocols.cashu.fields import as_array, as_object, as_point, as_text

PROOF_STATE = "proof_state"
NAME_LIMIT = 128
SUB_ID_LIMIT = 256

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
REFUSED = -32000

RequestId = int | str | None


def mint_quote_kind(method: str) -> str:
    """The kind of a payment method's mint quotes."""
    return f"{method}_mint_quote"


def melt_quote_kind(method: str) -> str:
    """The kind of a payment method's melt quotes."""
    return f"{method}_melt_quote"


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Tell me of these objects from now on: of `kind`, quote ids or Ys in hex, none twice."""

    request_id: RequestId
    sub_id: str
    kind: str
    filters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Tell me no more of what I subscribed to as `sub_id`."""

    request_id: RequestId
    sub_id: str


def parse(text: str, *, max_filters: int) -> Subscribe | Unsubscribe:
    """Read a wallet's message; raises RpcError, which knows how to answer."""
    try:
        message: object = json.loads(text)
    except (ValueError, RecursionError):
        raise RpcError(PARSE_ERROR, "the message is not JSON") from None
    if not isinstance(message, dict):
        raise RpcError(INVALID_REQUEST, "the message is not an object")
    request_id = _request_id(message.get("id"))
    try:
        return _request(message, request_id, max_filters)
    except MalformedError as error:
        raise RpcError(INVALID_PARAMS, error.detail, request_id) from None


def accepted(request: Subscribe | Unsubscribe) -> str:
    """The answer to a request that is carried out."""
    return _message({"result": {"status": "OK", "subId": request.sub_id}, "id": request.request_id})


def refused(error: RpcError) -> str:
    """The answer to a request that is not."""
    return _message({"error": {"code": error.code, "message": error.detail}, "id": error.request_id})


def notice(sub_id: str, payload: Mapping[str, object]) -> str:
    """The state of one object."""
    return _message({"method": "subscribe", "params": {"subId": sub_id, "payload": payload}})


def _request(message: Mapping[str, object], request_id: RequestId, limit: int) -> Subscribe | Unsubscribe:
    method = message.get("method")
    if message.get("jsonrpc") != "2.0" or not isinstance(method, str):
        raise RpcError(INVALID_REQUEST, "the message is not a request of JSON-RPC 2.0", request_id)
    if method not in {"subscribe", "unsubscribe"}:
        raise RpcError(METHOD_NOT_FOUND, "there are subscribe and unsubscribe", request_id)
    params = as_object(message.get("params"), "params")
    sub_id = as_text(params.get("subId"), "subId", SUB_ID_LIMIT)
    if method == "unsubscribe":
        return Unsubscribe(request_id, sub_id)
    kind = as_text(params.get("kind"), "kind", NAME_LIMIT)
    filters = as_array(params.get("filters"), "filters")
    if not 1 <= len(filters) <= limit:
        raise MalformedError(f"filters names 1 to {limit} objects")
    names = [_name(kind, item) for item in filters]
    return Subscribe(request_id, sub_id, kind, tuple(dict.fromkeys(names)))


def _name(kind: str, value: object) -> str:
    if kind == PROOF_STATE:
        return as_point(value, "Y").hex()
    return as_text(value, "filter", NAME_LIMIT)


def _request_id(value: object) -> RequestId:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return value if isinstance(value, str) and len(value) <= NAME_LIMIT else None


def _message(body: dict[str, object]) -> str:
    return json.dumps({"jsonrpc": "2.0", **body}, separators=(",", ":"))
