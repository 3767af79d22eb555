"""The running state of a handshake: chaining key, transcript hash, current key (Noise section 5.2)."""

import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from protocols.bitcoin.hashing import hmac_sha256, sha256
from protocols.noise.errors import HandshakeForged

PROTOCOL_NAME = b"Noise_NX_Secp256k1+EllSwift_ChaChaPoly_SHA256"
NONCE = struct.Struct("<4xQ")
MAC_SIZE = 16


class SymmetricState:
    """Chaining key and transcript hash, 32 bytes each, from the start of a handshake to its split."""

    def __init__(self) -> None:
        self.chaining_key = sha256(PROTOCOL_NAME)
        self.hash = sha256(self.chaining_key)
        self._cipher: ChaCha20Poly1305 | None = None
        self._nonce = 0

    def mix_hash(self, data: bytes) -> None:
        """Add bytes to the transcript."""
        self.hash = sha256(self.hash + data)

    def mix_key(self, material: bytes) -> None:
        """Derive the next chaining key and cipher key from a shared secret."""
        self.chaining_key, key = _hkdf(self.chaining_key, material)
        self._cipher = ChaCha20Poly1305(key)
        self._nonce = 0

    def encrypt_and_hash(self, plain: bytes) -> bytes:
        """Encrypt under the transcript, if a key is there yet, and add the result to it."""
        cipher = self._cipher
        sealed = plain if cipher is None else cipher.encrypt(NONCE.pack(self._nonce), plain, self.hash)
        self._advance(sealed)
        return sealed

    def decrypt_and_hash(self, sealed: bytes) -> bytes:
        """The reverse of encrypt_and_hash; raise HandshakeForged."""
        cipher = self._cipher
        try:
            plain = sealed if cipher is None else cipher.decrypt(NONCE.pack(self._nonce), sealed, self.hash)
        except InvalidTag as error:
            raise HandshakeForged("the handshake does not authenticate") from error
        self._advance(sealed)
        return plain

    def split(self) -> tuple[bytes, bytes]:
        """Return the transport keys, initiator to responder first."""
        return _hkdf(self.chaining_key, b"")

    def _advance(self, sealed: bytes) -> None:
        self.mix_hash(sealed)
        self._nonce += 1


def _hkdf(chaining_key: bytes, material: bytes) -> tuple[bytes, bytes]:
    temporary = hmac_sha256(chaining_key, material)
    first = hmac_sha256(temporary, b"\x01")
    return first, hmac_sha256(temporary, first, b"\x02")
