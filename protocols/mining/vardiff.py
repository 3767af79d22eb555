"""The target that fits a miner: from the work of its accepted shares, and of nothing else.

Two windows see the same shares. The long one, decaying over 60 shares, is the estimate: work is counted, so
that it stays unbiased through every change of target. The short one watches for a jump: when the likelihood
that its shares come from the present rate is too small, the long window starts again from it. Small
differences are mended when the long window has grown enough to know better. Times in seconds, of a clock that
need not be monotonic.
"""

from math import exp, log, sqrt

WINDOW_SHARES = 60
SETTLED_SHARES = 8
SHORT_SHARES = 32
ALARM_SILENT = 3.0
ALARM_UNSETTLED = 5.0
ALARM_SETTLED = 9.0
"""How many nats less likely the shares must be under the present rate than under their own."""
JUMP = log(1.5)
DRIFT = log(1.15)
MIN_PAUSE = 2.0
LOOK_S = 5.0
RUSH = 8.0
"""Times the wanted rate at which a miner's target changes at once."""
RUSH_SHARES = 16
RUSH_LEAST_S = 0.1
MOMENT_S = 0.05
"""Shares that come within it count as of one moment."""


def hashes_for(hashrate: float, shares_per_minute: float) -> int:
    """The work of a share, in expected hashes, for a rate in hashes a second."""
    return int(hashrate * 60 / shares_per_minute)


def silence_s(shares_per_minute: float) -> float:
    """How long the silence of a miner that has never been heard of says nothing."""
    # A little longer, so that no rounding makes it wait twice.
    return 1.001 * ALARM_SILENT * 60 / shares_per_minute


class Vardiff:
    """Estimates one channel's hash rate and says how much work a share should take."""

    __slots__ = (
        "_changed", "_count", "_decay_time", "_heard", "_known", "_last", "_rate", "_short_count",
        "_short_start", "_short_work", "_squares", "_time", "_work", "is_fresh",
    )  # fmt: skip

    def __init__(self, shares_per_minute: float, now: float) -> None:
        self._rate = shares_per_minute / 60
        self._decay_time = WINDOW_SHARES / self._rate
        self._last = now
        self.is_fresh = False
        """Whether a share has come since `wanted` was asked last."""
        self.restart(now)

    def restart(self, now: float) -> None:
        """Forget all shares: the miner said that it has changed."""
        self._work = self._time = self._count = self._squares = 0.0
        self._known = 0.0
        self._heard = False
        self._changed = now
        self._watch(now)

    def hashrate(self, now: float) -> float:
        """The estimate in hashes a second, 0 before anything is known."""
        self._advance(now)
        return self._work / self._time if self._time else 0.0

    def accepted(self, work: int, now: float, shares: int = 1) -> None:
        """Count accepted shares worth `work` expected hashes together; a repetition is none."""
        if not 0 <= now - self._last < MOMENT_S:
            self._advance(now)
        self._heard = self.is_fresh = True
        self._work += work
        self._count += shares
        self._squares += shares
        self._short_work += work
        self._short_count += shares

    @property
    def heard(self) -> bool:
        """Whether a share has been accepted since the start, or since the last `restart`."""
        return self._heard

    @property
    def patience_s(self) -> float:
        """How long after `wanted` it is worth asking again, unless a share comes earlier."""
        return min(LOOK_S, 0.5 / self._rate) if self._heard else silence_s(60 * self._rate)

    def is_rushed(self, current: int, now: float) -> bool:
        """Whether shares of `current` hashes come so fast that `wanted` should be asked now."""
        if self._short_count < RUSH_SHARES:
            return False
        elapsed = max(RUSH_LEAST_S, now - self._short_start)
        return self._short_work > RUSH * current * self._rate * elapsed

    def wanted(self, current: int, now: float) -> int | None:
        """How many hashes a share should take, when that differs enough from the `current` number."""
        self._advance(now)
        self.is_fresh = False
        if self.is_rushed(current, now):
            return self._restart_from_short(max(RUSH_LEAST_S, now - self._short_start), now)
        if now - self._changed < MIN_PAUSE:
            return None
        return self._after_jump(current, now) or self._after_drift(current, now)

    def _after_jump(self, current: int, now: float) -> int | None:
        elapsed = now - self._short_start
        if elapsed <= 0:
            return None
        expected = elapsed * self._rate
        seen = self._short_work / current
        surprise = expected - seen + (seen * log(seen / expected) if seen else 0.0)
        alarm = ALARM_SETTLED if self._known >= SETTLED_SHARES else ALARM_UNSETTLED
        if not self._heard:
            alarm = ALARM_SILENT
        enough = self._short_count >= 4 or seen < expected
        if surprise >= alarm and enough and (not seen or abs(log(seen / expected)) >= JUMP):
            # Without a share the rate is a guess: half a share in that time, far less if there never was one.
            self._work = self._short_work or current / (2 if self._heard else 16)
            self._time = elapsed
            self._count = self._squares = max(1, self._short_count)
            wanted = self._settle(self._short_count + 1, now)
            self._watch(now)
            return wanted
        if max(self._short_count, expected) >= SHORT_SHARES:
            self._watch(now)
        return None

    def _restart_from_short(self, elapsed: float, now: float) -> int:
        self._work, self._time = self._short_work, elapsed
        self._count = self._squares = self._short_count
        wanted = self._settle(self._short_count + 1, now)
        self._watch(now)
        return wanted

    def _after_drift(self, current: int, now: float) -> int | None:
        # After a long silence the squares vanish first, and with them the count of shares that is left.
        if not self._work or not self._squares or now - self._changed < self._decay_time / 8:
            return None
        shares = self._count * self._count / self._squares
        drift = abs(log(self._work / self._time / (current * self._rate)))
        better = shares >= max(SETTLED_SHARES, 2 * self._known)
        sure = shares >= SHORT_SHARES and drift >= 2 / sqrt(shares)
        return self._settle(shares, now) if drift > DRIFT and (better or sure) else None

    def _settle(self, shares: float, now: float) -> int:
        self._known = max(shares, SETTLED_SHARES / 2)
        self._changed = now
        return max(1, int(self._work / self._time / self._rate))

    def _watch(self, now: float) -> None:
        self._short_start = now
        self._short_work = 0
        self._short_count = 0

    def _advance(self, now: float) -> None:
        if now < self._last:
            # The clock was set back: the windows keep their contents and go on from here.
            self._short_start += now - self._last
            self._changed += now - self._last
        kept = exp(-max(0.0, now - self._last) / self._decay_time)
        self._last = now
        self._work *= kept
        self._count *= kept
        self._squares *= kept * kept
        self._time = self._time * kept + self._decay_time * (1 - kept)
