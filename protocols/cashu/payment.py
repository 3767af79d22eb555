"""What a receiver asks of a payer (NUT-18), and what a payer sends back.

A request's text is `payment_request`'s business; all its fields may be missing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from protocols.cashu.condition import Condition
from protocols.cashu.errors import MalformedError, SignatureError
from protocols.cashu.fields import as_array, as_object, as_text
from protocols.cashu.keyset import UNIT_LIMIT
from protocols.cashu.models import JsonObject, Proof
from protocols.cashu.nut10 import ConditionSecret

TEXT_LIMIT = 4096
Tags = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Transport:
    """A way to hand the payload over: kind "nostr" to an npub or nprofile, "post" to a URL, or others."""

    kind: str
    target: str
    tags: Tags = ()


@dataclass(frozen=True, slots=True)
class LockRequest:
    """The condition that the receiver wants the proofs to carry: a secret of NUT-10 without its nonce."""

    kind: str
    data: str
    tags: Tags = ()

    def secret(self, nonce: bytes) -> str:
        """The secret of one proof; `nonce` is 32 bytes of entropy. MalformedError for a condition that nobody
        could ever meet.
        """
        secret = ConditionSecret(self.kind, nonce.hex(), self.data, self.tags)
        try:
            Condition.parse(secret)
        except SignatureError as error:
            raise MalformedError(error.detail) from None
        return secret.to_text()

    def is_met_by(self, proof: Proof) -> bool:
        """Whether a proof carries this condition."""
        secret = ConditionSecret.parse(proof.secret)
        return secret is not None and (secret.kind, secret.data, set(secret.tags)) == (
            self.kind,
            self.data,
            set(self.tags),
        )


@dataclass(frozen=True, slots=True)
class PaymentRequest:
    """Amount in units of `unit`; `mints` are those that the receiver takes, any if none is named; without
    transports the payload goes back the way that the request came.
    """

    payment_id: str | None = None
    amount: int | None = None
    unit: str | None = None
    single_use: bool | None = None
    mints: tuple[str, ...] = ()
    description: str | None = None
    transports: tuple[Transport, ...] = ()
    lock: LockRequest | None = None

    def __post_init__(self) -> None:
        if self.amount is not None and self.unit is None:
            raise MalformedError("a payment request with an amount needs a unit")

    def check(self, payload: "Payload") -> None:
        """Whether a payload is what was asked for, short of spending it; raises MalformedError saying what is
        not.
        """
        if self.payment_id is not None and payload.payment_id != self.payment_id:
            raise MalformedError("the payment is for another request")
        if self.mints and payload.mint not in {mint.rstrip("/") for mint in self.mints}:
            raise MalformedError("the payment is of a mint that was not asked for")
        if self.unit is not None and payload.unit != self.unit.lower():
            raise MalformedError("the payment is of another unit")
        if self.amount is not None and payload.amount < self.amount:
            raise MalformedError(f"the payment is {payload.amount} instead of {self.amount}")
        if self.lock is not None and not all(self.lock.is_met_by(proof) for proof in payload.proofs):
            raise MalformedError("the payment does not carry the condition that was asked for")


@dataclass(frozen=True, slots=True)
class Payload:
    """The payment itself: proofs of one mint and unit. Whoever reads it can spend them."""

    mint: str
    unit: str
    proofs: tuple[Proof, ...]
    payment_id: str | None = None
    memo: str | None = None

    @property
    def amount(self) -> int:
        """The sum of the proofs."""
        return sum(proof.amount for proof in self.proofs)

    def to_json(self) -> JsonObject:
        """The object of the wire."""
        item: JsonObject = {} if self.payment_id is None else {"id": self.payment_id}
        if self.memo is not None:
            item["memo"] = self.memo
        return {
            **item,
            "mint": self.mint,
            "unit": self.unit,
            "proofs": [proof.to_json() for proof in self.proofs],
        }

    @classmethod
    def from_json(cls, value: object) -> "Payload":
        """Read a payload; raises MalformedError."""
        body = as_object(value, "payment")
        proofs = tuple(Proof.from_json(item) for item in as_array(body.get("proofs"), "proofs"))
        if not proofs:
            raise MalformedError("the payment holds no proofs")
        return cls(
            as_text(body.get("mint"), "mint", TEXT_LIMIT).rstrip("/"),
            as_text(body.get("unit"), "unit", UNIT_LIMIT).lower(),
            proofs,
            optional_text(body.get("id"), "id"),
            optional_text(body.get("memo"), "memo"),
        )


def optional_text(value: object, what: str, limit: int = TEXT_LIMIT) -> str | None:
    """A string, or None; raises MalformedError."""
    return None if value is None else as_text(value, what, limit)


def read_tags(value: object) -> Tags:
    """Tags of a transport or condition, none for None; raises MalformedError."""
    return () if value is None else tuple(_tag(tag) for tag in as_array(value, "tags"))


def _tag(value: object) -> tuple[str, ...]:
    words: Sequence[object] = as_array(value, "tag")
    if not words:
        raise MalformedError("a tag is empty")
    return tuple(as_text(word, "tag", TEXT_LIMIT) for word in words)
