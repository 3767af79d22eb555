"""Secrets, blinding factors and quote keys from a wallet's seed (NUT-13, NUT-20), so that words alone restore
everything.

The seed is the 64 bytes of BIP39. A counter is used once: store it before use.
"""

from dataclasses import dataclass, field

from protocols.bitcoin.bip32 import HARDENED, ExtendedSecret
from protocols.bitcoin.hashing import hmac_sha256
from protocols.bitcoin.secp256k1 import ORDER

_DOMAIN = b"Cashu_KDF_HMAC_SHA256"
_V1_MODULUS = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class Derived:
    """The secret text of one proof and the 32-byte factor that blinds it."""

    secret: str = field(repr=False)
    blinding: bytes = field(repr=False)


class SecretSource:
    """The secrets of one keyset, by counter."""

    def __init__(self, seed: bytes, keyset_id: str) -> None:
        self._seed = seed
        self._raw_id = bytes.fromhex(keyset_id)
        self._branch: ExtendedSecret | None = None
        if keyset_id.startswith("00"):
            index = int.from_bytes(self._raw_id, "big") % _V1_MODULUS
            self._branch = ExtendedSecret.from_seed(seed).derive(f"m/129372'/0'/{index}'")

    def derive(self, counter: int) -> Derived:
        """Secret and blinding factor at `counter`: BIP32 for version 1 ids, HMAC-SHA256 for version 2."""
        if self._branch is not None:
            node = self._branch.child(HARDENED + counter)
            return Derived(node.child(0).secret.hex(), node.child(1).secret)
        prefix = _DOMAIN + self._raw_id + counter.to_bytes(8, "big")
        blinding = int.from_bytes(hmac_sha256(self._seed, prefix, b"\x01"), "big") % ORDER
        return Derived(hmac_sha256(self._seed, prefix, b"\x00").hex(), blinding.to_bytes(32, "big"))


class QuoteKeySource:
    """The keys that lock quotes, by one counter for all mints and units: m/129373'/20'/0'/0'/n."""

    def __init__(self, seed: bytes) -> None:
        self._branch = ExtendedSecret.from_seed(seed).derive("m/129373'/20'/0'/0'")
        self._point = self._branch.point

    def secret(self, counter: int) -> bytes:
        """The private key at `counter`, 32 bytes."""
        return self._branch.child_secret(counter, self._point)
