"""What wallets ask when they melt, read from JSON."""

from collections.abc import Mapping
from dataclasses import dataclass

from protocols.cashu.errors import (
    AmountlessInvoiceError,
    AmountMismatchError,
    MalformedError,
    TooManyInputsError,
    TooManyOutputsError,
)
from protocols.cashu.fields import as_array, as_integer, as_object, as_text
from protocols.cashu.models import BlindedMessage, Proof
from protocols.lightning.amount import AMOUNT_LIMIT
from protocols.lightning.errors import InvoiceError
from protocols.lightning.invoice import TEXT_LIMIT, Invoice, decode
from roles.mint.request import QUOTE_ID_LIMIT, Sizes, digest_of, input_parts


@dataclass(frozen=True, slots=True)
class MeltQuoteRequest:
    """The body of POST /v1/melt/quote/bolt11: an invoice, and what is to be paid of it in millisatoshis."""

    request: str
    invoice: Invoice
    amount_msat: int

    @classmethod
    def from_json(cls, value: object) -> "MeltQuoteRequest":
        """Read it, but for the unit; raises MalformedError, AmountlessInvoiceError, AmountMismatchError."""
        body = as_object(value, "melt quote request")
        text = as_text(body.get("request"), "request", TEXT_LIMIT).strip().lower().removeprefix("lightning:")
        try:
            invoice = decode(text)
        except InvoiceError as error:
            raise MalformedError(str(error)) from None
        return cls(text, invoice, _amount(invoice, _options(body.get("options"))))


@dataclass(frozen=True, slots=True)
class MeltRequest:
    """The body of POST /v1/melt/bolt11; what the amounts of `outputs` say has no meaning."""

    quote_id: str
    inputs: tuple[Proof, ...]
    outputs: tuple[BlindedMessage, ...]
    prefer_async: bool

    @property
    def digest(self) -> bytes:
        """The name of the request, 32 bytes."""
        blanks = [part for each in self.outputs for part in (each.keyset_id.encode(), each.blinded)]
        return digest_of([b"melt", self.quote_id.encode(), *input_parts(self.inputs), b"outputs", *blanks])

    @classmethod
    def from_json(cls, value: object, sizes: Sizes) -> "MeltRequest":
        """Read it; raises MalformedError, TooManyInputsError, TooManyOutputsError."""
        body = as_object(value, "melt request")
        inputs = as_array(body.get("inputs"), "inputs")
        outputs = [] if body.get("outputs") is None else as_array(body.get("outputs"), "outputs")
        if not inputs:
            raise MalformedError("a melt needs inputs")
        if len(inputs) > sizes.array:
            raise TooManyInputsError(f"at most {sizes.array} inputs at a time")
        if len(outputs) > sizes.array:
            raise TooManyOutputsError(f"at most {sizes.array} outputs at a time")
        return cls(
            as_text(body.get("quote"), "quote", QUOTE_ID_LIMIT),
            tuple(Proof.from_json(item, with_dleq=False) for item in inputs),
            tuple(BlindedMessage.from_json(item) for item in outputs),
            body.get("prefer_async") is True,
        )


def _options(value: object) -> int | None:
    """The amount in millisatoshis that a wallet wants to pay, None where it says nothing."""
    options: Mapping[str, object] = {} if value is None else as_object(value, "options")
    if options.get("mpp") is not None:
        raise MalformedError("this mint pays invoices whole")
    amountless = options.get("amountless")
    if amountless is None:
        return None
    told = as_object(amountless, "amountless").get("amount_msat")
    return as_integer(told, "amount_msat", AMOUNT_LIMIT)


def _amount(invoice: Invoice, wanted: int | None) -> int:
    if invoice.amount_msat is None:
        if not wanted:
            raise AmountlessInvoiceError("the invoice names no amount, and neither does the request")
        return wanted
    if wanted not in {None, invoice.amount_msat}:
        raise AmountMismatchError("the invoice is about another amount")
    return invoice.amount_msat
