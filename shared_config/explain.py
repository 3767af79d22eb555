"""From what pydantic found to problems in words, with the nearest known key for an unknown one."""

import difflib
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from shared_config.document import Document, key_text
from shared_config.errors import Problem
from shared_config.settings import Settings
from shared_config.toml_lines import KeyPath

_WORDS = {
    "missing": "is missing",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "string_type": "must be text in quotes",
    "bool_type": "must be true or false",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "tuple_type": "must be an array",
    "list_type": "must be an array",
    "finite_number": "must be a finite number",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "too_long": "must have at most {max_length} elements",
    "literal_error": "must be one of {expected}",
}


def explain(
    error: ValidationError, document: Document, model: type[Settings], elsewhere: dict[str, type[Settings]]
) -> Iterator[Problem]:
    """A problem for each thing that pydantic found in a document.

    ``elsewhere`` are other files' models by file name, where an unknown key may belong.
    """
    for detail in error.errors(include_url=False):
        path: KeyPath = tuple(detail["loc"])
        if detail["type"] == "extra_forbidden":
            yield _unknown(path, document, model, elsewhere)
            continue
        pattern = _WORDS.get(detail["type"])
        context = {name: _plain(value) for name, value in detail.get("ctx", {}).items()}
        reason = detail["msg"].removeprefix("Value error, ") if pattern is None else pattern.format(**context)
        yield document.problem(path, reason)


def known_keys(model: type[Settings], prefix: str = "") -> Iterator[str]:
    """Every dotted key of a model; an element of an array of tables has no index here."""
    for name, field in model.model_fields.items():
        key = f"{prefix}{name}"
        inner = table_model(field.annotation)
        if inner is None:
            yield key
        else:
            yield from known_keys(inner, f"{key}.")


def table_model(annotation: Any) -> type[Settings] | None:
    """The model of a table, of an optional one or of an array's elements; None for a plain value."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation if issubclass(annotation, Settings) else None
    for argument in get_args(annotation):
        inner = table_model(argument)
        if inner is not None:
            return inner
    return None


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _unknown(
    path: KeyPath, document: Document, model: type[Settings], elsewhere: dict[str, type[Settings]]
) -> Problem:
    table: type[Settings] | None = model
    for part in path[:-1]:
        if table is not None and isinstance(part, str):
            field = table.model_fields.get(part)
            table = None if field is None else table_model(field.annotation)
    name = str(path[-1])
    if table is not None and name in table.obsolete:
        return document.problem(path, "is obsolete", table.obsolete[name])
    return document.problem(path, "unknown key", _nearest(path, name, table, model, elsewhere))


def _nearest(
    path: KeyPath,
    name: str,
    table: type[Settings] | None,
    model: type[Settings],
    elsewhere: dict[str, type[Settings]],
) -> str:
    siblings = [] if table is None else list(table.model_fields)
    near = difflib.get_close_matches(name, siblings, n=1, cutoff=0.6)
    if near and difflib.SequenceMatcher(None, name, near[0]).ratio() > 0.8:
        return f"did you mean {key_text((*path[:-1], near[0]))}?"
    for file, other in {"": model, **elsewhere}.items():
        for key in known_keys(other):
            if name in {key, key.rpartition(".")[2], *key.split(".")[:1]}:
                return f"{_owner(key, name)} belongs into {file}" if file else f"did you mean {key}?"
    # Half a name, such as floor for floor_hashes, is too short to be near.
    near = near or [sibling for sibling in siblings if sibling.startswith(name) and len(name) > 2][:1]
    return f"did you mean {key_text((*path[:-1], near[0]))}?" if near else ""


def _owner(key: str, name: str) -> str:
    return f"[{name}]" if key.partition(".")[0] == name and "." in key else key
