"""A backend whose every call is bounded in time and measured."""

from collections.abc import AsyncIterator, Awaitable, Sequence
from time import perf_counter
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Histogram

from protocols.lightning.invoice import Invoice
from roles.mint.lightning.backend import Backend, Fate, NewInvoice
from roles.mint.lightning.errors import BackendUnavailable, InvoiceRefused
from roles.runtime.time_bound import TimeBound

T = TypeVar("T")


class BackendMeters:
    """What is measured of the calls to a backend."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.seconds = Histogram(
            "hashpool_mint_lightning_call_seconds",
            "Calls to the Lightning node that were answered.",
            ["call"],
            registry=registry,
        )
        self._timed: dict[str, Histogram] = {}
        self.failures = Counter(
            "hashpool_mint_lightning_failures",
            "Calls to the Lightning node that were not carried out.",
            ["call", "reason"],
            registry=registry,
        )

    def observe(self, call: str, took: float) -> None:
        """A call was answered after so many seconds."""
        if call not in self._timed:
            self._timed[call] = self.seconds.labels(call)
        self._timed[call].observe(took)


class TimedBackend:
    """Bounds each call by `call_s`, a payment by `pay_s`; raises BackendUnavailable when that has passed.

    Whatever else a backend raises that is not its own is BackendUnavailable, too: nothing is known then.
    """

    def __init__(self, backend: Backend, registry: CollectorRegistry, *, call_s: float, pay_s: float) -> None:
        self._backend = backend
        self._meters = BackendMeters(registry)
        self._calls = TimeBound(call_s)
        self._payments = TimeBound(pay_s)
        self.pay_s = pay_s
        self.away = ""
        """Why the node is taken for away (`roles.mint.lightning.watch`); empty while it is not."""

    def require(self) -> None:
        """Raises BackendUnavailable while the node is away, so that nothing is begun that needs it."""
        if self.away:
            raise BackendUnavailable(f"the Lightning node is away: {self.away}")

    async def probe(self) -> None:
        """See `Backend`."""
        await self._bounded("probe", self._backend.probe(), self._calls)

    async def create_invoice(self, amount_msat: int, description: str, expiry_s: int) -> NewInvoice:
        """See `Backend`; refused at once while the node is away."""
        self.require()
        made = self._backend.create_invoice(amount_msat, description, expiry_s)
        return await self._bounded("create-invoice", made, self._calls)

    async def is_paid(self, payment_hash: bytes) -> bool:
        """See `Backend`."""
        return await self._bounded("is-paid", self._backend.is_paid(payment_hash), self._calls)

    async def cancel_invoice(self, payment_hash: bytes) -> None:
        """See `Backend`."""
        await self._bounded("cancel-invoice", self._backend.cancel_invoice(payment_hash), self._calls)

    def receipts(self) -> AsyncIterator[Sequence[bytes]]:
        """See `Backend`; it may take its time."""
        return self._backend.receipts()

    async def consider(self, invoice: Invoice, now: int) -> None:
        """See `Backend`; refused at once while the node is away."""
        self.require()
        await self._bounded("consider", self._backend.consider(invoice, now), self._calls)

    async def pay(self, request: str, amount_msat: int, max_fee_msat: int) -> Fate:
        """See `Backend`."""
        paying = self._backend.pay(request, amount_msat, max_fee_msat)
        return await self._bounded("pay", paying, self._payments)

    async def find_payment(self, payment_hash: bytes) -> Fate:
        """See `Backend`."""
        found = self._backend.find_payment(payment_hash)
        return await self._bounded("find-payment", found, self._calls)

    async def close(self) -> None:
        """See `Backend`."""
        await self._bounded("close", self._backend.close(), self._calls)

    async def _bounded(self, call: str, answer: Awaitable[T], bound: TimeBound) -> T:
        started = perf_counter()
        try:
            result = await bound.run(answer)
        except InvoiceRefused:
            self._meters.failures.labels(call, "refused").inc()
            raise
        except TimeoutError as error:
            self._meters.failures.labels(call, "timeout").inc()
            raise BackendUnavailable("the Lightning node did not answer in time") from error
        except Exception as error:
            self._meters.failures.labels(call, "unavailable").inc()
            if isinstance(error, BackendUnavailable):
                raise
            raise BackendUnavailable("the Lightning node failed") from error
        self._meters.observe(call, perf_counter() - started)
        return result
