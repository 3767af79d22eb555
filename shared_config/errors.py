"""Errors of the configuration.

::

    ConfigError
    └── ConfigInvalid    everything that is wrong with a daemon's configuration, as a list of problems
"""

from collections.abc import Iterable
from dataclasses import dataclass


class ConfigError(Exception):
    """Root of the configuration's errors."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where it stands, which key, its value as text, why, and the cure."""

    file: str
    line: int | None
    key: str
    value: str | None
    reason: str
    hint: str = ""

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        subject = self.key if self.value is None else f"{self.key} = {self.value}"
        text = f"{place}: {subject}: {self.reason}" if subject else f"{place}: {self.reason}"
        return f"{text} ({self.hint})" if self.hint else text


class ConfigInvalid(ConfigError):
    """A configuration that no daemon starts with; ``problems`` are all of its faults."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))
