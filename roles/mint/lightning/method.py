"""The method bolt11: quotes that are paid by Lightning invoice (NUT-04, NUT-23)."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from protocols.bitcoin.secp256k1 import is_point
from protocols.cashu.errors import (
    AmountOutOfLimitsError,
    CashuError,
    MalformedError,
    MintingDisabledError,
    PubkeyRequiredError,
    UnitUnsupportedError,
)
from protocols.cashu.fields import as_integer, as_object, as_point, as_text
from protocols.lightning.invoice import DESCRIPTION_LIMIT
from roles.mint import quote_rows
from roles.mint.errors import OverloadedError
from roles.mint.halts import Halts
from roles.mint.lightning import invoice_rows
from roles.mint.lightning.errors import InvoiceRefused
from roles.mint.lightning.invoice_rows import Receipt
from roles.mint.lightning.till import LATE_S, Till
from roles.mint.lightning.timed import TimedBackend
from roles.mint.quote import Quote
from roles.mint.random_id import ENTROPY_SIZE, random_id
from roles.runtime import crash
from roles.runtime.storage import Database
from shared_config.bolt11 import Bolt11Settings

METHOD: Final = "bolt11"
UNIT: Final = "sat"
MSAT: Final = 1_000
"""Millisatoshis of one sat."""

_UNIT_LIMIT = 255
_COUNT_S = 10.0


@dataclass(frozen=True, slots=True)
class QuoteRequest:
    """The body of POST /v1/mint/quote/bolt11; `amount` in sats, `pubkey` 33 bytes or None."""

    amount: int
    description: str
    pubkey: bytes | None

    @classmethod
    def from_json(cls, value: object) -> "QuoteRequest":
        """Read it; raises MalformedError, UnitUnsupportedError, PubkeyRequiredError."""
        body = as_object(value, "quote request")
        check_unit(body.get("unit"))
        description = body.get("description")
        text = "" if description is None else as_text(description, "description", DESCRIPTION_LIMIT)
        if len(text.encode()) > DESCRIPTION_LIMIT:
            raise MalformedError(f"description is longer than {DESCRIPTION_LIMIT} bytes")
        return cls(as_integer(body.get("amount"), "amount"), text, _pubkey(body.get("pubkey")))


class Bolt11Method:
    """Makes quotes and asks after their invoices; `clock` gives Unix seconds, `entropy` random bytes."""

    name = METHOD

    def __init__(
        self,
        settings: Bolt11Settings,
        database: Database,
        backend: TimedBackend,
        till: Till,
        halts: Halts,
        *,
        clock: Callable[[], float],
        entropy: Callable[[int], bytes],
    ) -> None:
        self._settings = settings
        self._database = database
        self._backend = backend
        self._till = till
        self._halts = halts
        self._clock = clock
        self._entropy = entropy
        self._open = 0
        self._counted_at = -_COUNT_S

    async def create(self, body: object) -> Quote:
        """A new quote with its invoice, stored.

        Raises CashuErrors, OverloadedError, and BackendError when the Lightning node does not do its part.
        """
        request = QuoteRequest.from_json(body)
        settings = self._settings
        if not settings.minting:
            raise MintingDisabledError("sats are not minted at the moment")
        self._halts.check(UNIT, METHOD)
        check_amount(request.amount, settings)
        await self._check_room()
        try:
            invoice = await self._backend.create_invoice(
                request.amount * MSAT, request.description, settings.invoice_s
            )
        except InvoiceRefused as error:
            raise CashuError(f"no invoice was made: {error}") from error
        crash.at("mint.invoice-made")
        now = self._clock()
        quote = Quote(
            quote_id=random_id(int(now * 1000), self._entropy(ENTROPY_SIZE)),
            method=METHOD,
            unit=UNIT,
            request=invoice.request,
            amount=request.amount,
            amount_paid=0,
            amount_issued=0,
            updated_at=int(now),
            pubkey=request.pubkey,
            expiry=invoice.expires_at,
            payment_hash=invoice.payment_hash,
        )
        await self._database.write(lambda c: invoice_rows.store(c, quote, invoice, int(now)))
        self._till.keep(quote)
        return quote

    def recall(self, quote_ids: Sequence[str]) -> Sequence[Quote] | None:
        """Those that were made here lately."""
        return self._till.recall(quote_ids)

    def leave(self, quote_ids: Iterable[str]) -> None:
        """They are made here no more."""
        self._till.leave(quote_ids)

    def minted(self, quotes: Iterable[Quote]) -> None:
        """Those that were not counted as paid are now."""
        self._till.minted(quotes)

    async def look(self, quotes: Sequence[Quote]) -> Sequence[Quote]:
        """The same quotes after the Lightning node was asked about those that are not paid."""
        now = self._clock()
        unpaid = [
            quote.payment_hash
            for quote in quotes
            if quote.amount_paid == 0
            and quote.payment_hash is not None
            and now < (quote.expiry or 0) + LATE_S
        ]
        if not unpaid:
            return quotes
        answers = await self._till.ask(unpaid)
        if not any(answers):
            return quotes
        if True in answers:
            # Somebody else has counted it, and the store alone knows when.
            ids = [quote.quote_id for quote in quotes]
            return await self._database.read(lambda c: quote_rows.find(c, METHOD, ids))
        paid = {each.quote_id: each for each in answers if isinstance(each, Receipt)}
        return [
            quote
            if (receipt := paid.get(quote.quote_id)) is None
            else quote.paid(receipt.updated_at, is_counted=receipt.is_counted)
            for quote in quotes
        ]

    def settings(self, units: Iterable[str]) -> list[dict[str, object]]:
        """Sat, if it has a keyset that signs."""
        return [self._setting({"description": True})] if self._settings.minting and UNIT in units else []

    def melt_settings(self, units: Iterable[str]) -> list[dict[str, object]]:
        """Sat, if it has a keyset."""
        return [self._setting({"amountless": True})] if self._settings.melting and UNIT in units else []

    def _setting(self, options: dict[str, object]) -> dict[str, object]:
        return {
            "method": METHOD,
            "unit": UNIT,
            "method_name": "Lightning",
            "min_amount": self._settings.min_amount,
            "max_amount": self._settings.max_amount,
            "options": options,
        }

    async def _check_room(self) -> None:
        now = self._clock()
        if abs(now - self._counted_at) >= _COUNT_S:
            self._counted_at = now
            self._open = await self._database.read(lambda c: invoice_rows.count_open(c, int(now)))
        if self._open >= self._settings.open_quotes:
            raise OverloadedError("too many quotes wait for their payment")
        self._open += 1


def check_unit(value: object) -> None:
    """Raises MalformedError, UnitUnsupportedError for another unit than sat."""
    unit = as_text(value, "unit", _UNIT_LIMIT)
    if unit.lower() != UNIT:
        raise UnitUnsupportedError(f"the unit {unit[:32]!r} is not paid over Lightning, only {UNIT}")


def check_amount(amount: int, settings: Bolt11Settings) -> None:
    """Raises AmountOutOfLimitsError for an amount of sats that is not dealt in."""
    if not settings.min_amount <= amount <= settings.max_amount:
        raise AmountOutOfLimitsError(
            f"amounts are from {settings.min_amount} to {settings.max_amount} {UNIT} at a time"
        )


def _pubkey(value: object) -> bytes | None:
    if value is None:
        return None
    try:
        key = as_point(value, "pubkey")
    except MalformedError as error:
        raise PubkeyRequiredError(error.detail) from None
    if not is_point(key):
        raise PubkeyRequiredError("pubkey is not a point of the curve")
    return key
