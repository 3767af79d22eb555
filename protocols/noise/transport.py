"""The encrypted stream: a sealed header of 22 bytes, then the payload in sealed chunks (spec section 4.6).

A chunk holds at most 65519 plaintext bytes and 16 of authentication. Header and chunks take one nonce each.
The header is 6 plaintext bytes whose last three are the payload's plaintext length, little-endian.
"""

from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from protocols.noise.errors import FrameForged, NonceExhausted
from protocols.noise.handshake import Session
from protocols.noise.symmetric import MAC_SIZE, NONCE

HEADER_SIZE = 6
SEALED_HEADER_SIZE = HEADER_SIZE + MAC_SIZE
CHUNK_SIZE = 65535 - MAC_SIZE
LAST_NONCE = (1 << 64) - 2


class Transport:
    """Both directions of one session.

    `limit` is called with each received header of 6 bytes before its payload is waited for, and raises to
    refuse it; what it raises passes through. At most one chunk is buffered undecrypted.
    """

    def __init__(self, session: Session, limit: Callable[[bytes], None]) -> None:
        self._encrypt = ChaCha20Poly1305(session.send_key).encrypt
        self._decrypt = ChaCha20Poly1305(session.receive_key).decrypt
        self._limit = limit
        self._send_nonce = 0
        self._receive_nonce = 0
        self._pending = bytearray()
        self._need = SEALED_HEADER_SIZE
        self._header = b""
        self._missing = 0
        self._chunks: list[bytes] = []

    def send(self, header: bytes, payload: bytes) -> bytes:
        """Seal one frame; raise NonceExhausted."""
        encrypt, nonce, pack = self._encrypt, self._send_nonce, NONCE.pack
        if nonce + len(payload) // CHUNK_SIZE + 2 > LAST_NONCE:
            raise NonceExhausted("no nonce is left to send with")
        sealed = [encrypt(pack(nonce), header, None)]
        for start in range(0, len(payload), CHUNK_SIZE):
            nonce += 1
            sealed.append(encrypt(pack(nonce), payload[start : start + CHUNK_SIZE], None))
        self._send_nonce = nonce + 1
        return b"".join(sealed)

    def receive(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """Take bytes as they arrive and return the (header, payload) of every frame that they complete.

        Raise FrameForged, NonceExhausted, or what the limit raises; the connection cannot go on after any.
        """
        pending = self._pending
        if pending:
            pending += data
            if len(pending) < self._need:
                return []
            data = bytes(pending)
            pending.clear()
        frames: list[tuple[bytes, bytes]] = []
        offset, end = 0, len(data)
        while end - offset >= self._need:
            start, offset = offset, offset + self._need
            plain = self._open(data[start:offset])
            if not self._header:
                self._begin(plain, frames)
            else:
                self._continue(plain, frames)
        if offset < end:
            pending += data[offset:]
        return frames

    def _open(self, sealed: bytes) -> bytes:
        nonce = self._receive_nonce
        if nonce > LAST_NONCE:
            raise NonceExhausted("no nonce is left to receive with")
        try:
            plain = self._decrypt(NONCE.pack(nonce), sealed, None)
        except InvalidTag as error:
            raise FrameForged("a frame does not authenticate") from error
        self._receive_nonce = nonce + 1
        return plain

    def _begin(self, header: bytes, frames: list[tuple[bytes, bytes]]) -> None:
        self._limit(header)
        size = int.from_bytes(header[3:], "little")
        if not size:
            frames.append((header, b""))
            return
        self._header = header
        self._missing = size
        self._need = (size if size < CHUNK_SIZE else CHUNK_SIZE) + MAC_SIZE

    def _continue(self, chunk: bytes, frames: list[tuple[bytes, bytes]]) -> None:
        self._missing -= len(chunk)
        if self._missing:
            self._chunks.append(chunk)
            self._need = min(self._missing, CHUNK_SIZE) + MAC_SIZE
            return
        if self._chunks:
            chunk = b"".join((*self._chunks, chunk))
            self._chunks.clear()
        frames.append((self._header, chunk))
        self._header = b""
        self._need = SEALED_HEADER_SIZE
