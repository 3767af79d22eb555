"""The OpenAPI description of the wallet's HTTP API."""

from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from roles.wallet.http_forms import (
    Balance,
    Fault,
    Gift,
    History,
    Received,
    ReceiveForm,
    Sent,
    TokenForm,
    Tokens,
    described,
)

_JSON: Final = "application/json"
_BODIES: Final[tuple[type[BaseModel], ...]] = (TokenForm, ReceiveForm)
_ANSWERS: Final[tuple[type[BaseModel], ...]] = (Balance, History, Tokens, Sent, Received, Gift, Fault)
_FAULTS: Final = {
    "400": "What is asked cannot be done.",
    "401": "The secret is missing or wrong.",
    "403": "A web page has asked.",
    "404": "There is no faucet.",
    "421": "It is not asked by a name that it knows.",
    "429": "Too fast; Retry-After says when.",
    "503": "The mint or the store does not answer; what was begun goes on by itself.",
}
_WHOLE: Final = {"type": "integer", "minimum": 1}
_LIMIT: Final = {"name": "limit", "in": "query", "schema": _WHOLE, "description": "so many"}
_BEFORE: Final = {"name": "before", "in": "query", "schema": _WHOLE, "description": "older than this number"}
_UNIT: Final = {"name": "unit", "in": "query", "schema": {"type": "string"}, "description": "of this unit"}


def describe() -> dict[str, Any]:
    """The description, version 3.1."""
    modes = [(model, "validation") for model in _BODIES] + [(model, "serialization") for model in _ANSWERS]
    _, schema = models_json_schema(modes, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "hashpool wallet",
            "version": "1",
            "description": "For programs of this machine; the secret is in api.token of the proxy's state.",
        },
        "paths": {
            "/v1/balance": {"get": _operation("balance", "What is held.", Balance)},
            "/v1/history": {
                "get": _operation("history", "What came and went.", History, [_LIMIT, _BEFORE, _UNIT])
            },
            "/v1/tokens": {
                "get": _operation("tokens", "What was handed out.", Tokens, [_LIMIT]),
                "post": _operation("send", "Make a token.", Sent, body=TokenForm),
            },
            "/v1/receive": {"post": _operation("receive", "Take a token in.", Received, body=ReceiveForm)},
            "/v1/faucet": {"post": _operation("faucet", "A gift for whoever asks.", Gift, is_open=True)},
        },
        "components": {
            "schemas": schema["$defs"],
            "securitySchemes": {"secret": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(
    name: str,
    text: str,
    answer: type[BaseModel],
    parameters: list[dict[str, Any]] | None = None,
    *,
    body: type[BaseModel] | None = None,
    is_open: bool = False,
) -> dict[str, Any]:
    told: dict[str, Any] = {
        "operationId": name,
        "summary": text,
        "security": [] if is_open else [{"secret": []}],
        "responses": {"200": _response(text, answer)}
        | {status: _response(why, Fault) for status, why in _FAULTS.items()},
    }
    if parameters:
        told["parameters"] = parameters
    if body is not None:
        told["requestBody"] = {"required": True, "content": {_JSON: {"schema": described(body)}}}
    return told


def _response(text: str, model: type[BaseModel]) -> dict[str, Any]:
    return {"description": text, "content": {_JSON: {"schema": described(model)}}}
