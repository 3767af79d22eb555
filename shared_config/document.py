"""A configuration file as read: its values, and for each where it came from."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli

from shared_config.errors import ConfigInvalid, Problem
from shared_config.toml_lines import KeyPath, key_lines, split_key

MAX_SIZE = 1 << 20
_SECRET = re.compile(r"pass(word|wd|phrase)?$|secret|seed|mnemonic|private|token$|credential", re.IGNORECASE)
_USERINFO = re.compile(r"(?<=://)[^/@\s]*@")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from: a line of a file, ``--set``, a credential, or the default of the program."""

    place: str
    line: int | None = None

    def __str__(self) -> str:
        return self.place if self.line is None else f"{self.place}:{self.line}"


DEFAULT = Origin("default")
COMMAND_LINE = Origin("--set")
CREDENTIAL = Origin("credential")


@dataclass(slots=True)
class Document:
    """The tables of one file with what the command line and credentials laid over them."""

    name: str
    data: dict[str, Any] = field(default_factory=dict)
    lines: dict[KeyPath, int] = field(default_factory=dict)
    laid_over: dict[KeyPath, tuple[Origin, str]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "Document":
        """Read a TOML file; raises ConfigInvalid with one problem when it is absent or no TOML."""
        name = str(path)
        try:
            with path.open("rb") as file:
                content = file.read(MAX_SIZE + 1)
            if len(content) > MAX_SIZE:
                raise ConfigInvalid([Problem(name, None, "", None, f"is larger than {MAX_SIZE} bytes")])
            text = content.decode("utf-8")
            return cls(name, tomli.loads(text), key_lines(text.replace("\r\n", "\n")))
        except tomli.TOMLDecodeError as error:
            reason = f"is not TOML: {error.msg}, at column {error.colno}"
            raise ConfigInvalid([Problem(name, error.lineno, "", None, reason)]) from error
        except UnicodeDecodeError as error:
            raise ConfigInvalid([Problem(name, None, "", None, "is not UTF-8 text")]) from error
        except (RecursionError, ValueError) as error:
            reason = f"cannot be read: {error}"
            raise ConfigInvalid([Problem(name, None, "", None, reason)]) from error
        except OSError as error:
            reason = f"cannot be read: {error.strerror}"
            raise ConfigInvalid([Problem(name, None, "", None, reason)]) from error

    def lay_over(self, key: str, value: object, origin: Origin, text: str) -> None:
        """Set a dotted key, as deep as needed; a number selects or adds an element of an array of tables.

        Raises ValueError when the key leads through something that is no table.
        """
        parts = split_key(key)
        path: KeyPath = ()
        container: Any = self.data
        for part, following in zip(parts, [*parts[1:], None], strict=True):
            place = _place(container, part, path)
            path = (*path, place)
            if following is None:
                container[place] = value
            else:
                if not self.holds(path):
                    container[place] = [] if following.isdecimal() else {}
                container = container[place]
        self.laid_over[path] = (origin, text)

    def origin(self, path: KeyPath) -> Origin:
        """Where the value at a path came from; a value inside another one has the place of that one."""
        if not self.holds(path):
            return DEFAULT
        return self._nearest(path) or Origin(self.name)

    def holds(self, path: KeyPath) -> bool:
        """Whether a value is given at a path."""
        try:
            self.value(path)
        except LookupError:
            return False
        return True

    def value(self, path: KeyPath) -> Any:
        """The value given at a path; raises LookupError when there is none."""
        value: Any = self.data
        for part in path:
            try:
                value = value[part]
            except TypeError as error:
                raise LookupError(part) from error
        return value

    def problem(self, path: KeyPath, reason: str, hint: str = "") -> Problem:
        """A problem with the value, or its absence, at a path."""
        origin = self._nearest(path)
        shown = None
        if path and self.holds(path):
            value = self.value(path)
            if not isinstance(value, Mapping):
                shown = show(key_text(path), value)
        if origin is None or origin.line is None:
            place = self.name if origin is None else f"{origin} over {self.name}"
            return Problem(place, None, key_text(path), shown, reason, hint)
        return Problem(origin.place, origin.line, key_text(path), shown, reason, hint)

    def _nearest(self, path: KeyPath) -> Origin | None:
        while path:
            if path in self.laid_over:
                return self.laid_over[path][0]
            if path in self.lines:
                return Origin(self.name, self.lines[path])
            path = path[:-1]
        return None


def _place(container: object, part: str, path: KeyPath) -> str | int:
    """The key or index that a part of a dotted key means in a container; an array grows by one element."""
    match container:
        case dict():
            return part
        case list() if part.isdecimal() and int(part) <= len(container):
            if int(part) == len(container):
                container.append({})
            return int(part)
        case list():
            raise ValueError(f"{part} does not number an element of the array {key_text(path)}")
        case _:
            raise ValueError(f"{key_text(path)} is not a table")


def key_text(path: KeyPath) -> str:
    """A path as people write it: ``issuers.0.identity``."""
    return ".".join(map(str, path))


MAX_SHOWN = 500
"""Characters of a text value that people are shown: a path in full, not a pasted file."""


def show(key: str, value: object) -> str:
    """A value as TOML-like text for people, without what may be secret."""
    if is_secret(key):
        return "<redacted>"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        text = _USERINFO.sub("<redacted>@", value)
        text = text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "..."
        return '"' + "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text) + '"'
    if isinstance(value, list | tuple):
        return "[" + ", ".join(show(key, item) for item in value) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name} = {show(str(name), item)}" for name, item in value.items()) + "}"
    return str(value)


def is_secret(key: str) -> bool:
    """Whether the value of a key is never shown; a key that names a file is shown."""
    name = key.rpartition(".")[2]
    return not name.endswith("_file") and _SECRET.search(name) is not None


def parse_override(text: str) -> tuple[str, object, str]:
    """Key, value and value's text of a ``key=value``; a value that is not TOML is text. Raises ValueError."""
    key, equals, value = text.partition("=")
    if not equals:
        raise ValueError("--set needs key=value")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("--set needs text in UTF-8") from None
    split_key(key.strip())
    try:
        parsed: object = tomli.loads(f"value = {value}")["value"]
    except (RecursionError, ValueError):
        parsed = value
    return key.strip(), parsed, value
