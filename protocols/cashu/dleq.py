"""Discrete log equality proofs (NUT-12): the mint signed with the key that it published.

The nonce is deterministic, so that the same signature always carries the same proof: r = HMAC-SHA256(a,
"Cashu_DLEQ_R_v1" ‖ A ‖ B' ‖ C' ‖ counter) over uncompressed raw points. All scalar arithmetic is the
library's, in constant time.
"""

import hmac

from protocols.bitcoin.errors import CurveError, PointError
from protocols.bitcoin.hashing import hmac_sha256, sha256
from protocols.bitcoin.secp256k1 import (
    ORDER,
    add,
    compressed,
    is_secret,
    multiply,
    multiply_secret,
    multiply_secret_whole,
    public_key,
    public_key_whole,
    secret_add,
    secret_multiply,
    uncompressed,
)
from protocols.cashu.curve import secret_point
from protocols.cashu.errors import MalformedError
from protocols.cashu.models import Dleq, Proof

_NONCE_DOMAIN = b"Cashu_DLEQ_R_v1"


def challenge(*points: bytes) -> bytes:
    """e: SHA-256 of the lower-case hex of the uncompressed points R1, R2, K, C_ (32 bytes, not reduced)."""
    return _challenge(*map(uncompressed, points))


def nonce(private_key: bytes, public: bytes, blinded: bytes, signature: bytes, counter: int = 0) -> bytes:
    """r of a signature, 32 bytes; `counter` is where the search begins."""
    return _nonce(private_key, b"".join(map(uncompressed, (public, blinded, signature))), counter)


def sign(private_key: bytes, whole_key: bytes, blinded: bytes) -> tuple[bytes, Dleq]:
    """C_ = aB_ with its proof, for the whole form of A = aG; raises MalformedError for a B_ off the curve.

    What `bdhke.sign` and `prove` give, at less cost: the square root of B_ is taken once.
    """
    try:
        whole_blinded = uncompressed(blinded)
    except PointError as error:
        raise MalformedError(f"B_: {error}") from None
    signature = multiply_secret_whole(whole_blinded, private_key)
    return compressed(signature), _prove(private_key, whole_key, whole_blinded, signature)


def prove(private_key: bytes, public: bytes, blinded: bytes, signature: bytes) -> Dleq:
    """e and s for C_ = aB_ with A = aG; the points must be on the curve, as those of `bdhke.sign` are."""
    return _prove(private_key, *map(uncompressed, (public, blinded, signature)))


def verify(public: bytes, blinded: bytes, signature: bytes, dleq: Dleq) -> bool:
    """Whether the key of `public` made `signature` (C_) of `blinded` (B_); false for anything malformed."""
    try:
        minus_e = _negated(dleq.e)
        r1 = add(public_key(dleq.s), multiply(public, minus_e))
        r2 = add(multiply(blinded, dleq.s), multiply(signature, minus_e))
        return hmac.compare_digest(challenge(r1, r2, public, signature), dleq.e)
    except CurveError:
        return False


def verify_proof(public: bytes, proof: Proof) -> bool:
    """Whether a proof from a third party carries the mint's signature, by its DLEQ and blinding factor r."""
    if proof.dleq is None or proof.dleq.blinding is None:
        return False
    try:
        blinded = add(secret_point(proof.secret), public_key(proof.dleq.blinding))
        signature = add(proof.signature, multiply_secret(public, proof.dleq.blinding))
    except CurveError:
        return False
    return verify(public, blinded, signature, proof.dleq)


def _nonce(private_key: bytes, points: bytes, counter: int = 0) -> bytes:
    while not is_secret(
        candidate := hmac_sha256(private_key, _NONCE_DOMAIN, points, counter.to_bytes(1, "big"))
    ):
        counter += 1
    return candidate


def _prove(private_key: bytes, public: bytes, blinded: bytes, signature: bytes) -> Dleq:
    r = _nonce(private_key, public + blinded + signature)
    e = _challenge(public_key_whole(r), multiply_secret_whole(blinded, r), public, signature)
    return Dleq(e, secret_add(r, secret_multiply(_reduce(e), private_key)))


def _challenge(*whole_points: bytes) -> bytes:
    return sha256(b"".join(whole_points).hex().encode())


def _reduce(e: bytes) -> bytes:
    # e is public; a hash that is 0 modulo the order cannot be met, and secret_multiply would refuse it.
    return (int.from_bytes(e, "big") % ORDER).to_bytes(32, "big")


def _negated(e: bytes) -> bytes:
    return (-int.from_bytes(e, "big") % ORDER).to_bytes(32, "big")
