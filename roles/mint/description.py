"""An OpenAPI 3.1 description of the mint's API, made of its routes and of the models of `wire`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from roles.mint import wire
from roles.mint.info import version_text

PATH: Final = "/v1/openapi.json"
_REFERENCE: Final = "#/components/schemas/{model}"
_JSON: Final = "application/json"
_TEXT: Final = (
    "Cashu, with the method ehash for shares of mining. Refusals carry the codes of the NUTs; who is told 429"
    " or 503 may send the same request again after Retry-After. A request that was carried out before is"
    " answered as it was. /v1 shows the units of money alone, /hash/v1 the newest of ehash, /hash/UNIT/v1"
    " one; every route is there under each."
)


@dataclass(frozen=True, slots=True)
class Told:
    """What one route is for, what it reads and answers."""

    text: str
    answer: type[BaseModel]
    body: type[wire.Asked] | None = None
    query: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, Any] = field(default_factory=dict)


_SHARE_QUERY: Final = {
    "share_hashes": {
        "description": "1 to 100 hashes of shares, separated by commas.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[0-9a-f]{64}(,[0-9a-f]{64}){0,99}$"},
    }
}
_SHARE_HEADERS: Final = {
    "Ehash-Key": {"schema": {"type": "string", "pattern": "^0[23][0-9a-f]{64}$"}},
    "Ehash-Timestamp": {"schema": {"type": "string", "pattern": "^[0-9]{1,20}$"}},
    "Ehash-Signature": {"schema": {"type": "string", "pattern": "^[0-9a-f]{128}$"}},
}

_SHIFTS_QUERY: Final = {
    "after": {"description": "The unit of a shift.", "schema": {"type": "string", "maxLength": 255}},
    "limit": {"schema": {"type": "integer", "minimum": 1, "maximum": 100}},
}

ROUTES: Final[Mapping[tuple[str, str], Told]] = {
    ("GET", "/v1/info"): Told("What the mint is.", wire.Info),
    ("GET", "/v1/keys"): Told("The keysets that sign, with their keys.", wire.Keys),
    ("GET", "/v1/keys/{keyset_id}"): Told("One keyset with its keys.", wire.Keys),
    ("GET", "/v1/keysets"): Told("All keysets.", wire.Keysets),
    ("GET", "/v1/ehash/shifts"): Told(
        "Shifts, each issuer's newest first; the cursor is the unit to go on after.",
        wire.Shifts,
        query=_SHIFTS_QUERY,
    ),
    ("GET", "/v1/ehash/shifts/{of}"): Told("The shift of a unit.", wire.Shift),
    ("POST", "/v1/swap"): Told("Swap tokens.", wire.Signatures, wire.SwapAsked),
    ("POST", "/v1/checkstate"): Told("Whether tokens are spent.", wire.States, wire.StatesAsked),
    ("POST", "/v1/restore"): Told("Signatures once more.", wire.Restored, wire.RestoreAsked),
    ("GET", "/v1/mint/quote-ids/share"): Told(
        "Quotes of shares, for the key that signs.",
        wire.ShareQuotes,
        query=_SHARE_QUERY,
        headers=_SHARE_HEADERS,
    ),
    ("POST", "/v1/mint/quote/{method}"): Told("Make a quote.", wire.MintQuote, wire.QuoteAsked),
    ("POST", "/v1/mint/quote/{method}/check"): Told(
        "Look at several quotes.", wire.QuoteList, wire.QuotesAsked
    ),
    ("POST", "/v1/mint/quote/{method}/pubkey"): Told("Quotes by key.", wire.Quotes, wire.LookUpAsked),
    ("GET", "/v1/mint/quote/{method}/{quote_id}"): Told("Look at a quote.", wire.MintQuote),
    ("POST", "/v1/mint/{method}"): Told("Mint tokens.", wire.Signatures, wire.MintAsked),
    ("POST", "/v1/mint/{method}/batch"): Told(
        "Mint tokens for several quotes.", wire.Signatures, wire.BatchAsked
    ),
    ("POST", "/v1/melt/quote/{method}"): Told(
        "What a payment would cost.", wire.MeltQuoteTold, wire.MeltQuoteAsked
    ),
    ("GET", "/v1/melt/quote/{method}/{quote_id}"): Told("Look at a melt quote.", wire.MeltQuoteTold),
    ("POST", "/v1/melt/{method}"): Told(
        "Pay with tokens; what was set aside too much comes back as change.",
        wire.MeltQuoteTold,
        wire.MeltAsked,
    ),
}
"""Method and path of every route under /v1; other prefixes serve the same."""

_NAMES: Final[Mapping[str, Any]] = {
    "keyset_id": {"type": "string", "pattern": "^([0-9a-f]{16}|[0-9a-f]{66})$"},
    "of": {"type": "string", "pattern": "^hash_0[23][0-9a-f]{64}_(0|[1-9][0-9]{0,9})$"},
    "method": {"type": "string", "pattern": "^[a-z0-9_-]+$"},
    "quote_id": {"type": "string", "minLength": 1, "maxLength": 128},
}
_AGAIN: Final = {"Retry-After": {"description": "In seconds.", "schema": {"type": "integer"}}}
_FAULTS: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "400": ("Refused, by the code of a NUT.", {}),
    "404": ("There is nothing at this path.", {}),
    "405": ("This path has no such method.", {}),
    "413": ("The body is too large.", {}),
    "429": ("Too many requests from this address.", _AGAIN),
    "503": ("Not now: overload, or a store that fails.", _AGAIN),
}


def describe(routes: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The description of those routes that are served, as far as they are in `ROUTES`."""
    served = {route: ROUTES[route] for route in routes if route in ROUTES}
    models: dict[type[BaseModel], JsonSchemaMode] = {wire.Fault: "serialization"}
    for told in served.values():
        models[told.answer] = "serialization"
        if told.body is not None:
            models[told.body] = "validation"
    _, schema = models_json_schema(list(models.items()), ref_template=_REFERENCE)
    paths: dict[str, dict[str, Any]] = {}
    for (method, path), told in served.items():
        paths.setdefault(path, {})[method.lower()] = _operation(method, path, told)
    return {
        "openapi": "3.1.0",
        "info": {"title": "hashpool mint", "version": version_text(), "description": _TEXT},
        "paths": paths,
        "components": {"schemas": schema["$defs"]},
    }


def _operation(method: str, path: str, told: Told) -> dict[str, Any]:
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    parameters = [
        *({"name": name, "in": "path", "required": True, "schema": _NAMES[name]} for name in names),
        *({"name": name, "in": "query", **about} for name, about in told.query.items()),
        *({"name": name, "in": "header", **about} for name, about in told.headers.items()),
    ]
    words = path.translate(str.maketrans("", "", "{}")).strip("/").split("/")
    operation: dict[str, Any] = {
        "operationId": "_".join([method.lower(), *words[1:]]),
        "summary": told.text,
        "responses": {"200": _content(told.text, told.answer)}
        | {status: _fault(text, headers) for status, (text, headers) in _FAULTS.items()},
    }
    if parameters:
        operation["parameters"] = parameters
    if told.body is not None:
        operation["requestBody"] = {"required": True, "content": _content("", told.body)["content"]}
    return operation


def _fault(text: str, headers: Mapping[str, Any]) -> dict[str, Any]:
    return _content(text, wire.Fault) | ({"headers": headers} if headers else {})


def _content(text: str, model: type[BaseModel]) -> dict[str, Any]:
    reference = {"$ref": _REFERENCE.format(model=model.__name__)}
    return {"description": text, "content": {_JSON: {"schema": reference}}}
