"""Loads a daemon's configuration: its own file, its side's shared file, and what is laid over them.

All faults of both files are found in one go. Nothing is read from the environment but systemd's credentials
directory.
"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import ValidationError

from shared_config.document import (
    COMMAND_LINE,
    CREDENTIAL,
    Document,
    parse_override,
    show,
)
from shared_config.errors import ConfigInvalid, Problem
from shared_config.explain import explain
from shared_config.settings import DaemonSettings, Finding, Settings, SharedSettings
from shared_config.toml_lines import KeyPath, key_path, split_key

C = TypeVar("C", bound=DaemonSettings)
S = TypeVar("S", bound=SharedSettings)
M = TypeVar("M", bound=Settings)

SHARED_PREFIX = "shared."


@dataclass(frozen=True, slots=True)
class Loaded(Generic[C, S]):
    """A valid configuration and where each value came from.

    ``wanted`` are values that only the operator can fill in and has not yet: the files are sound, but
    the daemon does not start without them.
    """

    config: C
    shared: S
    document: Document
    shared_document: Document
    wanted: tuple[Problem, ...]


def load(
    model: type[C],
    path: Path,
    shared_model: type[S],
    shared_path: Path,
    *,
    overrides: Sequence[str] = (),
    credentials: Path | None = None,
) -> Loaded[C, S]:
    """Read, overlay and validate both files; raises ConfigInvalid with everything that is wrong.

    ``overrides`` are ``key=value`` for the daemon's file and ``shared.key=value`` for the shared one;
    ``credentials`` is systemd's directory of them.
    """
    problems: list[Problem] = []
    document = _read(path, problems)
    beside = f"what all daemons of the {shared_model.side} side share; -g names another file"
    shared_document = _read(shared_path, problems, beside)
    if document is None or shared_document is None:
        raise ConfigInvalid(problems)
    for text in overrides:
        _override(text, document, shared_document, problems)
    if credentials is not None:
        _credentials(model, document, shared_document, credentials)
    config = _validate(model, document, {shared_document.name: shared_model}, problems)
    shared = _validate(shared_model, shared_document, {document.name: model}, problems)
    wanted: list[Problem] = []
    if shared is not None:
        _review(shared.review(), shared_document, shared_document, problems, wanted)
    if config is not None and shared is not None:
        _review(config.review(shared), document, shared_document, problems, wanted)
    if problems or config is None or shared is None:
        raise ConfigInvalid(problems)
    return Loaded(config, shared, document, shared_document, tuple(wanted))


def _read(path: Path, problems: list[Problem], hint: str = "") -> Document | None:
    try:
        return Document.read(path)
    except ConfigInvalid as error:
        problems += error.problems if path.exists() else (replace(one, hint=hint) for one in error.problems)
        return None


def _override(text: str, document: Document, shared: Document, problems: list[Problem]) -> None:
    key = text.partition("=")[0]
    try:
        key, value, raw = parse_override(text)
        if key.startswith(SHARED_PREFIX):
            shared.lay_over(key.removeprefix(SHARED_PREFIX), value, COMMAND_LINE, raw)
        else:
            document.lay_over(key, value, COMMAND_LINE, raw)
    except ValueError as error:
        problems.append(Problem("--set", None, key, None, str(error)))


def _credentials(model: type[DaemonSettings], document: Document, shared: Document, directory: Path) -> None:
    for key, name in model.credentials.items():
        file = directory / name
        if file.exists():
            target = shared if key.startswith(SHARED_PREFIX) else document
            bare = key.removeprefix(SHARED_PREFIX)
            if not target.holds(split_key(bare)):
                target.lay_over(bare, str(file), CREDENTIAL, str(file))


def _validate(
    model: type[M], document: Document, elsewhere: dict[str, type[Settings]], problems: list[Problem]
) -> M | None:
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        if _take_as_text(error, document):
            with contextlib.suppress(ValidationError):
                return model.model_validate(document.data)
        problems += explain(error, document, model, elsewhere)
        return None


def _take_as_text(error: ValidationError, document: Document) -> bool:
    """Whether values of ``--set`` that look like numbers were needed as text, and are text now."""
    changed = False
    for detail in error.errors(include_url=False, include_context=False, include_input=False):
        path: KeyPath = tuple(detail["loc"])
        laid = document.laid_over.get(path)
        if laid is not None and ("text in quotes" in detail["msg"] or detail["type"] == "string_type"):
            document.lay_over(".".join(map(str, path)), laid[1], *laid)
            changed = True
    return changed


def _review(
    findings: Iterable[Finding],
    document: Document,
    shared: Document,
    problems: list[Problem],
    wanted: list[Problem],
) -> None:
    for finding in findings:
        target = shared if finding.shared else document
        problem = target.problem(key_path(finding.key), finding.reason, finding.hint)
        (wanted if finding.wanted else problems).append(problem)


def describe(loaded: Loaded[C, S]) -> str:
    """The whole configuration as TOML, secrets left out, each value with its origin as a comment."""
    own = "\n".join(_describe(loaded.config, loaded.document, ()))
    shared = "\n".join(_describe(loaded.shared, loaded.shared_document, ()))
    return f"# {loaded.document.name}\n{own}\n\n# {loaded.shared_document.name}\n{shared}\n"


def _describe(table: Settings, document: Document, path: KeyPath) -> Iterator[str]:
    inner: list[tuple[KeyPath, Settings, bool]] = []
    for name in type(table).model_fields:
        value = getattr(table, name)
        here: KeyPath = (*path, name)
        if isinstance(value, Settings):
            inner.append((here, value, False))
        elif isinstance(value, tuple) and value and all(isinstance(item, Settings) for item in value):
            inner += [((*here, index), item, True) for index, item in enumerate(value)]
        else:
            yield _line(name, value, document, here)
    for here, settings, array in inner:
        key = ".".join(str(part) for part in here if isinstance(part, str))
        yield f"\n[[{key}]]" if array else f"\n[{key}]"
        yield from _describe(settings, document, here)


def _line(name: str, value: object, document: Document, path: KeyPath) -> str:
    origin = document.origin(path)
    if document.holds(path):
        # As it was written: a key is shown as its text, not as the bytes it stands for.
        return f"{name} = {show(name, document.value(path))}  # {origin}"
    if value is None:
        return f"# {name} is not set"
    plain = isinstance(value, bool | int | float | tuple)
    return f"{name} = {show(name, value if plain else str(value))}  # {origin}"
