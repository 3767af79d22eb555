"""Keys of a spending condition that are blinded for one token, so that the mint cannot tell whose they are
(NUT-28).

A sender makes an ephemeral key pair (e, E) for each output, or one for all outputs with SIG_ALL, and sends E
with the proof. Slots are numbered from 0 in the order of the condition: data, pubkeys, refund; the hash of an
HTLC takes slot 0. Keys are 33 bytes compressed, secrets 32; multiplication by a secret is constant time.
"""

from collections.abc import Iterable, Sequence

from protocols.bitcoin.errors import PointError
from protocols.bitcoin.hashing import sha256
from protocols.bitcoin.secp256k1 import (
    add,
    is_secret,
    multiply_secret,
    negate,
    public_key,
    secret_add,
    secret_negate,
)
from protocols.cashu.errors import MalformedError

_DOMAIN = b"Cashu_P2BK_v1"


def blinding(shared_x: bytes, slot: int) -> bytes:
    """r of a slot, from the x coordinate of the point that both sides know; raises MalformedError when there
    is none, which no hash will ever show.
    """
    message = _DOMAIN + shared_x + bytes((slot,))
    for candidate in (sha256(message), sha256(message + b"\xff")):
        if is_secret(candidate):
            return candidate
    raise MalformedError("these keys have no blinding factor; take another ephemeral key")


def blind(ephemeral_secret: bytes, keys: Iterable[bytes], first_slot: int = 0) -> tuple[bytes, ...]:
    """P' = P + rG of each receiver's key, for the slots from `first_slot` on; raises MalformedError for a key
    off the curve.
    """
    try:
        return tuple(
            add(key, public_key(blinding(multiply_secret(key, ephemeral_secret)[1:], slot)))
            for slot, key in enumerate(keys, first_slot)
        )
    except PointError as error:
        raise MalformedError(f"a key: {error}") from None


def unblind_secrets(
    secret: bytes, ephemeral_key: bytes, slots: Sequence[bytes], first_slot: int = 0
) -> list[bytes]:
    """The private keys of those blinded keys that were made of the key of `secret` (with either y), in the
    order of `slots`; raises MalformedError for points off the curve.
    """
    own = public_key(secret)
    found = []
    try:
        shared_x = multiply_secret(ephemeral_key, secret)[1:]
        for slot, blinded in enumerate(slots, first_slot):
            factor = blinding(shared_x, slot)
            key = add(blinded, negate(public_key(factor)))
            if key[1:] == own[1:]:
                found.append(secret_add(secret if key == own else secret_negate(secret), factor))
    except PointError as error:
        raise MalformedError(f"a blinded key: {error}") from None
    return found
