"""What one peer has cost us lately, counted in seconds of our patience, of which each second forgives one.

An ordinary request costs its part of the rate that a peer may have; what is wrong costs more. Who is above
the soft limit is not read from for a while, so that a peer that is merely fast has its rate and nothing else
happens to it. Who is above the hard one, where only faults lead, is no miner.
"""

from collections import Counter
from dataclasses import dataclass

__all__ = ["CostAccount", "CostTerms"]

PAUSE_S = 0.25
"""The longest that one request has its peer wait, so that who does nothing but wrong comes to its end."""


@dataclass(frozen=True, slots=True)
class CostTerms:
    """`rate`: requests a second that cost nothing in the end. In seconds: `soft_s` and `hard_s`, the limits;
    `bad_line_s`, the cost of a line that is no message; `refused_s`, of a request that is refused;
    `bad_share_s`, of a share that is refused here, unless for its job.
    """

    rate: float = 100.0
    soft_s: float = 10.0
    hard_s: float = 100.0
    bad_line_s: float = 5.0
    refused_s: float = 1.0
    bad_share_s: float = 0.1


class CostAccount:
    """One peer's account, in seconds of a clock that is monotonic. `faults` counts those of all peers."""

    __slots__ = ("_cost", "_each", "_faults", "_pause", "_soft", "_terms", "_when")

    def __init__(self, terms: CostTerms, now: float, faults: Counter[str]) -> None:
        self._terms = terms
        self._faults = faults
        self._each = 1 / terms.rate
        self._soft = terms.soft_s
        self._pause = max(PAUSE_S, self._each)
        self._cost = 0.0
        self._when = now

    @property
    def is_exhausted(self) -> bool:
        """Whether the peer has had all our patience, as of what was counted last."""
        return self._cost > self._terms.hard_s

    def take(self, now: float) -> float:
        """A request came; returns how long its peer is to wait, 0 as a rule."""
        cost = self._cost - (now - self._when)
        self._when = now
        self._cost = cost = (cost if cost > 0 else 0.0) + self._each
        return 0.0 if cost <= self._soft else min(cost - self._soft, self._pause)

    @property
    def state(self) -> tuple[float, float, float, float]:
        """What somebody needs who goes on with the account: the cost and since when it is that, what each
        request costs, and the limit up to which nobody waits.
        """
        return self._cost, self._when, self._each, self._soft

    def go_on(self, cost: float, when: float) -> None:
        """Somebody else has kept the account, and it is this now."""
        self._cost, self._when = cost, when

    def bad_line(self) -> None:
        """It was no message."""
        self._charge("bad-line", self._terms.bad_line_s)

    def refused(self) -> None:
        """It was a request that is refused."""
        self._charge("refused-request", self._terms.refused_s)

    def bad_share(self) -> None:
        """It was a share that is refused here, not for its job, and not by the upstream."""
        self._charge("bad-share", self._terms.bad_share_s)

    def _charge(self, kind: str, seconds: float) -> None:
        self._faults[kind] += 1
        self._cost += seconds
