"""The three things that wallets and mints exchange (NUT-00): blinded messages, blind signatures and proofs.

Points are 33 raw bytes, scalars 32; `to_json` and `from_json` speak the hex of the wire. `from_json` ignores
unknown fields and raises MalformedError.
"""

import json
from dataclasses import dataclass, field, replace

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
"""Characters; a condition with all of its eleven keys has 1,000."""
WITNESS_LIMIT = 2048
"""Characters; eleven signatures and a preimage are 1,540, and some writers put spaces between them."""

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

    `ephemeral_key` is the E of blinded keys (NUT-28), 33 bytes, and travels between wallets only.
    """

    amount: int
    keyset_id: str
    secret: str = field(repr=False)
    signature: bytes = field(repr=False)
    witness: str | None = field(default=None, repr=False)
    dleq: Dleq | None = None
    ephemeral_key: bytes | None = None

    def as_input(self) -> "Proof":
        """The proof as a mint may see it: the blinding factor of its DLEQ would tell the mint whose output it
        was, and E is not its business.
        """
        return replace(self, dleq=None, ephemeral_key=None)

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
        if self.ephemeral_key is not None:
            item["p2pk_e"] = self.ephemeral_key.hex()
        return item

    @classmethod
    def from_json(cls, value: object, *, with_dleq: bool = True) -> "Proof":
        """Read a proof; a mint, which has no use for the DLEQ and E of an input, leaves them unread. Raises
        MalformedError.
        """
        item = as_object(value, "proof")
        dleq = item.get("dleq") if with_dleq else None
        ephemeral_key = item.get("p2pk_e") if with_dleq else None
        secret = as_text(item.get("secret"), "secret", SECRET_LIMIT)
        if not secret:
            raise MalformedError("secret is empty")
        return cls(
            as_integer(item.get("amount"), "proof amount"),
            as_keyset_id(item.get("id")),
            secret,
            as_point(item.get("C"), "C"),
            _witness(item.get("witness")),
            None if dleq is None else Dleq.from_json(dleq),
            None if ephemeral_key is None else as_point(ephemeral_key, "p2pk_e"),
        )


def _witness(value: object) -> str | None:
    """The text of a witness; one that is not yet text, as some wallets send it, is made so."""
    if isinstance(value, dict):
        try:
            value = json.dumps(value, separators=(",", ":"))
        except RecursionError:
            raise MalformedError("the witness is nested too deeply") from None
    return None if value is None else as_text(value, "witness", WITNESS_LIMIT) or None
