"""What became of shares: every share is counted once, when its fate is known."""

from collections import Counter
from dataclasses import dataclass, field

from protocols.bitcoin.target import DIFFICULTY_ONE, SPACE
from protocols.sv1.errors import Rejection
from protocols.translation.verdict import UNKNOWN_JOB
from roles.stratum.latencies import Latencies
from roles.stratum.work_rate import WorkRate

__all__ = ["Tally", "reason"]

_REASONS = {21: "stale", 22: "duplicate", 23: "low", 24: "unauthorized", 25: "unsubscribed"}


def reason(rejection: Rejection) -> str:
    """One word for why a share was rejected; the words are few, whatever upstream says."""
    if (rejection.code, rejection.text) == UNKNOWN_JOB:
        return "unknown-job"
    return _REASONS.get(rejection.code, "invalid")


@dataclass(slots=True, eq=False)
class Tally:
    """Shares of one miner or of all; `rate` is of those accepted, and tells since when.

    `accepted`: by the upstream. `local`: good for the miner's own target only, so never sent up. `rejected`
    by reason, here or upstream. `unknown`: the upstream was lost before it answered, or never did.
    `unanswered` counts answers "No verdict from pool", whatever became of the share later; `throttled` how
    often a miner was not read from for a while; `outgrown` the miners that were sent a longer coinbase than
    their firmware is known to take. `best` is the lowest hash of a share, as a number; `last` when the latest
    was found, in monotonic seconds; `ehash` what is known to be credited. `number` names a miner for as long
    as it is remembered. `faults` counts what was wrong beside shares, of all only. `verdicts`, where it is
    wanted, is how long the upstream takes.
    """

    number: int = 0
    rate: WorkRate = field(default_factory=lambda: WorkRate(0.0))
    accepted: int = 0
    local: int = 0
    unknown: int = 0
    unanswered: int = 0
    throttled: int = 0
    outgrown: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    best: int = SPACE
    last: float | None = None
    ehash: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    verdicts: Latencies | None = None

    @property
    def total(self) -> int:
        """All shares whose fate is known or given up."""
        return self.accepted + self.local + self.unknown + self.rejected.total()

    @property
    def best_difficulty(self) -> float | None:
        """The difficulty that the best share would have met, None before any."""
        return None if self.best == SPACE else DIFFICULTY_ONE / max(1, self.best)

    def found(self, share_hash: int, now: float) -> None:
        """A share is good as far as we see; its verdict is to come."""
        self.last = now
        self.best = min(self.best, share_hash)

    def credit(self, hashes: float, now: float) -> None:
        """A share that takes so many hashes was accepted."""
        self.accepted += 1
        self.rate.add(hashes, now)

    def credit_many(self, work: float, squares: float, shares: int, now: float) -> None:
        """Shares that take so many hashes together, with the sum of their squares, were accepted."""
        self.accepted += shares
        self.rate.add_many(work, squares, shares, now)

    def absorb(self, other: "Tally") -> None:
        """Count what another one has counted of the same miner, but for its work."""
        self.accepted += other.accepted
        self.local += other.local
        self.unknown += other.unknown
        self.unanswered += other.unanswered
        self.rejected.update(other.rejected)
        self.ehash += other.ehash
