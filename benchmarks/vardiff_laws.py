"""Laws of difficulty in the same simulation: ours, and those of two others as they are published.

ckpool: `add_submit` in src/stratifier.c and `decay_time` in src/libckpool.c of github.com/ckolivas/ckpool,
here without its least difficulty of 1, so that it can serve every miner. SRI: `VardiffState` in
sv2/channels-sv2/src/vardiff/classic.rs of github.com/stratum-mining/stratum, asked every 60 seconds as its
pool and translator do. Both retold in our words.
"""

from math import exp, inf
from typing import Final

from protocols.mining.vardiff import PROBE, Vardiff

LOOK_S: Final = 1.0
CKPOOL_PER_MINUTE: Final = 18.0
SRI_EVERY_S: Final = 60.0


class Ours:
    """As the pool asks it: each second where shares have come or silence may tell something."""

    def __init__(self, per_minute: float, *, is_known: bool) -> None:
        self.per_minute = per_minute
        self.due = LOOK_S
        self.first_factor = 1.0 if is_known else 1 / PROBE
        self._vardiff = Vardiff(per_minute, 0.0, is_known=is_known)
        self._work = 0
        self._looked = 0.0

    def begin(self, work: int) -> None:
        self._work = work

    changed = begin

    def share(self, work: int, count: int, now: float) -> float | None:
        self._vardiff.accepted(work * count, count)
        rushed = self._vardiff.is_rushed(self._work, now)
        return self._vardiff.wanted(self._work, now) if rushed else None

    def look(self, now: float) -> float | None:
        self.due = now + LOOK_S
        if not self._vardiff.is_fresh and now - self._looked < self._vardiff.patience_s:
            return None
        self._looked = now
        return self._vardiff.wanted(self._work, now)


class Ckpool:
    """Looks when a share comes, after 72 of them or 240 seconds; aims at one in 3.33 seconds."""

    per_minute = CKPOOL_PER_MINUTE
    due = inf
    first_factor = 1.0

    def __init__(self) -> None:
        self._work = 0
        self._minute = self._five = 0.0
        self._began = self._changed = self._last = -1.0
        self._count = 0

    def begin(self, work: int) -> None:
        self._work = work

    changed = begin

    def look(self, now: float) -> float | None:
        raise AssertionError(f"it does not look by itself, not even at {now}")

    def share(self, work: int, count: int, now: float) -> float | None:
        if self._began < 0:
            self._began = self._changed = self._last = now
        seconds = max(0.001, now - self._last)
        self._last = now
        self._minute = _decayed(self._minute, work * count, seconds, 60)
        self._five = _decayed(self._five, work * count, seconds, 300)
        self._count += count
        if self._count < 72 and now - self._changed < 240:
            return None
        if work != self._work:
            self._count = 0
            return None
        average, span = (self._minute, 60) if self._count >= 72 else (self._five, 300)
        hashrate = average / (1 - exp(-max(0.001, now - self._began) / span))
        if 0.15 < hashrate / self._work < 0.4:
            return None
        best = hashrate * 3.33
        if best < self._work and self._count == 1:
            # The first share after an absence.
            self._changed = now
            return None
        self._count = 0
        self._changed = now
        return max(1.0, best)


class Sri:
    """Looks every minute and acts on what came since it acted last, on less the longer that is."""

    first_factor = 1.0

    def __init__(self, per_minute: float, first_look: float) -> None:
        self.per_minute = per_minute
        self.due = first_look
        self._work = 0
        self._hashrate = 0.0
        self._count = 0
        self._acted = 0.0

    def begin(self, work: int) -> None:
        self._work = work
        self._hashrate = work * self.per_minute / 60

    def changed(self, work: int) -> None:
        self._work = work

    def share(self, work: int, count: int, now: float) -> float | None:
        del work, now
        self._count += count
        return None

    def look(self, now: float) -> float | None:
        self.due = now + SRI_EVERY_S
        seconds = now - self._acted
        if seconds <= 15:
            return None
        hashrate = self._work * self._count / seconds
        off = abs(hashrate - self._hashrate) / self._hashrate
        steps = ((0, 1.0), (60, 0.6), (120, 0.5), (180, 0.45), (240, 0.3), (300, 0.15))
        if not any(seconds >= least and off >= enough for least, enough in steps):
            return None
        if not self._count:
            hashrate = self._hashrate / (1.5 if seconds <= 30 else 2.0 if seconds < 60 else 3.0)
        elif off > 10:
            hashrate = self._hashrate * (10.0 if seconds <= 30 else 5.0 if seconds < 60 else 3.0)
        self._hashrate = max(1.0, hashrate)
        self._count = 0
        self._acted = now
        return self._hashrate * 60 / self.per_minute


def _decayed(average: float, work: float, seconds: float, span: float) -> float:
    weight = 1 - exp(-min(36.0, seconds / span))
    return (average + work / seconds * weight) / (1 + weight)
