"""Answers with a form of their own: to mining.subscribe and mining.configure, built and read."""

from __future__ import annotations

from dataclasses import dataclass

from protocols.sv1 import fields
from protocols.sv1.errors import MalformedError

__all__ = ["Subscription", "read_subscription", "read_version_mask", "subscription"]

_EXTRANONCE = 32


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a pool grants on subscribe: its part of the extranonce, and the bytes that are the miner's."""

    extranonce1: bytes
    extranonce2_size: int
    session: str


def subscription(granted: Subscription) -> list[object]:
    """The result of mining.subscribe; its `mining.notify` is what Bitaxe's failback probe looks for."""
    return [
        [["mining.set_difficulty", granted.session], ["mining.notify", granted.session]],
        granted.extranonce1.hex(),
        granted.extranonce2_size,
    ]


def read_subscription(result: object) -> Subscription:
    """A pool's answer to mining.subscribe: an extranonce of at most 32 bytes; raises MalformedError."""
    if not isinstance(result, list) or len(result) < 3:
        raise MalformedError("Subscription too short")
    extranonce1 = fields.hex_bytes(result[1])
    size = result[2]
    if extranonce1 is None or type(size) is not int or size < 0 or len(extranonce1) + size > _EXTRANONCE:
        raise MalformedError("Subscription without an extranonce")
    return Subscription(extranonce1, size, _session(result[0]))


def read_version_mask(result: object) -> int:
    """The mask that a pool's answer to mining.configure grants, 0 if it grants none."""
    if not isinstance(result, dict) or result.get("version-rolling") is not True:
        return 0
    return fields.u32(result.get("version-rolling.mask")) or 0


def _session(subscriptions: object) -> str:
    """The id beside `mining.notify`, in either of the two nestings in use, empty if there is none."""
    pairs = subscriptions if isinstance(subscriptions, list) else []
    if pairs and isinstance(pairs[0], str):
        pairs = [pairs]
    for pair in pairs:
        if (
            isinstance(pair, list)
            and len(pair) > 1
            and pair[0] == "mining.notify"
            and isinstance(pair[1], str)
        ):
            return pair[1]
    return ""
