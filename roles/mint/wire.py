"""Bodies and answers of the mint's API as models, for its description; the readers in `request` are what
judges a body.

Answers tell all of their fields. Bodies may have more than these, which are ignored.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel

from protocols.cashu.models import SECRET_LIMIT, WITNESS_LIMIT

Point = Annotated[str, Field(pattern=r"^0[23][0-9a-f]{64}$", description="A compressed point, in hex.")]
Scalar = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="32 bytes in hex.")]
Signature = Annotated[str, Field(pattern=r"^[0-9a-f]{128}$", description="A BIP340 signature, in hex.")]
KeysetId = Annotated[str, Field(pattern=r"^([0-9a-f]{16}|[0-9a-f]{66})$", description="The id of a keyset.")]
Hash = Annotated[
    str, Field(pattern=r"^[0-9a-f]{64}$", description="The hash of a share: raw bytes, internal order.")
]
Amount = Annotated[int, Field(ge=0, le=(1 << 64) - 1)]
QuoteId = Annotated[str, Field(min_length=1, max_length=128)]


class Told(BaseModel):
    """Base of answers."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class Asked(BaseModel):
    """Base of bodies."""

    model_config = ConfigDict(extra="allow", use_attribute_docstrings=True)


class Fault(Told):
    """Why a request was refused."""

    detail: str
    code: int
    """The number of the NUTs; 0 where they have none, and HTTP's status for what is below them."""


class KeysetHead(Told):
    """A keyset without its keys."""

    id: KeysetId
    unit: str
    active: bool
    """Whether it signs."""
    input_fee_ppk: int
    final_expiry: int | None
    """When its tokens end, in Unix seconds; null for never."""


class KeysetTold(KeysetHead):
    """A keyset with its keys."""

    keys: dict[Annotated[str, Field(pattern=r"^[1-9][0-9]*$")], Point]
    """Amount to public key."""


class Keysets(Told):
    """Keysets without their keys."""

    keysets: list[KeysetHead]


class Shift(Told):
    """A stretch of an issuer's ledger; amounts in ehash, times in Unix seconds."""

    unit: str
    issuer: Point
    shift: int
    state: Literal["open", "closed"]
    minimum_difficulty: int | None
    """One ehash is 2 to this power hashes; null before the first share."""
    valuation: Literal["target", "achieved"] | None
    credited: Amount
    """What all shares of it were credited with; fixed when it is closed."""
    shares: int
    first_share_at: int | None
    closed_at: int | None
    keysets: list[KeysetId]


class Shifts(Told):
    """A page of shifts."""

    shifts: list[Shift]
    next_cursor: str | None


class Keys(Told):
    """Keysets with their keys."""

    keysets: list[KeysetTold]


class Output(Told):
    """A blinded message (NUT-00)."""

    amount: Amount
    id: KeysetId
    B_: Point


class DleqTold(Told):
    """That the signature was made with the published key (NUT-12)."""

    e: Scalar
    s: Scalar


class SignatureTold(Told):
    """A blind signature (NUT-00)."""

    amount: Amount
    id: KeysetId
    C_: Point
    dleq: DleqTold


class Signatures(Told):
    """Signatures in the order of the outputs."""

    signatures: list[SignatureTold]


class Restored(Told):
    """Those outputs that were signed before, and their signatures in the same order (NUT-09)."""

    outputs: list[Output]
    signatures: list[SignatureTold]


class ProofAsked(Asked):
    """A token (NUT-00)."""

    amount: Amount
    id: KeysetId
    secret: Annotated[str, Field(max_length=SECRET_LIMIT)]
    C: Point
    witness: Annotated[str, Field(max_length=WITNESS_LIMIT)] | None = None


class OutputAsked(Asked):
    """A blinded message (NUT-00)."""

    amount: Amount
    id: KeysetId
    B_: Point


class SwapAsked(Asked):
    """Tokens, and what they are swapped for (NUT-03)."""

    inputs: Annotated[list[ProofAsked], Field(min_length=1)]
    outputs: Annotated[list[OutputAsked], Field(min_length=1)]


class QuoteAsked(Asked):
    """What is to be minted (NUT-04)."""

    amount: Annotated[int, Field(ge=1, le=(1 << 53) - 1)]
    unit: str
    description: Annotated[str, Field(max_length=639)] | None = None
    pubkey: Point | None = None
    """Whose signature minting will need (NUT-20)."""


