"""What the mint decides without looking at its store: which requests are sound. Raises CashuErrors, changes
nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from protocols.cashu.denominations import input_fee
from protocols.cashu.errors import (
    DuplicateInputsError,
    DuplicateOutputsError,
    KeysetExpiredError,
    KeysetInactiveError,
    MalformedError,
    NotBalancedError,
    QuoteExpiredError,
    QuoteIssuedError,
    QuoteNotPaidError,
    SeveralUnitsError,
    SignatureError,
    UnitsDifferError,
)
from protocols.cashu.models import BlindedMessage, Proof
from protocols.cashu.quote_signature import verify
from roles.mint.keysets import KeysetBook, MintKeyset
from roles.mint.quote import Quote
from roles.mint.request import MintRequest, SwapRequest


@dataclass(frozen=True, slots=True)
class Portion:
    """How much of a quote a request takes."""

    quote: Quote
    amount: int


def check_swap(request: SwapRequest, book: KeysetBook, now: int) -> None:
    """Everything about a swap but signatures and spent proofs; `now` in Unix seconds."""
    fees = check_inputs(request.inputs, book, now)
    units = {book.get(keyset_id).unit for keyset_id in {proof.keyset_id for proof in request.inputs}}
    unit = check_outputs(request.outputs, book, now)
    if len(units) > 1:
        raise SeveralUnitsError("the inputs are of several units")
    if units != {unit}:
        raise UnitsDifferError("the outputs are of another unit than the inputs")
    paid, asked = (sum(item.amount for item in items) for items in (request.inputs, request.outputs))
    if paid - fees != asked:
        raise NotBalancedError(f"inputs {paid} less fees {fees} are not outputs {asked}")


def check_inputs(inputs: Sequence[Proof], book: KeysetBook, now: int) -> int:
    """Known, live keysets and amounts, no secret twice; gives the fee."""
    keysets = _keysets(inputs, book, now)
    if len({proof.secret for proof in inputs}) != len(inputs):
        raise DuplicateInputsError("an input is there twice")
    return input_fee(keysets[proof.keyset_id].input_fee_ppk for proof in inputs)


def check_outputs(outputs: Sequence[BlindedMessage], book: KeysetBook, now: int) -> str:
    """Known, active keysets and amounts, no blinded message twice, one unit; gives the unit."""
    keysets = _keysets(outputs, book, now).values()
    for keyset in keysets:
        if not keyset.active:
            raise KeysetInactiveError(f"keyset {keyset.keyset_id} signs no more")
    units = {keyset.unit for keyset in keysets}
    if len({output.blinded for output in outputs}) != len(outputs):
        raise DuplicateOutputsError("an output is there twice")
    if len(units) != 1:
        raise SeveralUnitsError("the outputs are of several units")
    return units.pop()


def check_mint(request: MintRequest, quotes: Sequence[Quote], book: KeysetBook, now: int) -> list[Portion]:
    """Units, balance and what the quotes still hold; gives what the request takes of each, in its order."""
    unit = check_outputs(request.outputs, book, now)
    units = {quote.unit for quote in quotes}
    if len(units) > 1:
        raise SeveralUnitsError("the quotes are of several units")
    if units != {unit}:
        raise UnitsDifferError("the outputs are of another unit than the quotes")
    portions = [
        _portion(quote, claim.amount, now) for quote, claim in zip(quotes, request.claims, strict=True)
    ]
    taken = sum(portion.amount for portion in portions)
    asked = sum(output.amount for output in request.outputs)
    if taken != asked:
        raise NotBalancedError(f"the quotes give {taken}, the outputs ask {asked}")
    return portions


def check_unlocked(request: MintRequest, quotes: Sequence[Quote]) -> None:
    """The signature of every locked quote over all outputs, in either form of NUT-20, and of no other."""
    for quote, claim in zip(quotes, request.claims, strict=True):
        if quote.pubkey is None:
            if claim.signature is not None:
                raise SignatureError(f"quote {quote.quote_id} is not locked, yet there is a signature")
        elif claim.signature is None:
            raise SignatureError(f"quote {quote.quote_id} is locked and has no signature")
        elif not verify(quote.pubkey, quote.quote_id, request.outputs, claim.signature):
            raise SignatureError(f"the signature for quote {quote.quote_id} does not verify")


def sums_by_keyset(items: Iterable[Proof | BlindedMessage]) -> dict[str, int]:
    """Keyset id to the sum of the amounts."""
    sums: dict[str, int] = {}
    for item in items:
        sums[item.keyset_id] = sums.get(item.keyset_id, 0) + item.amount
    return sums


def _keysets(items: Iterable[Proof | BlindedMessage], book: KeysetBook, now: int) -> dict[str, MintKeyset]:
    """The keysets that items are of, all alive and with keys for their amounts."""
    found: dict[str, MintKeyset] = {}
    for item in items:
        keyset = found.get(item.keyset_id)
        if keyset is None:
            keyset = found[item.keyset_id] = book.get(item.keyset_id)
            check_expiry(keyset, now)
        keyset.check_amount(item.amount)
    return found


def _portion(quote: Quote, asked: int | None, now: int) -> Portion:
    if quote.amount_paid == 0:
        if quote.expiry is not None and now > quote.expiry:
            raise QuoteExpiredError(f"quote {quote.quote_id} has expired unpaid")
        raise QuoteNotPaidError(f"quote {quote.quote_id} is not paid")
    if quote.mintable == 0:
        raise QuoteIssuedError(f"quote {quote.quote_id} has been minted")
    amount = quote.mintable if asked is None else asked
    if amount == 0:
        raise MalformedError(f"nothing is taken of quote {quote.quote_id}")
    if amount > quote.mintable:
        raise NotBalancedError(f"quote {quote.quote_id} holds {quote.mintable}, {amount} are asked")
    return Portion(quote, amount)


def check_expiry(keyset: MintKeyset, now: int) -> None:
    """Raises KeysetExpiredError behind a keyset's final expiry."""
    expiry = keyset.final_expiry
    if expiry is not None and now > expiry:
        raise KeysetExpiredError(f"keyset {keyset.keyset_id} has expired")
