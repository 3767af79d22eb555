"""A daemon's JSON API beside its health pages: what it answers, and an OpenAPI description of just that.

An endpoint's answer is a pydantic model, from which both the JSON and the description are made. Only GET; an
endpoint may take its time in slices, and answers of any size must be asked for page by page.
"""

import inspect
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

from pydantic import BaseModel, ConfigDict
from pydantic.json_schema import models_json_schema

from roles.runtime.errors import HttpRefusal

__all__ = ["Answer", "Api", "Endpoint", "Fault", "Parameter", "Query"]

ROOT: Final = "/api/v1"
DESCRIPTION: Final = f"{ROOT}/openapi.json"
_REFERENCE: Final = "#/components/schemas/{model}"
_MEDIA: Final = "application/json"


class Answer(BaseModel):
    """Base of what endpoints answer; a field's sentence goes into the description."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, serialize_by_alias=True
    )


class Fault(Answer):
    """Why there is no answer."""

    detail: str
    code: int
    """The HTTP status once more."""


@dataclass(frozen=True, slots=True)
class Query:
    """What was asked for: the parts of the path that are names, and the parameters."""

    names: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)

    def number(self, name: str, default: int, *, least: int, most: int) -> int:
        """A parameter as a whole number; raises HttpRefusal for one that is none or out of bounds."""
        text = self.parameters.get(name, str(default))
        if not (text.isascii() and text.isdecimal() and len(text) < 10 and least <= int(text) <= most):
            raise HttpRefusal(400, f"{name} must be a number from {least} to {most}")
        return int(text)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the query, with its JSON schema and what it means."""

    name: str
    schema: Mapping[str, object]
    text: str


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One path, with ``{name}`` for a segment that may be anything, and who answers; raises HttpRefusal."""

    path: str
    text: str
    answer: type[Answer]
    act: Callable[[Query], Answer | Awaitable[Answer]]
    parameters: tuple[Parameter, ...] = ()

    @property
    def names(self) -> list[str]:
        """The segments that are names."""
        return [part[1:-1] for part in self.path.split("/") if part.startswith("{")]

    def match(self, path: str) -> dict[str, str] | None:
        """What the names stand for in a path, None where it is not this one."""
        mine, given = self.path.split("/"), path.split("/")
        if len(mine) != len(given):
            return None
        names: dict[str, str] = {}
        for part, text in zip(mine, given, strict=True):
            if part.startswith("{"):
                names[part[1:-1]] = unquote(text)
            elif part != text:
                return None
        return names


class Api:
    """The endpoints of one daemon."""

    def __init__(self, daemon: str) -> None:
        self._daemon = daemon
        self._endpoints: list[Endpoint] = []

    @property
    def paths(self) -> list[str]:
        """What may be asked for."""
        return [*(endpoint.path for endpoint in self._endpoints), DESCRIPTION] if self._endpoints else []

    def add(self, *endpoints: Endpoint) -> None:
        """Answer these too."""
        self._endpoints += endpoints

    async def answer(self, path: str, query: str) -> tuple[HTTPStatus, bytes] | None:
        """Status and JSON for a GET; None where nobody answers that path."""
        if path == DESCRIPTION and self._endpoints:
            return HTTPStatus.OK, json.dumps(self.describe()).encode()
        for endpoint in self._endpoints:
            names = endpoint.match(path)
            if names is not None:
                try:
                    return HTTPStatus.OK, await self._ask(endpoint, names, query)
                except HttpRefusal as refusal:
                    fault = Fault(detail=str(refusal), code=refusal.status)
                    return HTTPStatus(refusal.status), fault.model_dump_json().encode()
        return None

    async def _ask(self, endpoint: Endpoint, names: dict[str, str], query: str) -> bytes:
        try:
            given = dict(parse_qsl(query, keep_blank_values=True, max_num_fields=16))
        except ValueError as error:
            raise HttpRefusal(400, "the query is none") from error
        known = {parameter.name for parameter in endpoint.parameters}
        if unknown := sorted(given.keys() - known):
            raise HttpRefusal(400, f"there is no parameter {unknown[0][:50]!a}")
        answer = endpoint.act(Query(names, given))
        if inspect.isawaitable(answer):
            answer = await answer
        return answer.model_dump_json().encode()

    def describe(self) -> dict[str, Any]:
        """The OpenAPI 3.1 description."""
        models = dict.fromkeys([endpoint.answer for endpoint in self._endpoints] + [Fault])
        _, schema = models_json_schema(
            [(model, "serialization") for model in models], ref_template=_REFERENCE
        )
        return {
            "openapi": "3.1.0",
            "info": {
                "title": f"hashpool {self._daemon}",
                "version": "1",
                "description": "Read only. Times are Unix seconds; more fields may be added.",
            },
            "paths": {endpoint.path: {"get": _describe(endpoint)} for endpoint in self._endpoints},
            "components": {"schemas": schema["$defs"]},
        }


def _describe(endpoint: Endpoint) -> dict[str, Any]:
    names = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in endpoint.names
    ]
    parameters = [
        {"name": each.name, "in": "query", "description": each.text, "schema": dict(each.schema)}
        for each in endpoint.parameters
    ]
    faults = {"400": "A parameter is wrong."} if parameters else {}
    faults |= {"404": "There is none of that name."} if names else {}
    told: dict[str, Any] = {
        "operationId": endpoint.path.removeprefix(f"{ROOT}/")
        .replace("/", "_")
        .translate(str.maketrans("", "", "{}")),
        "summary": endpoint.text,
        "responses": {"200": _response(endpoint.text, endpoint.answer)}
        | {status: _response(text, Fault) for status, text in faults.items()},
    }
    return told | ({"parameters": names + parameters} if names or parameters else {})


def _response(text: str, model: type[Answer]) -> dict[str, Any]:
    reference = {"$ref": _REFERENCE.format(model=model.__name__)}
    return {"description": text, "content": {_MEDIA: {"schema": reference}}}
