"""Bytes to lines, with a bound.

A line ends at LF; CR and spaces around it are dropped and empty lines skipped. A line above the limit
becomes one `Overlong` event and is skipped up to its LF, so that one bad line costs a miner one line and
not the connection. The first bytes of a connection are looked at once, to tell a stray HTTP, TLS, SV2 or
PROXY peer from a miner.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from protocols.sv1.errors import WrongProtocolError

__all__ = ["DOWNSTREAM_LIMIT", "UPSTREAM_LIMIT", "LineSplitter", "Overlong"]

DOWNSTREAM_LIMIT: Final = 8 * 1024
"""Longest line taken from a miner, in bytes."""
UPSTREAM_LIMIT: Final = 64 * 1024
"""Longest line taken from a pool, in bytes; fat coinbases make long notifies."""

_HEAD = 64
_PREFIXES: Final = (
    (b"\x16\x03", "TLS"),
    (b"PROXY ", "PROXY"),
    (b"\r\n\r\n\x00\r\nQUIT\n", "PROXY"),
    (b"GET ", "HTTP"),
    (b"POST ", "HTTP"),
    (b"HEAD ", "HTTP"),
    (b"PUT ", "HTTP"),
    (b"DELETE ", "HTTP"),
    (b"OPTIONS ", "HTTP"),
    (b"CONNECT ", "HTTP"),
    (b"PRI * HTTP/2", "HTTP"),
)
_CONTROL = frozenset(range(0x20)) - frozenset(b"\t\r\n")


@dataclass(frozen=True, slots=True)
class Overlong:
    """A line above the limit was skipped."""


class LineSplitter:
    """Cuts one connection's bytes into lines of at most `limit` bytes."""

    __slots__ = ("_buffer", "_head", "_limit", "_skipping")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = b""
        self._skipping = False
        self._head: bytes | None = b""

    @property
    def is_within_line(self) -> bool:
        """Whether a line has begun that has not ended."""
        return self._skipping or bool(self._buffer)

    @property
    def is_between_lines(self) -> bool:
        """Whether what comes next begins a line, as did what was seen to be of the right protocol."""
        return self._head is None and not self.is_within_line

    @property
    def limit(self) -> int:
        """The longest line."""
        return self._limit

    def receive(self, data: bytes) -> list[bytes | Overlong]:
        """Lines completed by `data`, in order and without their ends; what stays buffered is within the
        limit.

        Raises WrongProtocolError, on the first bytes only.
        """
        if self._head is not None:
            self._inspect(data)
        events: list[bytes | Overlong] = []
        *complete, rest = data.split(b"\n")
        for piece in complete:
            self._end_line(self._buffer + piece if self._buffer else piece, events)
        if self._skipping:
            return events
        self._buffer += rest
        if len(self._buffer) > self._limit:
            self._buffer = b""
            self._skipping = True
            events.append(Overlong())
        return events

    def lone(self, data: bytes) -> bytes | None:
        """The line that `data` is, without its end, where it is one whole line and nothing came before of
        which a part is kept; None for anything else, which `receive` takes.
        """
        if self._head is not None or self._buffer or self._skipping or len(data) > self._limit:
            return None
        return (data.strip() or None) if data.find(b"\n") == len(data) - 1 else None

    def _end_line(self, line: bytes, events: list[bytes | Overlong]) -> None:
        self._buffer = b""
        if self._skipping:
            self._skipping = False
        elif len(line) > self._limit:
            events.append(Overlong())
        elif line := line.strip():
            events.append(line)

    def _inspect(self, data: bytes) -> None:
        head = (self._head or b"") + data[:_HEAD]
        for prefix, protocol in _PREFIXES:
            if head.startswith(prefix):
                raise WrongProtocolError(protocol)
        # JSON text has no control bytes; the 64 random bytes that open an SV2 handshake lack them once in
        # 2,500 times, and then end as a line that is not JSON.
        if not _CONTROL.isdisjoint(head[:_HEAD]):
            raise WrongProtocolError("SV2 or another binary protocol")
        self._head = None if len(head) >= _HEAD or b"\n" in head else head
