"""Certificates: an authority vouches for a responder's static key for some time (spec section 4.5.2).

74 bytes: version U16, valid_from U32, not_valid_after U32 (little-endian, unix seconds), BIP340 signature
over SHA256(those 10 bytes and the x-only static key).
"""

import struct
from dataclasses import dataclass

from protocols.bitcoin import secp256k1
from protocols.bitcoin.hashing import sha256
from protocols.noise.errors import (
    CertificateOutOfDate,
    CertificateUnsupported,
    HandshakeMalformed,
    WrongAuthority,
)

CERTIFICATE_SIZE = 74
VERSION = 0
LEEWAY = 10
BACKDATE = 3600
MAX_TIME = (1 << 32) - 1
TERMS = struct.Struct("<HII")


@dataclass(frozen=True, slots=True)
class Certificate:
    """The terms in unix seconds and the authority's signature."""

    version: int
    valid_from: int
    not_valid_after: int
    signature: bytes

    @classmethod
    def issue(
        cls, authority_secret: bytes, static: bytes, *, valid_from: int, not_valid_after: int, aux: bytes
    ) -> "Certificate":
        """Sign for a 32-byte x-only static key with 32 bytes of entropy; ends are clipped to U32."""
        terms = VERSION, max(0, valid_from), min(not_valid_after, MAX_TIME)
        signature = secp256k1.schnorr_sign(authority_secret, _digest(terms, static), aux)
        return cls(*terms, signature)

    @classmethod
    def parse(cls, data: bytes) -> "Certificate":
        """Read 74 bytes; raise HandshakeMalformed."""
        if len(data) != CERTIFICATE_SIZE:
            raise HandshakeMalformed(f"{len(data)} bytes are no certificate")
        version, valid_from, not_valid_after = TERMS.unpack_from(data)
        return cls(version, valid_from, not_valid_after, data[TERMS.size :])

    def pack(self) -> bytes:
        """Return the 74 bytes of the wire."""
        return TERMS.pack(self.version, self.valid_from, self.not_valid_after) + self.signature

    def verify(self, authority: bytes, static: bytes, now: int) -> None:
        """Check version, validity at unix second `now` within 10 s, and the signature under an x-only key.

        Raise CertificateUnsupported, CertificateOutOfDate, WrongAuthority.
        """
        if self.version != VERSION:
            raise CertificateUnsupported(f"the certificate has version {self.version}, known is {VERSION}")
        terms = self.version, self.valid_from, self.not_valid_after
        if not secp256k1.schnorr_verify(authority, _digest(terms, static), self.signature):
            raise WrongAuthority("the certificate is not signed by the expected authority key")
        if now + LEEWAY < self.valid_from:
            raise CertificateOutOfDate(f"the certificate begins to be valid in {self.valid_from - now} s")
        if now - LEEWAY > self.not_valid_after:
            raise CertificateOutOfDate(f"the certificate ran out {now - self.not_valid_after} s ago")


def _digest(terms: tuple[int, int, int], static: bytes) -> bytes:
    return sha256(TERMS.pack(*terms) + static)
