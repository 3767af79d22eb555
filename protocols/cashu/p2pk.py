"""Whether the inputs of a request may be spent: P2PK and HTLC conditions, SIG_INPUTS and SIG_ALL (NUT-11,
NUT-14).

Signatures are BIP340 over SHA-256 of the secret's text; with SIG_ALL over all secrets, C, amounts and B_ of
the request, and then the first input's witness signs for all. What is counted are distinct keys with a valid
signature.
"""

from collections.abc import Sequence

from protocols.bitcoin.hashing import sha256
from protocols.bitcoin.secp256k1 import schnorr_sign, schnorr_verify
from protocols.cashu.condition import Condition, Path
from protocols.cashu.errors import SignatureError, TooManyInputsError
from protocols.cashu.models import BlindedMessage, Proof
from protocols.cashu.nut10 import ConditionSecret
from protocols.cashu.witness import Witness

VERIFICATION_LIMIT = 10_000


def input_hash(secret: str) -> bytes:
    """What a signature for one input signs, 32 bytes."""
    return sha256(secret.encode())


def all_message(inputs: Sequence[Proof], outputs: Sequence[BlindedMessage], quote: str = "") -> str:
    """The text that SIG_ALL signs: every secret and C, every amount and B_, and the quote id of a melt."""
    parts = [text for proof in inputs for text in (proof.secret, proof.signature.hex())]
    parts += [text for output in outputs for text in (str(output.amount), output.blinded.hex())]
    return "".join(parts) + quote


def sign_input(private_key: bytes, secret: str, aux: bytes) -> bytes:
    """A SIG_INPUTS signature, 64 bytes, with 32 bytes of fresh entropy."""
    return schnorr_sign(private_key, input_hash(secret), aux)


def check_inputs(
    inputs: Sequence[Proof], outputs: Sequence[BlindedMessage], now: float, quote: str = ""
) -> None:
    """Raises SignatureError for the first condition that is not met; ordinary secrets are always met.

    `now` in Unix seconds, with their fraction: a locktime has passed as soon as it is over. At most 10,000
    signatures are verified for one request: TooManyInputsError beyond.
    """
    parsed = [ConditionSecret.parse(proof.secret) for proof in inputs]
    conditions = [None if secret is None else Condition.parse(secret) for secret in parsed]
    if all(condition is None for condition in conditions):
        return
    checker = _Checker(now)
    if any(condition is not None and condition.sig_all for condition in conditions):
        lock = {None if secret is None else (secret.kind, secret.data, secret.tags) for secret in parsed}
        if len(lock) != 1:
            raise SignatureError("with SIG_ALL every input must have the same condition")
        checker.check(conditions[0], inputs[0].witness, sha256(all_message(inputs, outputs, quote).encode()))
        return
    for proof, condition in zip(inputs, conditions, strict=True):
        checker.check(condition, proof.witness, input_hash(proof.secret))


class _Checker:
    """Checks conditions at one moment and counts what it verifies."""

    def __init__(self, now: float) -> None:
        self._now = now
        self._verified = 0

    def check(self, condition: Condition | None, text: str | None, message: bytes) -> None:
        if condition is None or condition.is_free(self._now):
            return
        witness = Witness.parse(text)
        if condition.is_open(self._now) and self._met(condition.refund, witness, message):
            return
        if condition.preimage_hash is not None:
            if witness.preimage is None:
                raise SignatureError("no witness with the HTLC preimage")
            if sha256(witness.preimage) != condition.preimage_hash:
                raise SignatureError("the HTLC preimage is not that of the hash")
        elif not witness.signatures:
            raise SignatureError("Signatures not provided: no witness for p2pk signature")
        if not self._met(condition.lock, witness, message):
            raise SignatureError("the witness has too few valid p2pk signatures")

    def _met(self, path: Path, witness: Witness, message: bytes) -> bool:
        missing = {key[1:] for key in path.keys}
        for signature in witness.signatures:
            missing -= {self._signer(missing, signature, message)}
            if len(path.keys) - len(missing) >= path.required:
                return True
        return path.required == 0

    def _signer(self, keys: set[bytes], signature: bytes, message: bytes) -> bytes | None:
        for key in keys:
            self._verified += 1
            if self._verified > VERIFICATION_LIMIT:
                raise TooManyInputsError("the inputs need too many signature checks; spend fewer at a time")
            if schnorr_verify(key, message, signature):
                return key
        return None
