"""What became of shares: every share is counted once, when its fate is known."""

from collections import Counter
from dataclasses import dataclass, field

from protocols.sv1.errors import Rejection
from protocols.translation.verdict import UNKNOWN_JOB

__all__ = ["Tally", "reason"]

_REASONS = {21: "stale", 22: "duplicate", 23: "low", 24: "unauthorized", 25: "unsubscribed"}


def reason(rejection: Rejection) -> str:
    """One word for why a share was rejected; the words are few, whatever upstream says."""
    if (rejection.code, rejection.text) == UNKNOWN_JOB:
        return "unknown-job"
    return _REASONS.get(rejection.code, "invalid")


@dataclass(slots=True)
class Tally:
    """Shares of one miner or of all.

    `accepted`: by the upstream. `local`: good for the miner's own target only, so never sent up. `rejected`
    by reason, here or upstream. `unknown`: the upstream was lost before it answered, or never did.
    `unanswered` counts answers "No verdict from pool", whatever became of the share later; `throttled` how
    often a miner was not read from for a while; `outgrown` the miners that were sent a longer coinbase than
    their firmware is known to take.
    """

    accepted: int = 0
    local: int = 0
    unknown: int = 0
    unanswered: int = 0
    throttled: int = 0
    outgrown: int = 0
    rejected: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """All shares whose fate is known or given up."""
        return self.accepted + self.local + self.unknown + self.rejected.total()
