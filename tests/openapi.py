"""Checks answers of a JSON API against its own OpenAPI 3.1 description, as far as ours go."""

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "null": (type(None),),
}
_NOTES = {"title", "description", "default"}


def check(value: Any, schema: dict[str, Any], document: dict[str, Any], where: str = "$") -> None:
    """Assert that a value is what its schema says; an unknown keyword of a schema fails, too."""
    if "type" in schema:
        assert isinstance(value, _TYPES[schema["type"]]), (where, value, schema["type"])
    for keyword, told in schema.items():
        match keyword:
            case "$ref":
                check(value, find(document, told), document, where)
            case "anyOf":
                assert any(fits(value, each, document) for each in told), (where, value)
            case "type":
                assert told not in {"number", "integer"} or not isinstance(value, bool), (where, value)
            case "properties":
                for name, below in told.items():
                    if name in value:
                        check(value[name], below, document, f"{where}.{name}")
            case "required":
                assert set(told) <= set(value), (where, set(told) - set(value))
            case "additionalProperties":
                patterns = schema.get("patternProperties", ())
                for name in set(value) - set(schema.get("properties", ())):
                    if any(re.search(pattern, name) for pattern in patterns):
                        continue
                    assert told is not False, (where, name)
                    if told is not True:
                        check(value[name], told, document, f"{where}.{name}")
            case "items":
                for place, item in enumerate(value):
                    check(item, told, document, f"{where}[{place}]")
            case "enum":
                assert value in told, (where, value)
            case "minimum":
                assert value >= told, (where, value)
            case "maximum":
                assert value <= told, (where, value)
            case "const":
                assert value == told, (where, value)
            case "pattern":
                assert re.search(told, value), (where, value)
            case "minLength" | "maxLength" | "minItems" | "maxItems":
                fits_in = len(value) >= told if keyword.startswith("min") else len(value) <= told
                assert fits_in, (where, keyword, told)
            case "propertyNames":
                for name in value:
                    check(name, told, document, f"{where}.{name}")
            case "patternProperties":
                for pattern, below in told.items():
                    for name in value:
                        if re.search(pattern, name):
                            check(value[name], below, document, f"{where}.{name}")
            case _:
                assert keyword in _NOTES, (where, keyword)


def fits(value: Any, schema: dict[str, Any], document: dict[str, Any]) -> bool:
    """Whether a value is what its schema says."""
    try:
        check(value, schema, document)
    except AssertionError:
        return False
    return True


def find(document: dict[str, Any], reference: str) -> Any:
    """What a reference of the document stands for."""
    found = document
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def path_of(document: dict[str, Any], asked: str) -> str:
    """The path of the description that answers; one without names comes first."""
    parts = asked.partition("?")[0].split("/")
    fitting: list[str] = [
        path
        for path in document["paths"]
        if len(path.split("/")) == len(parts)
        and all(
            mine == part or mine.startswith("{") for mine, part in zip(path.split("/"), parts, strict=True)
        )
    ]
    return min(fitting, key=lambda path: path.count("{"))


def check_answer(document: dict[str, Any], path: str, status: int, body: str, method: str = "get") -> Any:
    """Assert that an answer to a path of the description is one that it has; returns it."""
    response = document["paths"][path][method]["responses"][str(status)]
    value = json.loads(body)
    check(value, response["content"]["application/json"]["schema"], document)
    return value


async def check_all(ask: Callable[[str], Awaitable[tuple[int, str]]]) -> dict[str, Any]:
    """Ask for everything that a daemon describes, names by what its pages tell; returns answers by path."""
    status, body = await ask("/api/v1/openapi.json")
    assert status == 200
    document = json.loads(body)
    assert document["openapi"] == "3.1.0"
    answers: dict[str, Any] = {}
    for path in sorted(document["paths"]):
        if "{" not in path:
            answers[path] = check_answer(document, path, *await ask(path))
    for path in document["paths"]:
        if "{" in path:
            assert (await ask(path.replace("{id}", "nobody")))[0] == 404
            check_answer(document, path, *await ask(path.replace("{id}", "nobody")))
            for miner in answers["/api/v1/miners"]["miners"][:3]:
                one = check_answer(document, path, *await ask(path.replace("{id}", miner["id"])))
                assert one["id"] == miner["id"]
    for path, operation in document["paths"].items():
        if "parameters" in operation["get"] and "{" not in path:
            check_answer(document, path, *await ask(f"{path}?limit=0"))
            check_answer(document, path, *await ask(f"{path}?color=red"))
    return answers
