"""One peer's TLS, as bytes in and bytes out; the socket is somebody else's."""

import ssl
from typing import Final

from roles.runtime.errors import TlsFailed

__all__ = ["CLIENT_HELLO", "TlsLayer"]

CLIENT_HELLO: Final = b"\x16"
"""What a peer that speaks TLS begins with, and a line of text never."""
_CHUNK = 1 << 16


class TlsLayer:
    """The server's side of one connection.

    `outgoing` is to be sent after each call of another method, also after one that raised.
    """

    __slots__ = ("_cipher", "_incoming", "_outgoing", "has_ended", "is_established")

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._cipher = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.is_established = False
        self.has_ended = False
        """Whether the peer has said that nothing more comes."""

    def receive(self, data: bytes) -> bytes:
        """What the peer said in clear, perhaps nothing yet; raises TlsFailed."""
        self._incoming.write(data)
        clear = []
        try:
            if not self.is_established:
                self._cipher.do_handshake()
                self.is_established = True
            while piece := self._cipher.read(_CHUNK):
                clear.append(piece)
            self.has_ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.has_ended = True
        except ssl.SSLError as error:
            raise TlsFailed(error.reason or str(error)) from error
        return b"".join(clear)

    def send(self, clear: bytes) -> bytes:
        """The bytes on the wire for these in clear; only once it is established. Raises TlsFailed."""
        try:
            self._cipher.write(clear)
        except ssl.SSLError as error:
            raise TlsFailed(error.reason or str(error)) from error
        return self.outgoing()

    def end(self) -> bytes:
        """What tells the peer that nothing more comes."""
        try:
            self._cipher.unwrap()
        except ssl.SSLError:
            # It wants the peer's own end, for which nobody waits; or there was no handshake.
            pass
        return self.outgoing()

    def outgoing(self) -> bytes:
        """What has to be sent now."""
        return self._outgoing.read()
