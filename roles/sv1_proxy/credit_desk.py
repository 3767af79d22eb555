"""Where good shares become rows of the ledger, and where the pool's word on them is heard.

With the policy `local` our verdict counts: a share is stored, and answered when it is durable, whatever the
pool says of it. With `upstream-verdict` one that goes to the pool waits for its word: accepted, it is stored
and answered; refused, it is answered by that; lost, nothing is stored, because nobody knows. A share that is
too easy for the pool is ours to judge either way.
"""

import logging
from functools import partial
from typing import Any, Final, NamedTuple

from protocols.bitcoin.errors import TargetError
from protocols.bitcoin.target import from_bits, work
from protocols.ehash.amount import Valuation, share_amount
from protocols.mining.errors import DuplicateShare, StaleShare
from protocols.translation.share import JudgedShare
from protocols.translation.upstream_job import UpstreamJob
from roles.credit.disk import DiskWatch
from roles.credit.ledger import Ledger
from roles.credit.ledger_rows import Entry, Fate, Outcome
from roles.runtime import crash
from roles.runtime.errors import StorageError
from roles.stratum.submissions import ACCEPTED, LOST, Settle, Verdict
from roles.stratum.submissions import Outcome as Word
from roles.stratum.tally import Tally
from roles.sv1_proxy.credit_meters import CreditMeters
from roles.sv1_proxy.job_log import JobLog

__all__ = ["CreditDesk", "Found"]

FULL: Final = Verdict(Word.REFUSED, "ledger-full")
STALE: Final = Verdict(Word.REFUSED, StaleShare.code)
DUPLICATE: Final = Verdict(Word.REFUSED, DuplicateShare.code)

_log = logging.getLogger(__name__)


class Found(NamedTuple):
    """A good share: `target` is what it is worth, `key` who earns it, None for nobody, `tally` its miner's.

    `credited` hears of its work when it is stored for the first time.
    """

    share: JudgedShare
    target: int
    key: bytes | None
    bits: int
    tally: Tally
    credited: Any


class CreditDesk:
    """One for all miners; `hardest` stands for the target of a block where that is too easy (regtest)."""

    def __init__(
        self,
        ledger: Ledger,
        log: JobLog,
        disk: DiskWatch,
        meters: CreditMeters,
        *,
        minimum: int,
        valuation: Valuation,
        asks_pool: bool,
        hardest: int | None = None,
    ) -> None:
        self.asks_pool = asks_pool
        """Whether the pool's word counts for what it is sent."""
        self.meters = meters
        self.log = log
        self._enter = ledger.enter
        self._disk = disk
        self._minimum = minimum
        self._valuation = valuation
        self._hardest = hardest

    def credit(self, found: Found, settle: Settle) -> None:
        """Store a share that nobody else is asked about; `settle` hears when it is durable."""
        share = found.share
        if crash.is_armed:
            crash.at("sv1_proxy.share-judged")
        amount = share_amount(share.share_hash, found.target, self._minimum, self._valuation)
        if not amount:
            # Too little work for a unit, by the luck of its hash: good, and worth nothing.
            settle(ACCEPTED)
            return
        if self._disk.is_low:
            self._withhold("ledger-full")
            settle(FULL)
            return
        entry = Entry(share.share_hash, share.header, found.target, amount, found.key, self._is_block(found))
        self._enter([entry], self._stored, (found, amount, settle))

    def lost(self, settle: Settle) -> None:
        """A share of work that the pool does not know any more, so that nobody would pay for it."""
        self._withhold("work-lost")
        settle(STALE)

    def forwarded(self, found: Found, job: UpstreamJob, settle: Settle) -> Settle:
        """What is to hear the pool's word on a share that goes there."""
        return partial(self._judged, found, job, settle)

    def _judged(self, found: Found, job: UpstreamJob, settle: Settle, verdict: Verdict) -> None:
        if crash.is_armed:
            crash.at("sv1_proxy.verdict-heard")
        self.meters.forwarded.labels(verdict.outcome.value).inc()
        share = found.share
        self.log.share(
            job,
            share.share_hash,
            share.header,
            share.extranonce,
            found.key,
            outcome=verdict.outcome.value,
            code=verdict.code,
        )
        if not self.asks_pool:
            return
        if verdict.outcome is Word.ACCEPTED:
            self.credit(found, settle)
            return
        self._withhold("pool-refused" if verdict.outcome is Word.REFUSED else "pool-silent")
        settle(verdict)

    def _stored(self, about: tuple[Found, int, Settle], outcome: Outcome | BaseException) -> None:
        found, amount, settle = about
        if isinstance(outcome, BaseException):
            if not isinstance(outcome, StorageError):
                _log.error("recording a share failed", exc_info=outcome)
            self._withhold("not-stored")
            # Nobody knows whether it is there; it may come again.
            settle(LOST)
            return
        if crash.is_armed:
            crash.at("sv1_proxy.share-durable")
        fate = outcome.of(0).fate
        if fate is Fate.DUPLICATE:
            self._withhold("duplicate")
            settle(DUPLICATE)
            return
        if fate is Fate.RECORDED:
            hashes = work(found.target)
            self.meters.credited.inc()
            self.meters.work.inc(hashes)
            if found.key is not None:
                found.tally.ehash += amount
            found.credited(hashes)
        else:
            self.meters.repeated.inc()
        settle(ACCEPTED)
        if crash.is_armed:
            crash.once_sent("sv1_proxy.share-answered")

    def _withhold(self, why: str) -> None:
        self.meters.withheld.labels(why).inc()

    def _is_block(self, found: Found) -> bool:
        try:
            target = from_bits(found.bits)
        except TargetError:
            return False
        if self._hardest is not None:
            target = min(target, self._hardest)
        return int.from_bytes(found.share.share_hash, "little") <= target
