"""client.reconnect: where a pool would have us go, and whether it may.

A pool sends its miners elsewhere within its own domain only; whoever can write into the connection could
else take all work with one line.
"""

import ipaddress
from dataclasses import dataclass
from typing import Any, Final

from protocols.sv1 import fields
from protocols.sv1.errors import MalformedError

__all__ = ["Redirect", "is_same_domain", "read_reconnect"]

LONGEST_WAIT_S: Final = 600
_HOST = 253
_SHORT = 3


@dataclass(frozen=True, slots=True)
class Redirect:
    """Connect anew after `wait` seconds; host and port are None where they stay as they are."""

    host: str | None
    port: int | None
    wait: int


def read_reconnect(params: list[Any]) -> Redirect:
    """Three optional params, the port as a number or its text; raises MalformedError."""
    told: list[Any] = [*params, None, None, None]
    host, port, wait = told[0], told[1], told[2]
    if host is not None and not (isinstance(host, str) and _is_host(host)):
        raise MalformedError("No host to reconnect to")
    number = _number(port)
    if port is not None and (number is None or not 0 < number < 1 << 16):
        raise MalformedError("No port to reconnect to")
    seconds = _number(wait) or 0
    return Redirect(host or None, number, max(0, min(seconds, LONGEST_WAIT_S)))


def is_same_domain(host: str, other: str) -> bool:
    """Whether `other` is `host`, a name below it, or a name beside it in a domain of its own.

    Addresses are only themselves, and so are names right below a suffix that is everybody's.
    """
    host, other = (each.lower().rstrip(".") for each in (host, other))
    if host == other:
        return True
    if _is_address(host) or _is_address(other) or "." not in host:
        return False
    parent = host.partition(".")[2]
    return other.endswith(f".{host}") or (not _is_public(parent) and other.endswith(f".{parent}"))


def _is_public(suffix: str) -> bool:
    """Whether names right below a suffix belong to different people: `com`, and `co.uk` by its looks."""
    labels = suffix.split(".")
    return len(labels) < 2 or (len(labels) == 2 and len(labels[1]) == 2 and len(labels[0]) <= _SHORT)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_host(text: str) -> bool:
    return len(text) <= _HOST and all(c.isascii() and (c.isalnum() or c in "-._:") for c in text)


def _number(value: object) -> int | None:
    text = fields.text(value)
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 9 else None
