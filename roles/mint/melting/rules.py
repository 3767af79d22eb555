"""What the mint decides about a melt without looking at its store; amounts in the unit of the quote."""

from collections.abc import Sequence
from dataclasses import dataclass

from protocols.cashu.denominations import change_amounts
from protocols.cashu.errors import (
    DuplicateOutputsError,
    KeysetInactiveError,
    NotBalancedError,
    QuoteExpiredError,
    SeveralUnitsError,
    UnitsDifferError,
)
from protocols.cashu.models import BlindedMessage
from roles.mint import rules
from roles.mint.keysets import KeysetBook
from roles.mint.lightning.backend import Fate
from roles.mint.melting.quote import MeltQuote
from roles.mint.melting.request import MeltRequest

MSAT = 1_000


@dataclass(frozen=True, slots=True)
class Stake:
    """What a melt puts up: the sum of its inputs, and what spending them costs."""

    inputs: int
    input_fee: int


@dataclass(frozen=True, slots=True)
class Bill:
    """What becomes of a stake: `fee` for the routing beyond the quote's amount, `change` for each output that
    gets some, in order, and `kept` for which there was no output.
    """

    fee: int
    change: tuple[int, ...]
    kept: int


def fee_reserve(amount: int, ppm: int, minimum: int) -> int:
    """What is set aside for routing."""
    return max(minimum, -(-amount * ppm // 1_000_000))


def check_melt(request: MeltRequest, quote: MeltQuote, book: KeysetBook, now: int) -> Stake:
    """Everything about a melt but signatures, and whether inputs or quote are taken; raises CashuErrors."""
    if now > quote.expiry:
        raise QuoteExpiredError("the melt quote has expired")
    input_fee = rules.check_inputs(request.inputs, book, now)
    units = {book.get(proof.keyset_id).unit for proof in request.inputs}
    if len(units) > 1:
        raise SeveralUnitsError("the inputs are of several units")
    if units != {quote.unit}:
        raise UnitsDifferError("the inputs are of another unit than the quote")
    _check_blanks(request.outputs, quote.unit, book, now)
    stake = Stake(sum(proof.amount for proof in request.inputs), input_fee)
    needed = quote.amount + quote.fee_reserve + input_fee
    if stake.inputs < needed:
        raise NotBalancedError(
            f"inputs {stake.inputs} are less than amount {quote.amount}, fee reserve {quote.fee_reserve}"
            f" and input fee {input_fee}"
        )
    return stake


def settle(quote: MeltQuote, stake: Stake, fee_msat: int, outputs: int, largest: int) -> Bill:
    """The bill of a payment that cost `fee_msat`, when there are so many blank outputs, of keysets whose
    largest amount is `largest`.

    Where routing has cost more than the stake holds, the mint bears the rest.
    """
    fee = max(0, -(-(quote.amount_msat + fee_msat) // MSAT) - quote.amount)
    left = stake.inputs - stake.input_fee - quote.amount
    fee = min(fee, left)
    amounts = change_amounts(left - fee, outputs, largest)
    return Bill(fee, amounts, left - fee - sum(amounts))


def is_over(fate: Fate, *, heard: bool, late: bool) -> bool:
    """Whether a fate is for good.

    `heard` says that the node has taken this very attempt, `late` that no call of any process can be on its
    way to it any more. Without the one or the other, that a payment failed may be said of an earlier attempt,
    and that the node knows nothing of it may change. What it had and has forgotten stays open.
    """
    if fate.outcome == "failed":
        return heard or late
    if fate.outcome == "unknown":
        return late and not heard
    return fate.outcome == "paid"


def _check_blanks(outputs: Sequence[BlindedMessage], unit: str, book: KeysetBook, now: int) -> None:
    units = set()
    for output in outputs:
        keyset = book.get(output.keyset_id)
        if not keyset.active:
            raise KeysetInactiveError(f"keyset {keyset.keyset_id} signs no more")
        rules.check_expiry(keyset, now)
        units.add(keyset.unit)
    if len(units) > 1:
        raise SeveralUnitsError("the outputs are of several units")
    if units - {unit}:
        raise UnitsDifferError("the outputs are of another unit than the quote")
    if len({output.blinded for output in outputs}) != len(outputs):
        raise DuplicateOutputsError("an output is there twice")
