"""Making secrets that only some keys can spend: P2PK (NUT-11), HTLC (NUT-14), and both with blinded keys
(NUT-28).

A `Lock` is what a sender wants; `secret` puts it into the text that a proof carries. What it takes to spend
such a proof is `condition`, and how to is `unlocking`.
"""

from dataclasses import dataclass, replace

from protocols.bitcoin.secp256k1 import is_point
from protocols.cashu.condition import Condition
from protocols.cashu.errors import MalformedError, SignatureError
from protocols.cashu.models import SECRET_LIMIT
from protocols.cashu.nut10 import ConditionSecret
from protocols.cashu.p2bk import blind


@dataclass(frozen=True, slots=True)
class Lock:
    """Keys (33 bytes) of which `required` must sign; after `locktime` (Unix seconds) also the refund keys
    may, or anybody if there are none.

    With `preimage_hash` (32 bytes) it is an HTLC: the keys, of which there may be none, need the preimage
    besides.
    """

    keys: tuple[bytes, ...]
    required: int = 1
    locktime: int | None = None
    refund: tuple[bytes, ...] = ()
    refund_required: int = 1
    sig_all: bool = False
    preimage_hash: bytes | None = None

    def secret(self, nonce: bytes) -> str:
        """The secret of one proof; `nonce` is 32 bytes of entropy, fresh for each.

        Raises MalformedError for a lock that no mint would ever open.
        """
        if not all(is_point(key) for key in self.keys + self.refund):
            raise MalformedError("a key of the lock is not on the curve")
        keys = [key.hex() for key in self.keys]
        kind, data = "HTLC", b"" if self.preimage_hash is None else self.preimage_hash
        if self.preimage_hash is None:
            if not keys:
                raise MalformedError("a lock needs a key or a hash")
            kind, data = "P2PK", self.keys[0]
            keys = keys[1:]
        secret = ConditionSecret(kind, nonce.hex(), data.hex(), tuple(self._tags(keys)))
        return _checked(secret)

    def blinded(self, ephemeral_secret: bytes) -> "Lock":
        """The same lock with every key blinded; the proof must carry the ephemeral public key."""
        first_slot = 0 if self.preimage_hash is None else 1
        slots = blind(ephemeral_secret, self.keys + self.refund, first_slot)
        return replace(self, keys=slots[: len(self.keys)], refund=slots[len(self.keys) :])

    def _tags(self, pubkeys: list[str]) -> list[tuple[str, ...]]:
        tags: list[tuple[str, ...]] = []
        if self.sig_all:
            tags.append(("sigflag", "SIG_ALL"))
        if pubkeys:
            tags.append(("pubkeys", *pubkeys))
        if self.required != 1:
            tags.append(("n_sigs", str(self.required)))
        if self.locktime is not None:
            tags.append(("locktime", str(self.locktime)))
        if self.refund:
            tags.append(("refund", *(key.hex() for key in self.refund)))
        if self.refund_required != 1:
            tags.append(("n_sigs_refund", str(self.refund_required)))
        return tags


def _checked(secret: ConditionSecret) -> str:
    try:
        condition = Condition.parse(secret)
    except SignatureError as error:
        raise MalformedError(error.detail) from None
    if condition is not None and condition.refund.keys and condition.locktime is None:
        raise MalformedError("refund keys need a locktime")
    text = secret.to_text()
    if len(text) > SECRET_LIMIT:
        raise MalformedError("the lock is too long for a secret")
    return text
