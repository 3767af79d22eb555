"""The mint's seed, and the keys that it holds besides the keysets."""

from dataclasses import dataclass, field

from protocols.bitcoin.hashing import hmac_sha256, sha256
from protocols.bitcoin.secp256k1 import is_secret, public_key

SEED_SIZE = 32
_DOMAIN = b"hashpool/mint/"


@dataclass(frozen=True, slots=True)
class MintSeed:
    """32 secret bytes from which everything that the mint signs with is derived."""

    raw: bytes = field(repr=False)

    @property
    def fingerprint(self) -> bytes:
        """Names the seed in the store without telling it, 16 bytes."""
        return sha256(_DOMAIN + b"fingerprint/v1" + self.raw)[:16]

    @property
    def quote_secret(self) -> bytes:
        """The private key by which ids of share quotes are made (`quote_key` in /v1/info)."""
        return self._secret(b"quote/v1")

    @property
    def info_key(self) -> bytes:
        """The public key that names the mint (`pubkey` in /v1/info), 33 bytes."""
        return public_key(self._secret(b"info/v1"))

    @property
    def cursor_key(self) -> bytes:
        """What authenticates the cursors of look-ups, 32 bytes."""
        return hmac_sha256(self.raw, _DOMAIN, b"cursor/v1")

    def _secret(self, purpose: bytes) -> bytes:
        attempt = 0
        while not is_secret(candidate := hmac_sha256(self.raw, _DOMAIN, purpose, bytes((attempt,)))):
            attempt += 1
        return candidate
