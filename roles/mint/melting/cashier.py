"""Pays what melts have put up, and settles each exactly once.

The tokens of a melt are durably pending before its payment is sent. They are spent when the node says that
it has paid, given back when it says that it never will, and stay pending as long as it says neither. After a
crash, and now and then, every pending melt that nobody here looks after is asked about. A payment that the
node does not know counts as failed only when no call of any process can be on its way to it any more.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge

from protocols.cashu.errors import OutputsSignedError
from protocols.cashu.models import BlindedMessage, BlindSignature
from protocols.cashu.subscription import PROOF_STATE, melt_quote_kind, mint_quote_kind
from roles.mint import signatory
from roles.mint.keysets import KeysetBook
from roles.mint.lightning.backend import Fate
from roles.mint.lightning.errors import BackendError, InvoiceRefused
from roles.mint.lightning.method import METHOD, MSAT
from roles.mint.lightning.timed import TimedBackend
from roles.mint.melting import pledges, rows, rules
from roles.mint.melting.pledges import Pledge
from roles.mint.melting.quote import MeltQuote
from roles.mint.notice_board import NoticeBoard
from roles.mint.signatory import Signatory
from roles.runtime import crash
from roles.runtime.backoff import Backoff
from roles.runtime.errors import StorageError
from roles.runtime.storage import Database

ASKED_AT_ONCE = 16
SWEEP_S = 30.0
"""How often melts that nobody looks after are looked for."""

_log = logging.getLogger(__name__)


class Cashier:
    """Looks after pending melts; `clock` gives Unix seconds, `grace_s` is how long a call of any process may
    be on its way to the node.
    """

    def __init__(
        self,
        database: Database,
        backend: TimedBackend,
        book: KeysetBook,
        *,
        signatory: Signatory,
        registry: CollectorRegistry,
        board: NoticeBoard,
        clock: Callable[[], float],
        grace_s: float,
    ) -> None:
        self._database = database
        self._backend = backend
        self._book = book
        self._signatory = signatory
        self._board = board
        self._clock = clock
        self._grace_s = grace_s
        self._tasks: dict[int, asyncio.Task[Fate]] = {}
        self._slots = asyncio.Semaphore(ASKED_AT_ONCE)
        self._melts = Counter(
            "hashpool_mint_melts",
            "Payments for tokens, by what became of them.",
            ["outcome"],
            registry=registry,
        )
        self._melted = Counter("hashpool_mint_melted_sat", "Sats paid for tokens.", registry=registry)
        self._routing = Counter(
            "hashpool_mint_melt_fees_msat", "Millisatoshis that routing has cost.", registry=registry
        )
        self._over = Counter(
            "hashpool_mint_melts_over_reserve",
            "Payments whose routing cost more than their reserve; the mint has borne the rest.",
            registry=registry,
        )
        pending = Gauge(
            "hashpool_mint_melts_looked_after", "Payments whose fate is awaited here.", registry=registry
        )
        pending.set_function(lambda: float(len(self._tasks)))

    async def run(self) -> None:
        """Look after what was left pending, by former lives and by others, until cancelled."""
        try:
            while True:
                await self.sweep()
                await asyncio.sleep(SWEEP_S)
        finally:
            tasks = list(self._tasks.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def sweep(self) -> None:
        """Ask about every pending melt that nobody here looks after."""
        try:
            found = await self._database.read(rows.pending)
        except StorageError as error:
            _log.warning("pending payments cannot be looked for: %s", error)
            return
        for melt_no in found:
            self._look_after(melt_no, is_new=False)

    def pay(self, melt_no: int) -> asyncio.Task[Fate]:
        """Pay for a melt whose tokens have just been put up."""
        return self._look_after(melt_no, is_new=True)

    def awaited(self, melt_no: int) -> asyncio.Task[Fate] | None:
        """What ends when the fate of a melt is known and settled, None when nobody here looks after it."""
        return self._tasks.get(melt_no)

    async def paid_own(self, quote: MeltQuote, points: Sequence[bytes]) -> None:
        """An invoice of the mint itself has been paid by tokens: nobody else should pay it."""
        self._melts.labels("own").inc()
        self._melted.inc(quote.amount)
        self.changed(quote.quote_id, points)
        own = await self._database.read(lambda c: rows.own_invoice(c, quote.payment_hash))
        if own is not None:
            self._board.post(mint_quote_kind(METHOD), [own.quote_id])
        try:
            await self._backend.cancel_invoice(quote.payment_hash)
        except BackendError as error:
            _log.info("an invoice that was paid by tokens could not be cancelled: %s", error)

    async def conclude(self, melt_no: int, fate: Fate) -> bool:
        """Settle a pending melt, or give its tokens back, as somebody who knows says; False when it is not
        pending any more.
        """
        while True:
            pledged = await self._database.read(lambda c: pledges.find_pledge(c, melt_no))
            if pledged is None:
                return False
            try:
                await self._settle(pledged, fate)
            except OutputsSignedError:
                continue
            return True

    def changed(self, quote_id: str, points: Sequence[bytes]) -> None:
        """Tell those who listen that a melt, and its proofs, are not as they were."""
        self._board.post(melt_quote_kind(METHOD), [quote_id])
        self._board.post(PROOF_STATE, (point.hex() for point in points))

    def largest(self, blanks: Sequence[tuple[bytes, str]]) -> int:
        """The largest amount that all of these outputs (B_, keyset) can get; 1 where there are none."""
        return min((1 << self._book.get(each).denominations - 1 for _, each in blanks), default=1)

    def _look_after(self, melt_no: int, *, is_new: bool) -> asyncio.Task[Fate]:
        task = self._tasks.get(melt_no)
        if task is None:
            task = self._tasks[melt_no] = asyncio.create_task(self._see_through(melt_no, is_new=is_new))
            task.add_done_callback(lambda done: self._done(melt_no, done))
        return task

    def _done(self, melt_no: int, task: asyncio.Task[Fate]) -> None:
        self._tasks.pop(melt_no, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a pending payment is left to the next look", exc_info=error)

    async def _see_through(self, melt_no: int, *, is_new: bool) -> Fate:
        """From pending to settled, however long that takes."""
        backoff = Backoff(first_s=0.2, limit_s=20.0)
        fate = Fate("pending")
        is_over = heard = False
        while True:
            try:
                pledged = await self._database.read(lambda c: pledges.find_pledge(c, melt_no))
                if pledged is None:
                    return fate
                if not is_over:
                    answer = await self._ask(pledged, is_new=is_new)
                    heard = heard or (answer is not None and (is_new or answer.outcome == "pending"))
                    fate, is_new = answer or fate, False
                    late = self._clock() > (pledged.quote.sent_at or 0) + self._grace_s
                    is_over = answer is not None and rules.is_over(answer, heard=heard, late=late)
                if is_over:
                    await self._settle(pledged, fate)
                    return fate
            except OutputsSignedError:
                _log.info("an output for change was signed elsewhere; the change is made anew")
                continue
            except StorageError as error:
                _log.warning("a payment cannot be settled at the moment: %s", error)
            await backoff.wait()

    async def _ask(self, pledged: Pledge, *, is_new: bool) -> Fate | None:
        """Pay, or ask what became of it; None when the node does not say."""
        quote = pledged.quote
        try:
            if is_new:
                fate = await self._backend.pay(quote.request, quote.amount_msat, quote.fee_reserve * MSAT)
                crash.at("mint.melt-sent")
                return fate
            async with self._slots:
                return await self._backend.find_payment(quote.payment_hash)
        except InvoiceRefused as error:
            return Fate("failed", reason=str(error)) if is_new else None
        except BackendError as error:
            _log.warning("the fate of a payment is not known: %s", error)
            return None

    async def _settle(self, pledged: Pledge, fate: Fate) -> None:
        quote, now = pledged.quote, int(self._clock())
        if fate.outcome != "paid":
            await self._database.write(lambda c: pledges.give_up(c, quote.melt_no, now))
            crash.at("mint.melt-given-up")
            self._melts.labels("failed").inc()
            self.changed(quote.quote_id, pledged.points)
            return
        blanks = pledged.blanks
        bill = rules.settle(quote, pledged.stake, fate.fee_msat, len(blanks), self.largest(blanks))
        change = await self._signatory.run_own(lambda: sign_change(blanks, bill.change, self._book))
        crash.at("mint.melt-change-signed")
        is_settled = await self._database.write(
            lambda c: pledges.settle(c, pledged, bill, fate.preimage, change, book=self._book, now=now)
        )
        crash.at("mint.melt-durable")
        if is_settled:
            self._melts.labels("paid").inc()
            self._melted.inc(quote.amount)
            self._routing.inc(fate.fee_msat)
            if fate.fee_msat > quote.fee_reserve * MSAT:
                self._over.inc()
                _log.error("a payment cost more than its reserve", extra={"melt": quote.melt_no})
        self.changed(quote.quote_id, pledged.points)


def sign_change(
    blanks: Sequence[tuple[bytes, str]], amounts: Sequence[int], book: KeysetBook
) -> list[tuple[bytes, BlindSignature]]:
    """Signatures over the first blank outputs (B_, keyset) for these amounts, each with its B_."""
    outputs = [
        BlindedMessage(amount, keyset_id, blinded)
        for (blinded, keyset_id), amount in zip(blanks, amounts, strict=False)
    ]
    signatures = signatory.sign(outputs, book)
    return [(output.blinded, signature) for output, signature in zip(outputs, signatures, strict=True)]
