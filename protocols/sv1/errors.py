"""Everything that Stratum V1 input can raise.

Sv1Error
├── WrongProtocolError    the peer speaks HTTP, TLS, SV2 or PROXY: close, say nothing
└── Rejection             has a wire code and is said to the peer
    └── MalformedError    the line is no message; carries the id to answer under, or null
"""

from __future__ import annotations

from enum import IntEnum

__all__ = ["ErrorCode", "MalformedError", "Rejection", "Sv1Error", "WrongProtocolError"]


class ErrorCode(IntEnum):
    """First element of an SV1 error array."""

    OTHER = 20
    JOB_NOT_FOUND = 21
    DUPLICATE = 22
    LOW_DIFFICULTY = 23
    UNAUTHORIZED = 24
    NOT_SUBSCRIBED = 25
    UNKNOWN_METHOD = -3


class Sv1Error(Exception):
    """Root of what this package raises."""


class WrongProtocolError(Sv1Error):
    """The first bytes of a connection belong to another protocol, named in `protocol`."""

    def __init__(self, protocol: str) -> None:
        super().__init__(f"the peer speaks {protocol}, not Stratum V1")
        self.protocol = protocol


class Rejection(Sv1Error):
    """A refusal as it stands on the wire: `[code, text, null]`."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"[{code}] {text}")
        self.code = code
        self.text = text


class MalformedError(Rejection):
    """A line that is not JSON or not a message; `id` is the JSON text of the id to answer under."""

    def __init__(self, text: str, id: bytes = b"null") -> None:
        super().__init__(ErrorCode.OTHER, text)
        self.id = id
