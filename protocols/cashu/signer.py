"""The curve work of a mint's request: all of its tokens in one call.

The native kernel has a twin of `PythonSigner` that does without the interpreter's lock.
"""

from collections.abc import Sequence
from typing import Protocol

from protocols.cashu import bdhke, dleq
from protocols.cashu.curve import hash_to_curve
from protocols.cashu.errors import MalformedError

SigningJob = tuple[bytes, bytes, bytes]
"""The private key (32 bytes), its public point in the whole form (65), and B_ (33)."""
CheckingJob = tuple[bytes, bytes, bytes]
"""The private key (32 bytes), a secret's UTF-8 text, and C (33)."""
Signed = tuple[bytes, bytes, bytes]
"""C_ (33 bytes), and e and s of its DLEQ proof (32 each)."""


class Signer(Protocol):
    """Signs and verifies, in constant time."""

    def sign(self, jobs: Sequence[SigningJob], /) -> list[Signed | None]:
        """The blind signature of each job with its proof (NUT-00, NUT-12), None for a B_ off the curve."""
        ...

    def verify(self, jobs: Sequence[CheckingJob], /) -> list[bytes | None]:
        """Y of each job whose C is the mint's signature, None for another."""
        ...


class PythonSigner:
    """The plain form, a token after the other."""

    def sign(self, jobs: Sequence[SigningJob], /) -> list[Signed | None]:
        """See `Signer`."""
        return [_sign(*job) for job in jobs]

    def verify(self, jobs: Sequence[CheckingJob], /) -> list[bytes | None]:
        """See `Signer`."""
        return [_verify(*job) for job in jobs]


def _sign(private_key: bytes, whole_key: bytes, blinded: bytes) -> Signed | None:
    try:
        signature, proof = dleq.sign(private_key, whole_key, blinded)
    except MalformedError:
        return None
    return signature, proof.e, proof.s


def _verify(private_key: bytes, secret: bytes, signature: bytes) -> bytes | None:
    point = hash_to_curve(secret)
    return point if bdhke.verify_point(private_key, point, signature) else None
