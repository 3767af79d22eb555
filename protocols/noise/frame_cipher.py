"""What seals and opens the frames of one session: the interface of `transport.Transport` and its native twin.

A frame is its header of 6 bytes and its payload, both in plaintext.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from protocols.noise.handshake import Session
from protocols.noise.transport import Transport

Limit = Callable[[bytes], None]
"""Raises to refuse a header of 6 bytes. It judges by type and size alone, and refuses no payload that is
smaller than one of the same type that it has let pass: it need not be asked again about such a one.
"""


class FrameCipher(Protocol):
    """Both directions of one session; after an error the connection cannot go on."""

    def send(self, header: bytes, payload: bytes, /) -> bytes:
        """Seal one frame; raise NonceExhausted."""
        ...

    def send_many(self, frames: Sequence[tuple[bytes, bytes]], /) -> bytes:
        """Seal frames into one piece; raise NonceExhausted, and then nothing is sealed."""
        ...

    def receive(self, data: bytes, /) -> list[tuple[bytes, bytes]]:
        """The frames that these bytes complete; raise FrameForged, NonceExhausted, or what the limit does."""
        ...


CipherMaker = Callable[[Session, Limit], FrameCipher]


class PythonCipher(Transport):
    """The stream by the cryptography package."""

    __slots__ = ()

    def send_many(self, frames: Sequence[tuple[bytes, bytes]], /) -> bytes:
        """Seal frames into one piece."""
        send = self.send
        return b"".join([send(header, payload) for header, payload in frames])
