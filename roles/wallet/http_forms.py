"""What the wallet's HTTP API reads and writes; shapes alone, the desk judges what they say."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Form(BaseModel):
    """A body that is read; unknown fields are refused, so that no typing error passes for a default."""

    model_config = ConfigDict(extra="forbid", strict=True)


class TokenForm(Form):
    """What a token is to be."""

    amount: int = Field(ge=1)
    unit: str = "ehash"
    memo: str | None = None
    to: list[str] = Field(default=[], description="locking keys, 66 hex digits or base58")
    signatures: int | None = Field(default=None, description="how many of the keys it takes; 1")
    locktime: int | None = Field(default=None, description="Unix seconds")
    refund: list[str] = Field(default=[], description="keys for which it opens after that")
    hash: str | None = Field(default=None, description="SHA-256 whose preimage it takes, 64 hex digits")
    blinded: bool = Field(default=False, description="keep the keys from the mint (NUT-28)")


class ReceiveForm(Form):
    """A token to be taken in."""

    token: str
    preimage: str | None = None


class Answer(BaseModel):
    """Something that is told; more fields may be added."""


class Token(Answer):
    """A token that was handed out; its text until somebody is known to have taken it."""

    id: int
    unit: str
    amount: int
    state: str = Field(description="open, claimed or returned")
    locked: bool
    memo: str | None
    made: int = Field(description="Unix seconds")
    settled: int | None
    token: str | None


class Tokens(Answer):
    """Tokens, newest first."""

    tokens: list[Token]


class Sent(Answer):
    """Tokens that were made, one for each unit that they were taken from."""

    amount: int
    fee: int
    tokens: list[Token]
    balance: dict[str, int]


class Received(Answer):
    """What came of a token."""

    unit: str
    amount: int
    fee: int
    proofs: int
    spent: int = Field(description="proofs that had been spent already")
    is_checked: bool = Field(description="whether each proof had the mint's own proof of its signature")
    memo: str | None
    balance: dict[str, int]


class Unit(Answer):
    """What is held of one unit."""

    unit: str
    amount: int
    proofs: int


class Balance(Answer):
    """What is held: all ehash together, other units by name, and each unit by itself."""

    balance: dict[str, int]
    units: list[Unit]


class Event(Answer):
    """A change of the balance."""

    number: int
    time_ms: int
    kind: str
    unit: str
    amount: int = Field(description="what the balance changed by, the fee included")
    fee: int
    note: str | None
    token_id: int | None


class History(Answer):
    """Changes, newest first; ask for older ones with before = the last number."""

    events: list[Event]


class Gift(Answer):
    """What the faucet gives."""

    amount: int
    token: str


class Fault(Answer):
    """Why not, and what can be done."""

    detail: str
    hint: str = ""


def described(model: type[BaseModel]) -> dict[str, Any]:
    """A reference to a model's schema."""
    return {"$ref": f"#/components/schemas/{model.__name__}"}
