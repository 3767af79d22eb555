"""Signing inputs, so that a mint lets their conditions be spent (NUT-11, NUT-14, NUT-28).

Signatures that are there already stay, so that several owners can sign one after the other;
`p2pk.check_inputs` tells whether those that are there suffice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from protocols.bitcoin.hashing import sha256
from protocols.bitcoin.secp256k1 import public_key, schnorr_sign, schnorr_verify
from protocols.cashu.condition import Condition, Path
from protocols.cashu.models import BlindedMessage, Proof
from protocols.cashu.nut10 import ConditionSecret
from protocols.cashu.p2bk import unblind_secrets
from protocols.cashu.p2pk import all_message, input_hash
from protocols.cashu.witness import Witness


@dataclass(frozen=True, slots=True)
class Keyring:
    """What a spender has: private keys (32 bytes), and preimages (32 bytes) of HTLCs."""

    secrets: tuple[bytes, ...] = field(default=(), repr=False)
    preimages: tuple[bytes, ...] = field(default=(), repr=False)

    def preimage(self, digest: bytes | None) -> bytes | None:
        """The preimage of a SHA-256, if it is here."""
        return next((each for each in self.preimages if sha256(each) == digest), None)

    def secrets_of(self, proof: Proof, condition: Condition) -> Mapping[bytes, bytes]:
        """The private keys for the keys of a proof, by x-only public key; raises MalformedError for blinded
        keys off the curve.
        """
        secrets = list(self.secrets)
        if proof.ephemeral_key is not None:
            slots = condition.lock.keys + condition.refund.keys
            for secret in self.secrets:
                found = unblind_secrets(secret, proof.ephemeral_key, slots, condition.first_slot)
                # Some wallets have numbered the slots of an HTLC as if its hash took none.
                secrets += found or unblind_secrets(secret, proof.ephemeral_key, slots)
        return {public_key(secret)[1:]: secret for secret in secrets}


def unlock(
    proofs: Sequence[Proof],
    keyring: Keyring,
    *,
    now: int,
    aux: bytes,
    outputs: Sequence[BlindedMessage] = (),
    quote: str = "",
) -> list[Proof]:
    """The proofs as inputs for a mint, with what the keyring can sign and show.

    `now` in Unix seconds, `aux` 32 bytes of fresh entropy. `outputs`, and the quote's id for a melt, are
    those of the request; where a condition demands SIG_ALL they must not change any more, and the first proof
    signs for all. Raises SignatureError for a condition that is malformed and can never be spent.
    """
    signer = _Signer(keyring, now, aux)
    conditions = [_condition(proof) for proof in proofs]
    if any(condition is not None and condition.sig_all for condition in conditions):
        message = sha256(all_message(proofs, outputs, quote).encode())
        first = signer.sign(proofs[0], conditions[0], message)
        return [first, *(replace(proof.as_input(), witness=None) for proof in proofs[1:])]
    return [
        signer.sign(proof, condition, input_hash(proof.secret))
        for proof, condition in zip(proofs, conditions, strict=True)
    ]


def _condition(proof: Proof) -> Condition | None:
    secret = ConditionSecret.parse(proof.secret)
    return None if secret is None else Condition.parse(secret)


class _Signer:
    """Signs as one keyring at one moment."""

    def __init__(self, keyring: Keyring, now: int, aux: bytes) -> None:
        self._keyring = keyring
        self._now = now
        self._aux = aux

    def sign(self, proof: Proof, condition: Condition | None, message: bytes) -> Proof:
        """The proof as an input with its witness."""
        if condition is None or condition.is_free(self._now):
            return replace(proof.as_input(), witness=None)
        there = Witness.parse(proof.witness)
        secrets = self._keyring.secrets_of(proof, condition)
        preimage = there.preimage or self._keyring.preimage(condition.preimage_hash)
        witness, enough = self._along(condition.lock, there, secrets, message)
        witness = replace(witness, preimage=preimage)
        if condition.is_open(self._now) and not (enough and (condition.preimage_hash is None or preimage)):
            refund, refundable = self._along(condition.refund, there, secrets, message)
            witness = replace(refund, preimage=None) if refundable else witness
        return replace(proof.as_input(), witness=None if witness == Witness() else witness.to_text())

    def _along(
        self, path: Path, there: Witness, secrets: Mapping[bytes, bytes], message: bytes
    ) -> tuple[Witness, bool]:
        """The signatures of a path, no more than it asks for, and whether that is all of them."""
        signatures: list[bytes] = []
        for key in (point[1:] for point in path.keys):
            if len(signatures) == path.required:
                break
            found = next((s for s in there.signatures if schnorr_verify(key, message, s)), None)
            if found is not None:
                signatures.append(found)
            elif key in secrets:
                signatures.append(schnorr_sign(secrets[key], message, self._aux))
        return Witness(tuple(signatures), there.preimage), len(signatures) == path.required
