"""The target that fits a miner: from the work of its accepted shares, and of nothing else.

Little can be known from few shares: thirty leave an error of 18 %, and at six a minute they take five
minutes. So a miner that is not known yet is *probed*: its shares take a fraction of the work that they will
take, and come so much faster. When they are enough, the work is set once, and from then on changed for good
reasons only.

Shares are counted in shares of the present work, against the exposure: seconds divided by the present work.
So each tells as much, whatever it took, and what still comes of earlier work counts by what it is worth. Two
watches look for a change of the rate (Page's test: sums of log-likelihood ratios that never fall below zero),
and what came since the change began tells roughly what the rate is now; then the miner is probed again. A
share costs two additions and a comparison, a look at the target a few dozen operations. Times in seconds, of
a clock that need not be monotonic. docs/vardiff.md shows how well it does.
"""

from math import exp, log, sqrt
from typing import Final

PROBE: Final = 4.0
"""How many times more shares a miner sends while its rate is being found out."""
STEP_PROBE: Final = 10.0
"""The same after a change of its rate, which seldom happens to many miners at once."""
RUSH: Final = 8.0
"""Times the wanted rate at which a target is looked at once; twice as many if the miner is probed so fast."""
FASTEST: Final = 2 * STEP_PROBE
"""Times the wanted rate that no miner reaches for long unless its target is wrong."""
ENOUGH_SHARES: Final = 80
"""Shares from which a rate is known: an error of 11 %."""
ROUGH_SHARES: Final = 8
"""Shares from which an estimate is worth more than a guess."""
WINDOW_SHARES: Final = 120
"""The estimate forgets in the time of so many shares."""
OFF: Final = log(2.0)
"""While it is probed, a miner's work changes when its shares come so much slower or faster than wanted."""
DRIFT: Final = log(1.16)
DRIFT_ERRORS: Final = 2.0
"""After that, when it is off by so much, and by so many standard errors."""

UP_RATIO, DOWN_RATIO = 2.0, 0.33
"""The changes of rate that the watches are made for; larger ones they find sooner."""
UP_ALARM, DOWN_ALARM = 7.0, 5.0
"""How many nats likelier than no change it must be, at six shares a minute. Where shares come faster, it
takes a few more, so that false alarms are as seldom in an hour.
"""
CALM_PER_MINUTE: Final = 6.0
DOUBT: Final = 2.0
DOUBT_SHARES: Final = 32
"""Times as many are needed when from so many shares an estimate is at hand that is still being made."""
FIRST_ALARM: Final = 3.0
"""How many tell that a miner that was never heard of is slower than it said."""
FIRST_STEPS: Final = (16.0, 64.0, 256.0)
"""What the work of such a miner is divided by, one time after the other."""
QUIET_STEPS: Final = 2
QUIET_EASING, OFF_EASING = 2.5, 4.0
OFF_S: Final = 900.0
"""A miner that fell silent is made easier quickly twice, by little the second time: it is probably switched
off, and will come back as it was. After that, seldom: after so long, and each time after four times as long.
"""
MATCH_SHARES: Final = 16
ALIKE: Final = log(1.2)
MEMORY_SHARES: Final = 56.0
"""From how many shares on a rate is taken for the one before the change, give or take an error; and how many
shares that is worth then.
"""

LOOK_S: Final = 5.0
MIN_PAUSE: Final = 2.0
RUSH_SHARES: Final = 16
RUSH_LEAST_S: Final = 0.1
_UP, _DOWN = log(UP_RATIO), log(DOWN_RATIO)


def hashes_for(hashrate: float, shares_per_minute: float) -> int:
    """The work of a share, in expected hashes, for a rate in hashes a second."""
    return int(hashrate * 60 / shares_per_minute)


def probe_hashes(hashrate: float, shares_per_minute: float) -> int:
    """The work of a share of a miner that says to have that rate and is not known."""
    return int(hashes_for(hashrate, shares_per_minute) / PROBE)


def silence_s(shares_per_minute: float) -> float:
    """How long the silence of a miner that has never been heard of says nothing."""
    # A little longer, so that no rounding makes it wait twice.
    return 1.001 * FIRST_ALARM / (1 - DOWN_RATIO) * 60 / (PROBE * shares_per_minute)


