"""What wallets ask, read from JSON: shapes and sizes only, nothing that needs the store or a key.

Every reader raises a CashuError. `digest` names a request by what it asks for: two requests with the same
digest get the same answer. Signatures and witnesses are not part of it, because they are made anew when a
request is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct

from protocols.bitcoin.hashing import sha256
from protocols.cashu.errors import (
    AmountOutOfLimitsError,
    BatchTooLargeError,
    DuplicateQuotesError,
    MalformedError,
    TooManyInputsError,
    TooManyOutputsError,
)
from protocols.cashu.fields import AMOUNT_LIMIT, as_array, as_bytes, as_integer, as_object, as_point, as_text
from protocols.cashu.models import BlindedMessage, Proof

QUOTE_ID_LIMIT = 128
_SIGNATURE_SIZE = 64
_NUL = "\0"
"""What not every store keeps in a text."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How long arrays may be: inputs, outputs or Ys; quotes of a batch; keys and page of a look-up."""

    array: int = 1000
    batch: int = 100
    keys: int = 50
    page: int = 100


@dataclass(frozen=True, slots=True)
class SwapRequest:
    """Spend `inputs`, sign `outputs` (NUT-03)."""

    inputs: tuple[Proof, ...]
    outputs: tuple[BlindedMessage, ...]

    @property
    def digest(self) -> bytes:
        """The name of the request, 32 bytes."""
        return digest_of([b"swap", *input_parts(self.inputs), b"outputs", *_output_parts(self.outputs)])

    @classmethod
    def from_json(cls, value: object, sizes: Sizes) -> "SwapRequest":
        """Read the body of /v1/swap."""
        body = as_object(value, "swap")
        return cls(read_inputs(body, sizes), read_outputs(body, sizes))


@dataclass(frozen=True, slots=True)
class QuoteClaim:
    """One quote of a mint request: how much of it is taken (None for all) and what unlocks it."""

    quote_id: str
    amount: int | None
    signature: bytes | None


@dataclass(frozen=True, slots=True)
class MintRequest:
    """Sign `outputs` against quotes (NUT-04; NUT-29 for several)."""

    claims: tuple[QuoteClaim, ...]
    outputs: tuple[BlindedMessage, ...]

    @property
    def digest(self) -> bytes:
        """The name of the request, 32 bytes."""
        parts = [b"mint"]
        for claim in self.claims:
            parts += [claim.quote_id.encode(), b"" if claim.amount is None else _integer(claim.amount)]
        return digest_of([*parts, b"outputs", *_output_parts(self.outputs)])

    @classmethod
    def from_json(cls, value: object, sizes: Sizes) -> "MintRequest":
        """Read the body of /v1/mint/{method}; it takes from its quote what its outputs sum to."""
        body = as_object(value, "mint request")
        quote_id = _quote_id(body.get("quote"))
        outputs = read_outputs(body, sizes)
        amount = sum(output.amount for output in outputs)
        if amount >= AMOUNT_LIMIT:
            raise AmountOutOfLimitsError("the outputs are worth more than any quote")
        return cls((QuoteClaim(quote_id, amount, _signature(body.get("signature"))),), outputs)

    @classmethod
    def batch_from_json(cls, value: object, sizes: Sizes) -> "MintRequest":
        """Read the body of /v1/mint/{method}/batch; raises DuplicateQuotesError and BatchTooLargeError
        besides.
        """
        body = as_object(value, "batch")
        quote_ids = read_quote_ids(body, sizes)
        amounts = _parallel(body.get("quote_amounts"), len(quote_ids), "quote_amounts")
        signatures = _parallel(body.get("signatures"), len(quote_ids), "signatures")
        claims = tuple(
            QuoteClaim(
                quote_id,
                None if amount is None else as_integer(amount, "quote amount"),
                _signature(signature),
            )
            for quote_id, amount, signature in zip(quote_ids, amounts, signatures, strict=True)
        )
        return cls(claims, read_outputs(body, sizes))


def read_inputs(body: object, sizes: Sizes) -> tuple[Proof, ...]:
    """The inputs of a request: at least one."""
    items = as_array(as_object(body, "request").get("inputs"), "inputs")
    if not items:
        raise MalformedError("there are no inputs")
    if len(items) > sizes.array:
        raise TooManyInputsError(f"at most {sizes.array} inputs at a time")
    proofs = tuple(Proof.from_json(item, with_dleq=False) for item in items)
    for proof in proofs:
        if _NUL in (proof.witness or ""):
            raise MalformedError("a witness holds a character of code 0")
    return proofs


def read_outputs(body: object, sizes: Sizes) -> tuple[BlindedMessage, ...]:
    """The outputs of a request: at least one."""
    items = as_array(as_object(body, "request").get("outputs"), "outputs")
    if not items:
        raise MalformedError("there are no outputs")
    if len(items) > sizes.array:
        raise TooManyOutputsError(f"at most {sizes.array} outputs at a time")
    return tuple(BlindedMessage.from_json(item) for item in items)


def read_quote_ids(body: object, sizes: Sizes) -> tuple[str, ...]:
    """The quote ids of a batch: at least one, none twice."""
    items = as_array(as_object(body, "batch").get("quotes"), "quotes")
    if not items:
        raise MalformedError("there are no quotes")
    if len(items) > sizes.batch:
        raise BatchTooLargeError(f"at most {sizes.batch} quotes at a time")
    quote_ids = tuple(_quote_id(item) for item in items)
    if len(set(quote_ids)) != len(quote_ids):
        raise DuplicateQuotesError("a quote is named twice")
    return quote_ids


def _quote_id(value: object) -> str:
    quote_id = as_text(value, "quote", QUOTE_ID_LIMIT)
    if _NUL in quote_id:
        raise MalformedError("a quote's id holds a character of code 0")
    return quote_id


def read_points(value: object, sizes: Sizes) -> tuple[bytes, ...]:
    """The Ys of /v1/checkstate."""
    items = as_array(as_object(value, "request").get("Ys"), "Ys")
    if len(items) > sizes.array:
        raise TooManyInputsError(f"at most {sizes.array} Ys at a time")
    return tuple(as_point(item, "Y") for item in items)


def _parallel(value: object, length: int, what: str) -> Sequence[object]:
    if value is None:
        return [None] * length
    items = as_array(value, what)
    if len(items) != length:
        raise MalformedError(f"{what} has another length than quotes")
    return items


def _signature(value: object) -> bytes | None:
    return None if value is None else as_bytes(value, "signature", _SIGNATURE_SIZE)


def input_parts(inputs: Sequence[Proof]) -> list[bytes]:
    """What names the inputs of a request."""
    return [
        part
        for proof in inputs
        for part in (
            proof.keyset_id.encode(),
            _integer(proof.amount),
            proof.secret.encode(),
            proof.signature,
        )
    ]


def _output_parts(outputs: Sequence[BlindedMessage]) -> list[bytes]:
    return [
        part
        for output in outputs
        for part in (output.keyset_id.encode(), _integer(output.amount), output.blinded)
    ]


_integer = Struct(">Q").pack
_length = Struct(">I").pack


def digest_of(parts: Sequence[bytes]) -> bytes:
    """32 bytes that name these parts, and no others."""
    return sha256(b"".join([piece for part in parts for piece in (_length(len(part)), part)]))
