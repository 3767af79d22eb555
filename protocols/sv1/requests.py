"""What a miner asks: the parameters of its methods, read as tolerantly as the field needs.

The readers take the params of a `Call` and raise Rejection with the wire code to answer, and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from protocols.sv1 import fields
from protocols.sv1.errors import ErrorCode, Rejection

__all__ = [
    "Authorize",
    "Configure",
    "Submit",
    "Subscribe",
    "read_authorize",
    "read_configure",
    "read_submit",
    "read_subscribe",
    "read_suggest_difficulty",
    "read_suggest_target",
]

_DIFFICULTY_ONE: Final = 0xFFFF << 208
_EXTENSIONS = 16
_TEXT = 256
_SUBMIT_TEXT = 64


@dataclass(frozen=True, slots=True)
class Configure:
    """mining.configure (BIP310): the extensions asked for, in order, and their parameters.

    `mask` is the version mask asked for, all ones if none was; `minimum_difficulty` a floor; `info` free text
    about the device.
    """

    extensions: tuple[str, ...]
    mask: int
    minimum_difficulty: Fraction | None
    info: dict[str, str]


@dataclass(frozen=True, slots=True)
class Subscribe:
    """mining.subscribe: who the client says it is, and the session it would resume (empty if none)."""

    user_agent: str
    session: str


@dataclass(frozen=True, slots=True)
class Authorize:
    """mining.authorize; the password may hold settings or a key and stays out of logs."""

    user: str
    password: str

    def __repr__(self) -> str:
        return f"Authorize(user={self.user!r}, password=…)"


@dataclass(frozen=True, slots=True)
class Submit:
    """mining.submit: numbers as integers, `extranonce2` raw bytes, `version_bits` 0 where absent."""

    user: str
    job_id: str
    extranonce2: bytes
    ntime: int
    nonce: int
    version_bits: int


def read_configure(params: list[Any]) -> Configure:
    """Never refuses: what cannot be read counts as not asked for."""
    names = params[0] if params and isinstance(params[0], list) else []
    options = params[1] if len(params) > 1 and isinstance(params[1], dict) else {}
    extensions = tuple(dict.fromkeys(name for name in names[:_EXTENSIONS] if isinstance(name, str)))
    mask = fields.u32(options.get("version-rolling.mask"))
    info = {
        name: _clean(value)
        for name in ("connection-url", "hw-version", "sw-version", "hw-id")
        if isinstance(value := options.get(f"info.{name}"), str)
    }
    return Configure(
        extensions,
        0xFFFFFFFF if mask is None else mask,
        fields.difficulty(options.get("minimum-difficulty.value")),
        info,
    )


def read_subscribe(params: list[Any]) -> Subscribe:
    """Never refuses: both parameters are optional and further ones (host, port) are ignored."""
    agent = fields.text(params[0]) if params else None
    session = fields.text(params[1]) if len(params) > 1 else None
    return Subscribe(_clean(agent or ""), _clean(session or ""))


def read_authorize(params: list[Any]) -> Authorize:
    """User and optional password; a missing user is refused."""
    user = fields.text(params[0]) if params else None
    if user is None:
        raise Rejection(ErrorCode.OTHER, "No user name")
    password = fields.text(params[1]) if len(params) > 1 else None
    return Authorize(_encodable(user), _encodable(password or ""))


def read_submit(params: list[Any]) -> Submit:
    """Five or six parameters; hex need not be padded, and a missing or empty sixth means no rolled bits."""
    if len(params) < 5:
        raise Rejection(ErrorCode.OTHER, "Too few parameters")
    user = fields.text(params[0])
    job_id = fields.text(params[1])
    extranonce2 = fields.hex_bytes(params[2])
    ntime = fields.u32(params[3])
    nonce = fields.u32(params[4])
    rolled = params[5] if len(params) > 5 else None
    version_bits = 0 if rolled is None or rolled == "" else fields.u32(rolled)
    if user is None:
        raise Rejection(ErrorCode.OTHER, "Invalid user name")
    if job_id is None or len(job_id) > _SUBMIT_TEXT:
        raise Rejection(ErrorCode.JOB_NOT_FOUND, "Job not found")
    if extranonce2 is None:
        raise Rejection(ErrorCode.OTHER, "Invalid extranonce2")
    if ntime is None:
        raise Rejection(ErrorCode.OTHER, "Invalid ntime")
    if nonce is None:
        raise Rejection(ErrorCode.OTHER, "Invalid nonce")
    if version_bits is None:
        raise Rejection(ErrorCode.OTHER, "Invalid version bits")
    return Submit(user, job_id, extranonce2, ntime, nonce, version_bits)


def read_suggest_difficulty(params: list[Any]) -> Fraction | None:
    """The difficulty suggested, None for one that cannot be meant (0, negative, NaN, text)."""
    return fields.difficulty(params[0]) if params else None


def read_suggest_target(params: list[Any]) -> Fraction | None:
    """A suggested target of 64 big-endian hex digits as a difficulty, None if it is none."""
    target = fields.hex_bytes(params[0]) if params else None
    if target is None or len(target) != 32 or not any(target):
        return None
    return Fraction(_DIFFICULTY_ONE, int.from_bytes(target, "big"))


def _clean(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text[:_TEXT])


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")
