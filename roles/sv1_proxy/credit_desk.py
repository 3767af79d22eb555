"""Where good shares become rows of the ledger, and where the pool's word on them is heard.

With the policy `local` our verdict counts: a share is stored, and answered when it is durable, whatever the
pool says of it. With `upstream-verdict` one that goes to the pool waits for its word: accepted, it is stored
and answered; refused, it is answered by that; lost, nothing is stored, because nobody knows. A share that is
too easy for the pool is ours to judge either way.
"""

import logging
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from protocols.bitcoin.target import MAX_TARGET, work
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
    """A good share: `target` is what it is worth, `key` who earns it, None for nobody, `tally` its miner's,
    `block` the target of a block.

    `credited` hears of its work when it is stored for the first time.
    """

    share: JudgedShare
    target: int
    key: bytes | None
    block: int
    tally: Tally
    credited: Callable[[int], None]


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
        hardest: int = MAX_TARGET,
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
        share, target, key, block, _, _ = found
        if crash.is_armed:
            crash.at("sv1_proxy.share-judged")
        share_hash = share.share_hash
        amount = share_amount(share_hash, target, self._minimum, self._valuation)
        if not amount:
            # Too little work for a unit, by the luck of its hash: good, and worth nothing.
            settle(ACCEPTED)
            return
        if self._disk.is_low:
            self._withhold("ledger-full")
            settle(FULL)
            return
        is_block = int.from_bytes(share_hash, "little") <= min(block, self._hardest)
        # Its own constructor takes three times as long.
        entry: Entry = tuple.__new__(Entry, (share_hash, share.header, target, amount, key, is_block))
        self._enter((entry,), self._stored, (found, amount, settle))

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
        self.meters.forwarded.labels(verdict.outcome.value).value += 1
        self.log.share(job, found.share, found.key, verdict)
        if not self.asks_pool:
            return
        if verdict.outcome is Word.ACCEPTED:
            self.credit(found, settle)
            return
        self._withhold("pool-refused" if verdict.outcome is Word.REFUSED else "pool-silent")
        settle(verdict)

    def _stored(self, about: tuple[Found, int, Settle], outcome: Outcome | BaseException, start: int) -> None:
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
        # Most are new, and have no records of their own.
        fate = Fate.RECORDED if outcome.records is None else outcome.of(start).fate
        if fate is Fate.DUPLICATE:
            self._withhold("duplicate")
            settle(DUPLICATE)
            return
        if fate is Fate.RECORDED:
            hashes = work(found.target)
            self.meters.credited.value += 1
            self.meters.work.value += hashes
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