class _Watch:
    """How much likelier a change is than none, and what has come since it could have begun."""

    __slots__ = ("exposure", "score", "seen")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Nothing has changed."""
        self.score = self.seen = self.exposure = 0.0

    def see(self, gain: float, seen: float, exposure: float) -> None:
        """Add what came, and by how much likelier it makes the change."""
        self.score += gain
        if self.score <= 0:
            self.clear()
        else:
            self.seen += seen
            self.exposure += exposure


class Vardiff:
    """Estimates one channel's hash rate and says how much work a share should take.

    `is_known`: the present work is from experience with this miner, so it is not probed.
    """

    __slots__ = (
        "_believed", "_boost", "_calm", "_changed", "_down", "_exposure", "_fresh_shares", "_fresh_work",
        "_heard", "_last", "_memory", "_present", "_rate", "_seen", "_silences", "_squares", "_trusted",
        "_up", "is_fresh",
    )  # fmt: skip
    _seen: float
    _exposure: float
    _squares: float

    def __init__(self, shares_per_minute: float, now: float, *, is_known: bool = False) -> None:
        self._rate = shares_per_minute / 60
        self._calm = log(max(1.0, shares_per_minute / CALM_PER_MINUTE))
        self._up, self._down = _Watch(), _Watch()
        self.restart(now)
        if is_known:
            self._trusted, self._boost = True, 1.0

    def restart(self, now: float) -> None:
        """Forget all shares: the miner said that it has changed."""
        self.is_fresh = False
        """Whether a share has come since `wanted` was asked last."""
        self._last = self._changed = now
        self._present: int = 0
        self._fresh_work: int = 0
        self._fresh_shares: int = 0
        # What the miner is taken to have, and had before it changed, in hashes a second; 0 for unknown.
        self._believed = self._memory = 0.0
        self._boost = PROBE
        self._heard = self._trusted = False
        self._silences = 0
        self._forget()

    @property
    def heard(self) -> bool:
        """Whether a share has been accepted since the start, or since the last `restart`."""
        return self._heard

    @property
    def patience_s(self) -> float:
        """How long after `wanted` it is worth asking again, unless a share comes earlier."""
        return min(LOOK_S, 0.5 / self._aim()) if self._trusted else silence_s(60 * self._rate)

    @property
    def settled_hashes(self) -> int:
        """The work of a share of this miner when it is not being probed, 0 before anything is known."""
        return int(self._believed / self._rate) if self._heard else 0

    def hashrate(self, now: float) -> float:
        """The estimate in hashes a second, 0 before anything is known."""
        if not self._heard or not self._present:
            return 0.0
        if self._shares() < ROUGH_SHARES:
            return self._believed
        seconds = max(0.0, now - self._last)
        seen = self._seen + self._fresh_work / self._present
        return seen / (self._exposure + max(seconds, RUSH_LEAST_S) / self._present)

    def accepted(self, work: int, shares: int = 1) -> bool:
        """Count accepted shares worth `work` expected hashes together; a repetition is none.

        Returns whether they are enough for `is_rushed` to be asked.
        """
        self._heard = self._trusted = self.is_fresh = True
        self._fresh_work += work
        self._fresh_shares = fresh = self._fresh_shares + shares
        return fresh >= RUSH_SHARES

    def is_rushed(self, current: int, now: float) -> bool:
        """Whether shares of `current` hashes come so fast that `wanted` should be asked now."""
        return self.calm_for(current, now) <= 0

    def calm_for(self, current: int, now: float) -> int:
        """How many shares of `current` hashes may come before `is_rushed` is worth asking again, at most
        `RUSH_SHARES`; 0 or less if `wanted` should be asked now.
        """
        if self._fresh_shares < RUSH_SHARES:
            return RUSH_SHARES - self._fresh_shares
        seconds = max(RUSH_LEAST_S, now - self._last)
        room = max(RUSH, 2 * self._boost) * current * self._rate * seconds - self._fresh_work
        return min(RUSH_SHARES, int(room // current) + 1)

    def wanted(self, current: int, now: float) -> int | None:
        """How many hashes a share should take, when that differs enough from the `current` number."""
        seconds = max(0.0, now - self._last)
        # A clock that was set back must not make the next change wait for it.
        self._changed += min(0.0, now - self._last)
        self._last = now
        self._present = current
        self._believed = self._believed or current * self._aim()
        self._take(current, seconds)
        doubt = DOUBT if self._boost > 1 and self._shares() >= DOUBT_SHARES else 1.0
        if self._up.score >= (UP_ALARM + self._calm) * doubt:
            return self._rise(current)
        if self._down.score >= self._patience() * doubt:
            return self._fall()
        if now - self._changed < MIN_PAUSE or self._shares() < ROUGH_SHARES or not self._exposure:
            return None
        return self._mend(current) if self._boost == 1 else self._learn(current)

    def _take(self, current: int, seconds: float) -> None:
        """Count what came since the last look, as shares of `current` hashes."""
        seen, exposure = self._fresh_work / current, seconds / current
        if seen and self._silences:
            # It is on again: how long it was off says nothing of its rate.
            self._silences = 0
            self._forget()
        kept = exp(-seconds * self._rate / WINDOW_SHARES)
        self._seen = self._seen * kept + seen
        self._exposure = self._exposure * kept + exposure
        self._squares = self._squares * kept + seen * seen / max(1, self._fresh_shares)
        self._fresh_work = self._fresh_shares = 0
        self.is_fresh = False
        expected = exposure * self._believed
        self._up.see(seen * _UP + (1 - UP_RATIO) * expected, seen, exposure)
        self._down.see(seen * _DOWN + (1 - DOWN_RATIO) * expected, seen, exposure)

    def _patience(self) -> float:
        """The score at which silence, or what comes close to it, is taken for a slower miner."""
        if not self._trusted:
            return FIRST_ALARM
        seldom = self._silences - QUIET_STEPS
        if seldom < 0:
            return DOWN_ALARM + self._calm
        return (1 - DOWN_RATIO) * self._aim() * OFF_S * 4.0**seldom

    def _rise(self, current: int) -> int:
        self._remember()
        return self._probe(self._up.seen / max(RUSH_LEAST_S / current, self._up.exposure))

    def _fall(self) -> int:
        if not self._trusted:
            rate = self._believed / FIRST_STEPS[min(self._silences, len(FIRST_STEPS) - 1)]
        elif self._silences or (self._boost > 1 and not self._down.seen):
            rate = self._believed / (QUIET_EASING if self._silences < QUIET_STEPS else OFF_EASING)
        else:
            self._remember()
            rate = (self._down.seen + 0.5) / self._down.exposure
        if not self._down.seen:
            self._silences += 1
        return self._probe(rate)

    def _learn(self, current: int) -> int | None:
        """Find out the rate of a miner that is being probed."""
        shares, rate = self._shares(), self._seen / self._exposure
        if self._memory and shares >= MATCH_SHARES:
            if abs(log(rate / self._memory)) < ALIKE + 1 / sqrt(shares):
                self._seen += MEMORY_SHARES
                self._squares += MEMORY_SHARES
                self._exposure += MEMORY_SHARES / self._memory
                shares, rate = self._shares(), self._seen / self._exposure
            self._memory = 0.0
        self._believed = rate
        if shares >= ENOUGH_SHARES:
            self._boost = 1.0
            return self._choose()
        return self._choose() if abs(log(rate / (current * self._aim()))) > OFF else None

    def _mend(self, current: int) -> int | None:
        """Correct the work of a miner that is known, when the estimate has come to know better."""
        rate = self._seen / self._exposure
        off = abs(log(rate / (current * self._rate)))
        if off < max(DRIFT, DRIFT_ERRORS / sqrt(self._shares())):
            return None
        self._believed = rate
        return self._choose()

    def _remember(self) -> None:
        if self._boost == 1:
            self._memory = self._believed

    def _probe(self, rate: float) -> int:
        self._believed = rate
        self._boost = STEP_PROBE
        self._forget()
        return self._choose()

    def _choose(self) -> int:
        self._changed = self._last
        return max(1, int(self._believed / self._aim()))

    def _aim(self) -> float:
        """Shares a second."""
        return self._rate * self._boost

    def _shares(self) -> float:
        """As many shares of equal work would tell what those of the estimate do."""
        return self._seen * min(1.0, self._seen / self._squares) if self._squares else 0.0

    def _forget(self) -> None:
        self._seen = self._exposure = self._squares = 0.0
        self._up.clear()
        self._down.clear()
