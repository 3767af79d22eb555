"""Notices when invoices are paid: told by the Lightning node, asked by wallets, and after every outage.

A payment that comes to light because a wallet asks is told at once and counted in the store a moment later,
most often in the very write that mints it: the node remembers it, and is asked again when the mint was
killed meanwhile.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import islice

from prometheus_client import CollectorRegistry, Counter, Gauge

from protocols.cashu.subscription import mint_quote_kind
from roles.mint.lightning import invoice_rows
from roles.mint.lightning.errors import BackendError
from roles.mint.lightning.fresh_quotes import FreshQuotes
from roles.mint.lightning.invoice_rows import Receipt
from roles.mint.lightning.timed import TimedBackend
from roles.mint.notice_board import NoticeBoard
from roles.mint.quote import Quote
from roles.runtime import crash
from roles.runtime.backoff import Backoff
from roles.runtime.errors import StorageError
from roles.runtime.storage import Database
from roles.runtime.task_group import TaskGroup

ASKED_AT_ONCE = 16
LATE_S = 86_400
"""How long after its expiry an invoice is still asked about: a payment may have been under way."""
PAGE = 256
TOLD_LIMIT = 1_000
"""Payments that wallets were told of and that wait to be counted; further ones are counted before they are
told.
"""
KIND = mint_quote_kind("bolt11")

_log = logging.getLogger(__name__)


class Till:
    """Counts paid invoices in the store; `clock` gives Unix seconds.

    `count_after_s` is how long those wait that wallets were told of; 0 where others have the store, too.
    """

    def __init__(
        self,
        database: Database,
        backend: TimedBackend,
        registry: CollectorRegistry,
        *,
        clock: Callable[[], float],
        board: NoticeBoard | None = None,
        count_after_s: float = 0.0,
    ) -> None:
        self._count_after_s = count_after_s
        self._fresh = FreshQuotes()
        self._told: dict[bytes, None] = {}
        self._is_due = asyncio.Event()
        self._database = database
        self._board = board or NoticeBoard()
        self._backend = backend
        self._clock = clock
        self._asking: dict[bytes, asyncio.Task[Receipt | bool]] = {}
        self._slots = asyncio.Semaphore(ASKED_AT_ONCE)
        self._paid = Counter(
            "hashpool_mint_invoices_paid", "Invoices of the mint that were paid.", registry=registry
        )
        self._late = Counter(
            "hashpool_mint_invoices_paid_again",
            "Payments that no quote was waiting for: told twice, or paid twice.",
            registry=registry,
        )
        Gauge(
            "hashpool_mint_invoices_told",
            "Paid invoices that wallets were told of and that are not counted in the store yet.",
            registry=registry,
        ).set_function(lambda: float(len(self._told)))

    def keep(self, quote: Quote) -> None:
        """A quote was made, durably."""
        if self._count_after_s:
            self._fresh.keep(quote)

    def recall(self, quote_ids: Sequence[str]) -> list[Quote] | None:
        """These quotes as the store has them, but for payments that are not counted yet; None where it must
        be asked.
        """
        found = self._fresh.find(quote_ids)
        if found is not None and any(self._clock() > (quote.expiry or 0) for quote in found):
            # It may be forgotten in the store.
            self._fresh.forget(quote_ids)
            return None
        return found

    def leave(self, quote_ids: Iterable[str]) -> None:
        """Others are about to change these quotes in the store, or have done so."""
        self._fresh.forget(quote_ids)

    def forget(self, payment_hashes: Iterable[bytes]) -> None:
        """The same of quotes by the hashes of their invoices."""
        self._fresh.forget_payments(payment_hashes)

    def minted(self, quotes: Iterable[Quote]) -> None:
        """These were minted as they were told, which has counted them."""
        for quote in quotes:
            if not quote.is_counted and quote.payment_hash in self._told:
                del self._told[quote.payment_hash]
                self._paid.inc()

    async def run(self) -> None:
        """Listen to the node, until cancelled; whatever was missed meanwhile is asked about first."""
        backoff = Backoff()
        while True:
            try:
                async with TaskGroup() as tasks:
                    listening = tasks.create_task(self._listen())
                    tasks.create_task(self._count_later())
                    await self.catch_up()
                    backoff.reset()
                    await listening
            except* (BackendError, StorageError) as group:
                _log.warning("payments are not heard of at the moment: %s", group.exceptions[0])
            await backoff.wait()

    async def ask(self, payment_hashes: Sequence[bytes]) -> Sequence[Receipt | bool]:
        """Ask the node about invoices of unpaid quotes: whether each has been paid, with the receipt where
        that was not counted before. A node that does not answer leaves them as they are.
        """
        if len(payment_hashes) == 1:
            return (await self._ask(payment_hashes[0]),)
        return await asyncio.gather(*map(self._ask, payment_hashes))

    async def catch_up(self) -> None:
        """Ask about every invoice that is not paid yet, those that have expired lately, too."""
        place = (int(self._clock()) - LATE_S, 0)
        while True:
            found = await self._database.read(partial(invoice_rows.open_invoices, after=place, limit=PAGE))
            if not found:
                return
            await asyncio.gather(*(self._ask(invoice.payment_hash) for invoice in found))
            place = found[-1].place

    async def count(self) -> None:
        """Have the store know all that wallets were told; raises StorageError."""
        while self._told:
            await self.receive(list(islice(self._told, PAGE)))

    async def receive(self, payment_hashes: Sequence[bytes]) -> Mapping[bytes, Receipt]:
        """The node says that these are paid; gives the receipts of those that were not counted yet."""
        now = int(self._clock())
        self.forget(payment_hashes)
        paid = await self._database.write(lambda c: invoice_rows.settle(c, payment_hashes, now))
        for payment_hash in payment_hashes:
            self._told.pop(payment_hash, None)
        crash.at("mint.invoice-counted")
        self._board.post(KIND, (receipt.quote_id for receipt in paid.values()))
        self._paid.inc(len(paid))
        if len(paid) != len(payment_hashes):
            self._late.inc(len(payment_hashes) - len(paid))
        return paid

    async def _listen(self) -> None:
        async for payment_hashes in self._backend.receipts():
            await self.receive(payment_hashes)

    async def _count_later(self) -> None:
        while True:
            await self._is_due.wait()
            await asyncio.sleep(self._count_after_s)
            self._is_due.clear()
            await self.count()

    async def _ask(self, payment_hash: bytes) -> Receipt | bool:
        task = self._asking.get(payment_hash)
        if task is None:
            task = self._asking[payment_hash] = asyncio.create_task(self._ask_node(payment_hash))
            task.add_done_callback(lambda _: self._asking.pop(payment_hash))
        return await asyncio.shield(task)

    async def _ask_node(self, payment_hash: bytes) -> Receipt | bool:
        async with self._slots:
            try:
                if not await self._backend.is_paid(payment_hash):
                    return False
            except BackendError as error:
                _log.debug("the node was asked about an invoice in vain: %s", error)
                return False
        quote = self._fresh.of_payment(payment_hash)
        if quote is None or len(self._told) >= TOLD_LIMIT:
            return (await self.receive([payment_hash])).get(payment_hash, True)
        return self._tell(payment_hash, quote)

    def _tell(self, payment_hash: bytes, quote: Quote) -> Receipt:
        """Take a quote for paid that the store will have as such."""
        if quote.is_counted:
            quote = quote.paid(max(int(self._clock()), quote.updated_at + 1), is_counted=False)
            self._fresh.keep(quote)
            self._told[payment_hash] = None
            self._is_due.set()
        return Receipt(quote.quote_id, quote.updated_at, is_counted=False)
