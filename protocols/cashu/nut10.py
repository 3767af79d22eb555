"""Secrets that carry a spending condition (NUT-10): ["KIND", {"nonce", "data", "tags"}] as JSON text.

A secret that does not parse this way is an ordinary secret, spent by whoever knows it.
"""

import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConditionSecret:
    """The parts of a secret with a condition; what they mean depends on `kind`."""

    kind: str
    nonce: str
    data: str
    tags: tuple[tuple[str, ...], ...] = ()

    def to_text(self) -> str:
        """The secret as a proof carries it."""
        body: dict[str, object] = {"nonce": self.nonce, "data": self.data}
        body["tags"] = [list(tag) for tag in self.tags]
        return json.dumps([self.kind, body], separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def parse(cls, secret: str) -> "ConditionSecret | None":
        """The condition in a secret, or None for an ordinary one; raises nothing."""
        if not secret.lstrip(" \t\r\n").startswith("["):
            return None
        try:
            parsed: object = json.loads(secret)
        except (ValueError, RecursionError):
            return None
        match parsed:
            case [str(kind), {"nonce": str(nonce), "data": str(data), **rest}]:
                tags = rest.get("tags")
            case _:
                return None
        if tags is None:
            return cls(kind, nonce, data)
        if not isinstance(tags, list):
            return None
        for tag in tags:
            if (
                not isinstance(tag, list)
                or not tag
                or not all(isinstance(item, str) and item for item in tag)
            ):
                return None
        return cls(kind, nonce, data, tuple(tuple(tag) for tag in tags))
