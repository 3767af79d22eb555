"""An operator's word on a payment whose fate the mint does not learn; the node may know more."""

import logging
from collections.abc import Callable
from typing import Literal

from protocols.bitcoin.hashing import sha256
from roles.mint import journal
from roles.mint.errors import RepairRefused
from roles.mint.lightning.backend import Fate
from roles.mint.lightning.errors import BackendError
from roles.mint.lightning.method import METHOD, MSAT
from roles.mint.lightning.timed import TimedBackend
from roles.mint.melting import rows
from roles.mint.melting.cashier import Cashier
from roles.mint.melting.quote import MeltQuote
from roles.runtime.storage import Database

_log = logging.getLogger(__name__)


class Resolution:
    """Ends pending melts by hand; `grace_s` is how long a call may be on its way to the node."""

    def __init__(
        self,
        database: Database,
        backend: TimedBackend,
        cashier: Cashier,
        *,
        clock: Callable[[], float],
        grace_s: float,
    ) -> None:
        self._database = database
        self._backend = backend
        self._cashier = cashier
        self._clock = clock
        self._grace_s = grace_s

    async def look(self, quote_id: str) -> MeltQuote | None:
        """The melt quote of an id, None where there is none."""
        found = await self._database.read(lambda c: rows.known(c, METHOD, [quote_id]))
        return found[0] if found else None

    async def resolve(
        self,
        quote_id: str,
        outcome: Literal["paid", "failed"],
        reason: str,
        *,
        preimage: bytes | None,
        routing_msat: int | None,
        unasked: bool,
    ) -> bool:
        """Settle a pending melt or give its tokens back; False when it is not pending any more meanwhile.

        The node is asked first, unless `unasked`: what it says for good counts, and what contradicts it, or
        what it is still about, is refused. Without `routing_msat` the whole reserve counts as spent. Raises
        RepairRefused.
        """
        quote = await self.look(quote_id)
        if quote is None:
            raise RepairRefused("there is no melt quote of this id")
        if quote.state != "PENDING":
            raise RepairRefused(f"the melt is not pending, it is {quote.state.lower()}")
        if preimage is not None and sha256(preimage) != quote.payment_hash:
            raise RepairRefused("the preimage is not of this invoice")
        wished = Fate(outcome, self._cost(quote, routing_msat), preimage, reason)
        told = None if unasked else await self._ask(quote)
        if told is not None:
            self._check(quote, wished, told)
        now = int(self._clock())
        action = {"paid": "settle", "failed": "fail"}[outcome]
        heard = "the node was not asked" if told is None else f"the node says {told.outcome}"
        subject = f"melt number {quote.melt_no}"
        await self._database.write(lambda c: journal.record(c, now, action, subject, f"{reason} ({heard})"))
        _log.warning(
            "a melt is ended by hand", extra={"melt": quote.melt_no, "as": outcome, "reason": reason}
        )
        fate = told if told is not None and told.outcome == outcome else wished
        return await self._cashier.conclude(quote.melt_no, fate)

    async def _ask(self, quote: MeltQuote) -> Fate:
        try:
            return await self._backend.find_payment(quote.payment_hash)
        except BackendError as error:
            raise RepairRefused(
                f"the Lightning node does not say what became of it: {error}",
                hint="wait for it; if it is gone for good, look at its own records and add --without-node",
            ) from error

    def _check(self, quote: MeltQuote, wished: Fate, told: Fate) -> None:
        if told.outcome == "pending":
            raise RepairRefused(
                "the node is still trying to pay", hint="wait, or end the payment at the node"
            )
        if told.outcome in {"paid", "failed"} and told.outcome != wished.outcome:
            raise RepairRefused(f"the node says that the payment has {told.outcome}")
        is_early = self._clock() <= (quote.sent_at or 0) + self._grace_s
        if told.outcome == "unknown" and wished.outcome == "failed" and is_early:
            raise RepairRefused(
                "a call may still be on its way to the node", hint=f"wait for {self._grace_s:.0f} s"
            )

    @staticmethod
    def _cost(quote: MeltQuote, routing_msat: int | None) -> int:
        return quote.fee_reserve * MSAT if routing_msat is None else routing_msat
