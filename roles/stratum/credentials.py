"""What user names and passwords of SV1 miners hold beside names: ways of writing, and wishes."""

import re
from fractions import Fraction

from protocols.sv1 import fields

__all__ = ["as_written", "asked_difficulty"]

_OPTIONS = re.compile(r"[\s,;]+")
_ENCODED = re.compile(r"%([2-6][0-9A-Fa-f]|7[0-9A-Ea-e])")
"""Printable ASCII, percent-encoded."""
_DIFFICULTY = ("d=", "diff=")


def as_written(user: str) -> str:
    """A user name as a person wrote it: Whatsminer sends what is no letter or digit as %2E and the like."""
    return _ENCODED.sub(lambda found: chr(int(found[1], 16)), user)


def asked_difficulty(password: str) -> Fraction | None:
    """The least difficulty that a password asks for, None for none."""
    for option in _OPTIONS.split(password):
        for name in _DIFFICULTY:
            if option.startswith(name):
                return fields.difficulty(option.removeprefix(name))
    return None
