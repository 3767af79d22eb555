"""The three things that wallets and mints exchange (NUT-00): blinded messages, blind signatures and proofs.

Points are 33 raw bytes, scalars 32; `to_json` and `from_json` speak the hex of the wire. `from_json` ignores
unknown fields and raises MalformedError.
"""

from dataclasses import dataclass, field

from protocols.cashu.errors import MalformedError
from protocols.cashu.fields import (
    SCALAR_SIZE,
    as_bytes,
    as_integer,
    as_keyset_id,
    as_object,
    as_point,
    as_text,
)

SECRET_LIMIT = 1024
WITNESS_LIMIT = 2048

JsonObject = dict[str, object]


@dataclass(frozen=True, slots=True)
class BlindedMessage:
    """An output: B_ = Y + rG, to be signed for `amount` by keyset `keyset_id`."""

    amount: int
    keyset_id: str
    blinded: bytes

    def to_json(self) -> JsonObject:
        """The object of the wire."""
        return {"amount": self.amount, "id": self.keyset_id, "B_": self.blinded.hex()}

    @classmethod
    def from_json(cls, value: object) -> "BlindedMessage":
        """Read an output; raises MalformedError."""
        item = as_object(value, "output")
        return cls(
            as_integer(item.get("amount"), "output amount"),
            as_keyset_id(item.get("id")),
            as_point(item.get("B_"), "B_"),
        )


@dataclass(frozen=True, slots=True)
class Dleq:
    """Proof that one private key made both K and C_ (NUT-12); `blinding` (r) is there in proofs only."""

    e: bytes
    s: bytes
    blinding: bytes | None = field(default=None, repr=False)

    def to_json(self) -> JsonObject:
        """The object of the wire, with r if it is known."""
        item: JsonObject = {"e": self.e.hex(), "s": self.s.hex()}
        if self.blinding is not None:
            item["r"] = self.blinding.hex()
        return item

    @classmethod
    def from_json(cls, value: object) -> "Dleq":
        """Read a DLEQ proof; raises MalformedError."""
        item = as_object(value, "dleq")
        blinding = item.get("r")
        return cls(
            as_bytes(item.get("e"), "dleq e", SCALAR_SIZE),
            as_bytes(item.get("s"), "dleq s", SCALAR_SIZE),
            None if blinding is None else as_bytes(blinding, "dleq r", SCALAR_SIZE),
        )


@dataclass(frozen=True, slots=True)
class BlindSignature:
    """The mint's answer to an output: C_ = kB_."""

    amount: int
    keyset_id: str
    signature: bytes
    dleq: Dleq | None = None

    def to_json(self) -> JsonObject:
        """The object of the wire."""
        item: JsonObject = {"amount": self.amount, "id": self.keyset_id, "C_": self.signature.hex()}
        if self.dleq is not None:
            item["dleq"] = self.dleq.to_json()
        return item

    @classmethod
    def from_json(cls, value: object) -> "BlindSignature":
        """Read a blind signature; raises MalformedError."""
        item = as_object(value, "signature")
        dleq = item.get("dleq")
        return cls(
            as_integer(item.get("amount"), "signature amount"),
            as_keyset_id(item.get("id")),
            as_point(item.get("C_"), "C_"),
            None if dleq is None else Dleq.from_json(dleq),
        )


@dataclass(frozen=True, slots=True)
class Proof:
    """A token: the mint's signature C on hash_to_curve(secret), worth `amount`. Whoever knows it can spend
    it.
    """

    amount: int
    keyset_id: str
    secret: str = field(repr=False)
    signature: bytes = field(repr=False)
    witness: str | None = None
    dleq: Dleq | None = None

    def to_json(self) -> JsonObject:
        """The object of the wire."""
        item: JsonObject = {
            "amount": self.amount,
            "id": self.keyset_id,
            "secret": self.secret,
            "C": self.signature.hex(),
        }
        if self.witness is not None:
            item["witness"] = self.witness
        if self.dleq is not None:
            item["dleq"] = self.dleq.to_json()
        return item

    @classmethod
    def from_json(cls, value: object, *, with_dleq: bool = True) -> "Proof":
        """Read a proof; a mint, which has no use for the DLEQ of an input, leaves it unread. Raises
        MalformedError.
        """
        item = as_object(value, "proof")
        witness = item.get("witness")
        dleq = item.get("dleq") if with_dleq else None
        secret = as_text(item.get("secret"), "secret", SECRET_LIMIT)
        if not secret:
            raise MalformedError("secret is empty")
        return cls(
            as_integer(item.get("amount"), "proof amount"),
            as_keyset_id(item.get("id")),
            secret,
            as_point(item.get("C"), "C"),
            (as_text(witness, "witness", WITNESS_LIMIT) or None) if witness is not None else None,
            None if dleq is None else Dleq.from_json(dleq),
        )
