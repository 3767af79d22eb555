"""Notices when invoices are paid: told by the Lightning node, asked by wallets, and after every outage."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from prometheus_client import CollectorRegistry, Counter

from protocols.cashu.subscription import mint_quote_kind
from roles.mint.lightning import invoice_rows
from roles.mint.lightning.errors import BackendError
from roles.mint.lightning.invoice_rows import Receipt
from roles.mint.lightning.timed import TimedBackend
from roles.mint.notice_board import NoticeBoard
from roles.runtime import crash
from roles.runtime.backoff import Backoff
from roles.runtime.errors import StorageError
from roles.runtime.storage import Database
from roles.runtime.task_group import TaskGroup

ASKED_AT_ONCE = 16
LATE_S = 86_400
"""How long after its expiry an invoice is still asked about: a payment may have been under way."""
PAGE = 256
KIND = mint_quote_kind("bolt11")

_log = logging.getLogger(__name__)


class Till:
    """Counts paid invoices in the store; `clock` gives Unix seconds."""

    def __init__(
        self,
        database: Database,
        backend: TimedBackend,
        registry: CollectorRegistry,
        *,
        clock: Callable[[], float],
        board: NoticeBoard | None = None,
    ) -> None:
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

    async def run(self) -> None:
        """Listen to the node, until cancelled; whatever was missed meanwhile is asked about first."""
        backoff = Backoff()
        while True:
            try:
                async with TaskGroup() as tasks:
                    listening = tasks.create_task(self._listen())
                    await self.catch_up()
                    backoff.reset()
                    await listening
            except* (BackendError, StorageError) as group:
                _log.warning("payments are not heard of at the moment: %s", group.exceptions[0])
            await backoff.wait()

    async def ask(self, payment_hashes: Sequence[bytes]) -> Sequence[Receipt | bool]:
        """Ask the node about invoices of unpaid quotes: whether each has been paid, with the receipt where
        that was counted only now. A node that does not answer leaves them as they are.
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

    async def receive(self, payment_hashes: Sequence[bytes]) -> Mapping[bytes, Receipt]:
        """The node says that these are paid; gives the receipts of those that were not counted yet."""
        now = int(self._clock())
        paid = await self._database.write(lambda c: invoice_rows.settle(c, payment_hashes, now))
        crash.at("mint.invoice-counted")
        self._board.post(KIND, (receipt.quote_id for receipt in paid.values()))
        self._paid.inc(len(paid))
        if len(paid) != len(payment_hashes):
            self._late.inc(len(payment_hashes) - len(paid))
        return paid

    async def _listen(self) -> None:
        async for payment_hashes in self._backend.receipts():
            await self.receive(payment_hashes)

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
        return (await self.receive([payment_hash])).get(payment_hash, True)
