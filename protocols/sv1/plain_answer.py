"""The answer that a pool gives to most shares, read in one go."""

from __future__ import annotations

from typing import Final

import orjson

__all__ = ["read_plain_yes"]

_UNUSUAL: Final = ("error", "reject-reason", "method")


def read_plain_yes(line: bytes) -> int | None:
    """The id, a whole number, of an answer that says yes; None for any other line.

    `parse` knows them all, and makes the same of this one.
    """
    try:
        fields = orjson.loads(line)
    except ValueError:
        return None
    if type(fields) is not dict or fields.get("result") is not True:
        return None
    for name in _UNUSUAL:
        if fields.get(name) is not None:
            return None
    id = fields.get("id")
    return id if type(id) is int else None
