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
_LAST_OF_TWO = LAST_NONCE - 2
_pack = NONCE.pack
KEPT_FROM = 8
"""Nonces used in one direction at which its cipher is kept; a frame takes two."""

Seal = Callable[[bytes, bytes, bytes | None], bytes]


class Transport:
    """Both directions of one session.

    `limit` is called with the 6 bytes of a received header before its payload is waited for, and raises to
    refuse it; what it raises passes through. It is not asked again for a header like the one before. At most
    one chunk is buffered undecrypted.
    """

    __slots__ = (
        "_chunks", "_decrypt", "_encrypt", "_header", "_limit", "_missing", "_need", "_passed", "_pending",
        "_receive_key", "_receive_nonce", "_send_key", "_send_nonce", "_usual",
    )  # fmt: skip

    def __init__(self, session: Session, limit: Callable[[bytes], None]) -> None:
        self._send_key, self._receive_key = session.send_key, session.receive_key
        self._encrypt: Seal | None = None
        self._decrypt: Seal | None = None
        self._limit = limit
        self._send_nonce = 0
        self._receive_nonce = 0
        # A connection that says nothing needs neither.
        self._pending: bytearray | None = None
        self._need = SEALED_HEADER_SIZE
        self._header = b""
        self._passed = b""
        self._missing = 0
        self._usual = -1
        """Size of the last frame, sealed, if its payload was one chunk with nothing behind it, else -1."""
        self._chunks: tuple[bytes, ...] = ()

    def send(self, header: bytes, payload: bytes) -> bytes:
        """Seal one frame; raise NonceExhausted."""
        encrypt, nonce = self._encrypt or self._encryptor(), self._send_nonce
        size = len(payload)
        if 0 < size < CHUNK_SIZE and nonce <= _LAST_OF_TWO:
            self._send_nonce = nonce + 2
            return encrypt(_pack(nonce), header, None) + encrypt(_pack(nonce + 1), payload, None)
        if nonce + size // CHUNK_SIZE + 2 > LAST_NONCE:
            raise NonceExhausted("no nonce is left to send with")
        sealed = [encrypt(_pack(nonce), header, None)]
        for start in range(0, size, CHUNK_SIZE):
            nonce += 1
            sealed.append(encrypt(_pack(nonce), payload[start : start + CHUNK_SIZE], None))
        self._send_nonce = nonce + 1
        return b"".join(sealed)

    def receive(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """Take bytes as they arrive and return the (header, payload) of every frame that they complete.

        Raise FrameForged, NonceExhausted, or what the limit raises; the connection cannot go on after any.
        """
        decrypt, nonce = self._decrypt, self._receive_nonce
        # A frame that comes alone and has the header of the one before, as shares have: no loop.
        if len(data) == self._usual and decrypt is not None and nonce < LAST_NONCE:
            try:
                header = decrypt(_pack(nonce), data[:SEALED_HEADER_SIZE], None)
                if header == self._passed:
                    payload = decrypt(_pack(nonce + 1), data[SEALED_HEADER_SIZE:], None)
                    self._receive_nonce = nonce + 2
                    return [(header, payload)]
            except InvalidTag as error:
                raise FrameForged("a frame does not authenticate") from error
        if decrypt is None:
            decrypt = self._decryptor()
        return self._receive_any(data, decrypt)

    def _receive_any(self, data: bytes, decrypt: Seal) -> list[tuple[bytes, bytes]]:
        pending = self._pending
        if pending:
            pending += data
            if len(pending) < self._need:
                return []
            data = bytes(pending)
            self._pending = None
        frames: list[tuple[bytes, bytes]] = []
        nonce = self._receive_nonce
        need, header = self._need, self._header
        offset, end, usual = 0, len(data), -1
        # Written out in one loop: at a frame a few microseconds, a call more a piece would be felt.
        try:
            while end - offset >= need:
                start, offset = offset, offset + need
                if nonce > LAST_NONCE:
                    raise NonceExhausted("no nonce is left to receive with")
                plain = decrypt(_pack(nonce), data[start:offset], None)
                nonce += 1
                if not header:
                    if plain != self._passed:
                        self._limit(plain)
                        self._passed = plain
                    usual = -1
                    missing = self._missing = int.from_bytes(plain[3:], "little")
                    if missing:
                        header = plain
                        need = (missing if missing < CHUNK_SIZE else CHUNK_SIZE) + MAC_SIZE
                    else:
                        frames.append((plain, b""))
                elif self._missing > need - MAC_SIZE:
                    need = self._keep_chunk(plain)
                else:
                    if self._chunks:
                        plain = self._join_chunks(plain)
                    else:
                        usual = SEALED_HEADER_SIZE + need
                    frames.append((header, plain))
                    header, need = b"", SEALED_HEADER_SIZE
        except InvalidTag as error:
            raise FrameForged("a frame does not authenticate") from error
        self._receive_nonce, self._need, self._header = nonce, need, header
        self._usual = usual if offset == end else -1
        if offset < end:
            self._pending = bytearray(data[offset:])
        return frames

    def _encryptor(self) -> Seal:
        """A cipher of two kilobytes is kept from a session's fifth frame on; many have no more than their
        set-up.
        """
        encrypt = ChaCha20Poly1305(self._send_key).encrypt
        if self._send_nonce >= KEPT_FROM:
            self._encrypt = encrypt
        return encrypt

    def _decryptor(self) -> Seal:
        decrypt = ChaCha20Poly1305(self._receive_key).decrypt
        if self._receive_nonce >= KEPT_FROM:
            self._decrypt = decrypt
        return decrypt

    def _keep_chunk(self, chunk: bytes) -> int:
        self._chunks = (*self._chunks, chunk)
        self._missing -= len(chunk)
        return min(self._missing, CHUNK_SIZE) + MAC_SIZE

    def _join_chunks(self, last: bytes) -> bytes:
        chunks, self._chunks = self._chunks, ()
        return b"".join((*chunks, last))
