"""What the miner counts."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from enum import Enum

from prometheus_client import CollectorRegistry, Counter, Gauge

WINDOW_S = 10.0
REASON_S = 5.0

_log = logging.getLogger(__name__)


class Verdict(Enum):
    """What became of a share; unknown where no answer came, or one that says that nobody knows."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    UNKNOWN = "unknown"


class Tally:
    """Counts hashes and shares, as metrics ``hashpool_miner_…``."""

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._recent: deque[tuple[float, int]] = deque()
        self._since = clock()
        self._due = 0
        self._quiet_until = self._since
        self._is_settled = asyncio.Event()
        self._is_settled.set()
        self._hashes = Counter("hashpool_miner_hashes", "Hashes made.", registry=registry)
        self._shares = Counter("hashpool_miner_shares", "Shares by verdict.", ["verdict"], registry=registry)
        self._jobs = Counter("hashpool_miner_jobs", "Jobs begun.", registry=registry)
        self._restarts = Counter("hashpool_miner_process_restarts", "Processes replaced.", registry=registry)
        rate = Gauge("hashpool_miner_hashes_per_s", "Hashes a second over ten seconds.", registry=registry)
        rate.set_function(self.hashes_per_s)
        due = Gauge("hashpool_miner_verdicts_due", "Shares sent and not settled.", registry=registry)
        due.set_function(lambda: self._due)
        for verdict in Verdict:
            self._shares.labels(verdict.value)

    def hashed(self, count: int) -> None:
        """Hashes were made."""
        self._hashes.inc(count)
        self._recent.append((self._clock(), count))
        self._forget()

    def sent(self) -> None:
        """A share was sent, and its verdict is due."""
        self._due += 1
        self._is_settled.clear()

    def settle(self, verdict: Verdict, reason: str = "") -> None:
        """The verdict on one share that was sent; reasons are logged once in a while."""
        self._shares.labels(verdict.value).inc()
        if verdict is Verdict.REJECTED and self._clock() >= self._quiet_until:
            self._quiet_until = self._clock() + REASON_S
            _log.info("a share was rejected", extra={"reason": reason})
        self._due -= 1
        if not self._due:
            self._is_settled.set()

    async def settled(self, timeout: float) -> None:
        """Wait until no verdict is due, at most `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self._is_settled.wait()
        except TimeoutError:
            _log.info("some shares have no verdict yet", extra={"shares": self._due})

    def job(self) -> None:
        """A job was begun."""
        self._jobs.inc()

    def restarted(self) -> None:
        """A process was replaced."""
        self._restarts.inc()

    def hashes_per_s(self) -> float:
        """The rate of the last ten seconds."""
        self._forget()
        span = min(WINDOW_S, self._clock() - self._since)
        return sum(count for _, count in self._recent) / span if span > 0 else 0.0

    def _forget(self) -> None:
        oldest = self._clock() - WINDOW_S
        while self._recent and self._recent[0][0] < oldest:
            self._recent.popleft()