class MintAsked(Asked):
    """What to sign for a quote (NUT-04), with the signature of its key (NUT-20)."""

    quote: QuoteId
    outputs: Annotated[list[OutputAsked], Field(min_length=1)]
    signature: Signature | None = None


class BatchAsked(Asked):
    """What to sign for several quotes (NUT-29)."""

    quotes: Annotated[list[QuoteId], Field(min_length=1)]
    quote_amounts: list[Amount] | None = None
    outputs: Annotated[list[OutputAsked], Field(min_length=1)]
    signatures: list[Signature | None] | None = None


class QuotesAsked(Asked):
    """Which quotes to look at (NUT-29)."""

    quotes: Annotated[list[QuoteId], Field(min_length=1)]


class StatesAsked(Asked):
    """Whose state is asked, by hash_to_curve of the secret (NUT-07)."""

    Ys: list[Point]


class RestoreAsked(Asked):
    """Outputs that may have been signed (NUT-09)."""

    outputs: Annotated[list[OutputAsked], Field(min_length=1)]


class LookUpAsked(Asked):
    """Keys whose quotes are asked for, each with its signature (NUT-XX)."""

    pubkeys: Annotated[list[Point], Field(min_length=1)]
    pubkey_signatures: Annotated[list[Signature], Field(min_length=1)]
    timestamp: Annotated[int, Field(ge=0)]
    limit: Annotated[int, Field(ge=1)] | None = None
    cursor: Annotated[str, Field(max_length=1024)] | None = None
    only_mintable: bool = False


class StateTold(Told):
    """The state of a token."""

    Y: Point
    state: Literal["UNSPENT", "PENDING", "SPENT"]
    witness: str | None


class States(Told):
    """States in the order in which they were asked."""

    states: list[StateTold]


class MintQuote(Told):
    """A quote, times in Unix seconds."""

    quote: str
    request: str
    """What is to be paid: of ehash the hash of the share."""
    method: str
    unit: str
    amount: Amount
    state: Literal["UNPAID", "PAID", "ISSUED"]
    """Of old; the amounts below tell all."""
    amount_paid: Amount
    amount_issued: Amount
    updated_at: int
    expiry: int | None
    pubkey: Point | None


class QuoteList(RootModel[list[MintQuote]]):
    """Quotes in the order in which they were asked."""


class Quotes(Told):
    """A page of quotes."""

    quotes: list[MintQuote]
    next_cursor: str | None
    """What to ask for the next page with; null at the end."""


class ShareQuotes(Told):
    """Hash of a share to the id of its quote."""

    quote_ids: dict[Hash, str]


class MeltQuoteAsked(Asked):
    """What is to be paid (NUT-05)."""

    request: str
    """An invoice."""
    unit: str
    options: dict[str, Any] | None = None


class MeltAsked(Asked):
    """Tokens that pay, and blank outputs for the change (NUT-05, NUT-08)."""

    quote: QuoteId
    inputs: Annotated[list[ProofAsked], Field(min_length=1)]
    outputs: list[OutputAsked] | None = None
    prefer_async: bool = False
    """To be answered before the payment is through."""


class MeltQuoteTold(Told):
    """A melt quote, times in Unix seconds; `change` is there once it is paid, be it none."""

    quote: str
    method: str
    request: str
    amount: Amount
    unit: str
    fee_reserve: Amount
    state: Literal["UNPAID", "PENDING", "PAID"]
    expiry: int
    updated_at: int
    payment_preimage: str | None
    change: list[SignatureTold] = Field(default=[])


class Contact(Told):
    """How to reach the operator."""

    method: str
    info: str


class Info(Told):
    """What the mint is (NUT-06)."""

    name: str
    pubkey: Point
    quote_key: Point
    """With which ids of ehash quotes are computed (docs/nut-ehash.md)."""
    version: str
    description: str
    description_long: str | None = None
    motd: str | None = None
    """News that wallets show their owners."""
    icon_url: str | None = None
    tos_url: str | None = None
    contact: list[Contact]
    urls: list[str]
    time: int
    max_array_length: int
    """Most inputs, outputs or look-ups of a request."""
    nuts: dict[str, Any]
    """Settings by the number of the NUT."""
