"""Melts as wallets ask for them (NUT-05, NUT-08): quotes, and tokens put up for a payment.

What has been put up is the cashier's (`roles.mint.melting.cashier`), who pays and settles. A request is first
looked for among those that were begun: the same one again finds its own melt, whether it is pending still or
paid.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from protocols.cashu import p2pk
from protocols.cashu.errors import (
    AmountMismatchError,
    CashuError,
    InvoicePaidError,
    MintingDisabledError,
    PaymentFailedError,
    QuoteExpiredError,
    QuotePendingError,
)
from protocols.cashu.fields import as_object
from roles.mint import signatory
from roles.mint.errors import CountersBrokenError
from roles.mint.halts import WATCHDOG, Halts
from roles.mint.keysets import KeysetBook
from roles.mint.lightning.backend import Fate
from roles.mint.lightning.errors import InvoiceRefused
from roles.mint.lightning.method import METHOD, MSAT, UNIT, check_amount, check_unit
from roles.mint.lightning.till import Till
from roles.mint.lightning.timed import TimedBackend
from roles.mint.melting import pledges, rows, rules
from roles.mint.melting.cashier import Cashier, sign_change
from roles.mint.melting.quote import MeltQuote
from roles.mint.melting.request import MeltQuoteRequest, MeltRequest
from roles.mint.melting.rules import Stake
from roles.mint.random_id import ENTROPY_SIZE, random_id
from roles.mint.request import Sizes
from roles.mint.signatory import Signatory
from roles.runtime import crash
from roles.runtime.storage import Database, IntegrityError
from shared_config.bolt11 import Bolt11Settings


class MeltDesk:
    """Serves wallets that melt; `clock` gives Unix seconds, `entropy` random bytes."""

    name = METHOD

    def __init__(
        self,
        settings: Bolt11Settings,
        database: Database,
        backend: TimedBackend,
        cashier: Cashier,
        *,
        till: Till,
        book: KeysetBook,
        signatory: Signatory,
        halts: Halts,
        clock: Callable[[], float],
        entropy: Callable[[int], bytes],
        sizes: Sizes,
    ) -> None:
        self._till = till
        self._settings = settings
        self._database = database
        self._backend = backend
        self._cashier = cashier
        self._book = book
        self._signatory = signatory
        self._halts = halts
        self._clock = clock
        self._entropy = entropy
        self._sizes = sizes

    async def create(self, body: object) -> MeltQuote:
        """A new melt quote; raises CashuErrors and BackendError."""
        check_unit(as_object(body, "melt quote request").get("unit"))
        request = MeltQuoteRequest.from_json(body)
        if not self._settings.melting:
            raise MintingDisabledError("invoices are not paid at the moment")
        self._halts.check(UNIT, METHOD)
        amount = -(-request.amount_msat // MSAT)
        check_amount(amount, self._settings)
        payment_hash = request.invoice.payment_hash
        await self._till.count()
        own = await self._database.read(lambda c: rows.own_invoice(c, payment_hash))
        await self._database.read(lambda c: rows.check_unpaid(c, payment_hash))
        now = int(self._clock())
        reserve = 0
        if own is None:
            try:
                await self._backend.consider(request.invoice, now)
            except InvoiceRefused as error:
                raise CashuError(f"the invoice will not be paid: {error}") from error
            reserve = rules.fee_reserve(
                amount, self._settings.fee_reserve_ppm, self._settings.fee_reserve_min
            )
        else:
            _check_own(own, request.request, now)
        quote = MeltQuote(
            melt_no=0,
            quote_id=random_id(int(self._clock() * 1000), self._entropy(ENTROPY_SIZE)),
            method=METHOD,
            unit=UNIT,
            request=request.request,
            payment_hash=payment_hash,
            amount=amount,
            amount_msat=request.amount_msat,
            fee_reserve=reserve,
            expiry=now + self._settings.melt_quote_s,
            state="UNPAID",
            updated_at=now,
            mint_quote_no=None if own is None else own.quote_no,
        )
        await self._database.write(lambda c: rows.create(c, quote))
        return quote

    async def quote(self, quote_id: str) -> MeltQuote:
        """A melt quote as it stands; raises QuoteUnknownError."""
        return await self._database.read(lambda c: rows.find(c, METHOD, quote_id))

    async def melt(self, body: object, *, respond_async: bool = False) -> MeltQuote:
        """Pay a quote with tokens; the quote afterwards, pending when the payment takes its time or the
        wallet does not want to wait. Raises CashuErrors, PaymentFailedError among them.
        """
        request = MeltRequest.from_json(body, self._sizes)
        respond_async = respond_async or request.prefer_async
        paying: asyncio.Task[Fate] | None = None
        asked, found = await self._database.read(
            lambda c: (rows.find(c, METHOD, request.quote_id), rows.of_request(c, request.digest))
        )
        if found is None:
            try:
                paying = await self._begin(request, asked)
            except CountersBrokenError as error:
                await self._halts.stop(WATCHDOG, str(error), "stop")
                raise
            found = await self._begun(request)
        if found is not None and found.state == "PENDING" and not respond_async:
            paying = self._cashier.awaited(found.melt_no) or paying
            if paying is not None:
                await asyncio.wait([paying], timeout=self._settings.respond_s)
            # By now it may be pending for somebody else.
            found = await self._begun(request)
        if found is None:
            raise _failure(paying)
        return found

    async def states(self, quote_ids: Sequence[str]) -> Mapping[str, Mapping[str, object]]:
        """Those of the melt quotes that there are, as wallets see them, by id."""
        found = await self._database.read(lambda c: rows.known(c, METHOD, quote_ids))
        return {quote.quote_id: quote.to_json() for quote in found}

    async def _begun(self, request: MeltRequest) -> MeltQuote | None:
        """The melt that this very request has put tokens up for, None when they are not any more."""
        return await self._database.read(lambda c: rows.of_request(c, request.digest))

    async def _begin(self, request: MeltRequest, quote: MeltQuote) -> asyncio.Task[Fate] | None:
        """Check a request, put its tokens up and have it paid; or pay an invoice of this mint at once."""
        if quote.state == "PENDING":
            raise QuotePendingError("the melt quote is being paid")
        if quote.state == "PAID":
            raise InvoicePaidError("the melt quote has been paid")
        moment = self._clock()
        now = int(moment)
        await self._book.meet(proof.keyset_id for proof in request.inputs)
        await self._book.meet(output.keyset_id for output in request.outputs)
        stake = rules.check_melt(request, quote, self._book, now)
        self._halts.check(UNIT, METHOD)
        if quote.mint_quote_no is None:
            self._backend.require()

        def work() -> list[bytes]:
            points = signatory.verify(request.inputs, self._book)
            p2pk.check_inputs(request.inputs, request.outputs, moment, quote.quote_id)
            return points

        points = await self._signatory.run(work)
        # A wallet that hangs up must not leave tokens put up that nobody pays with.
        put_up = self._pay_own if quote.mint_quote_no is not None else self._put_up
        try:
            return await asyncio.shield(asyncio.create_task(put_up(request, quote, stake, points, now)))
        except IntegrityError as error:
            raise QuotePendingError("the invoice is being paid") from error

    async def _put_up(
        self, request: MeltRequest, quote: MeltQuote, stake: Stake, points: list[bytes], now: int
    ) -> asyncio.Task[Fate] | None:
        is_new = await self._database.write(
            lambda c: pledges.pledge(c, request, quote, stake, points, book=self._book, now=now)
        )
        crash.at("mint.melt-pledged")
        self._cashier.changed(quote.quote_id, points)
        return self._cashier.pay(quote.melt_no) if is_new else None

    async def _pay_own(
        self, request: MeltRequest, quote: MeltQuote, stake: Stake, points: list[bytes], now: int
    ) -> None:
        blanks = [(output.blinded, output.keyset_id) for output in request.outputs]
        bill = rules.settle(quote, stake, 0, len(blanks), self._cashier.largest(blanks))
        change = await self._signatory.run(lambda: sign_change(blanks, bill.change, self._book))
        # An invoice that was told as paid already is not paid again.
        await self._till.count()
        self._till.forget([quote.payment_hash])
        await self._database.write(
            lambda c: pledges.pay_own(
                c, request, quote, stake, points, bill=bill, change=change, book=self._book, now=now
            )
        )
        crash.at("mint.melt-own-durable")
        await self._cashier.paid_own(quote, points)


def _failure(paying: asyncio.Task[Fate] | None) -> PaymentFailedError:
    is_known = paying is not None and paying.done() and not paying.cancelled() and not paying.exception()
    if paying is None or not is_known:
        return PaymentFailedError("the payment failed")
    fate = paying.result()
    return PaymentFailedError(f"the payment failed: {fate.reason or fate.outcome}")


def _check_own(own: rows.OwnInvoice, request: str, now: int) -> None:
    """Raises CashuErrors unless it is the very invoice, and can still be paid."""
    if own.request != request:
        raise AmountMismatchError("the invoice has the payment hash of one of this mint, and is another")
    if own.is_paid:
        raise InvoicePaidError("the invoice has been paid")
    if now > own.expires_at:
        raise QuoteExpiredError("the invoice has expired")
