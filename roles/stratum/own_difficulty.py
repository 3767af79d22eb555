"""How hard the shares are that a miner shows us, where its upstream asks for fewer than that.

A share for the upstream may be rarer than a person, or a firmware that leaves a silent pool, will wait: of a
small miner behind a channel with a farm's target, or at a pool that knows no vardiff. Such a miner is told an
easier difficulty, by which it shows a few shares a minute; what meets it and not the upstream's target is
answered here. The difficulty is never harder than what the upstream judges by, and changes with the next work
only. It is no credit target, of which one piece of work has one: what is credited is the upstream's business.
"""

from math import log
from typing import Final

from protocols.bitcoin.target import MAX_TARGET, from_work, work

__all__ = ["OwnDifficulty"]

SILENT_SHARES: Final = 3.0
"""So many that should have come and did not tell that a miner is slower: one in twenty times it is luck."""
EASING: Final = 4.0
EASINGS: Final = 4
"""How often a miner that has shown itself before is eased while it says nothing: it is probably off."""
FEW: Final = 4
FAR_OFF: Final = log(2.5)
MANY: Final = 60
OFF: Final = log(1.2)
"""How far from the wanted rate shares may come, where there are few of them and many."""
RUSH_SHARES: Final = 16
RUSH: Final = 8.0
RUSH_LEAST_S: Final = 0.1


class OwnDifficulty:
    """One miner's; `shares_per_minute` is what it shows at least. Times in monotonic seconds."""

    __slots__ = (
        "_easiest",
        "_easings",
        "_has_shown",
        "_hashes",
        "_in_force",
        "_rate",
        "_seen",
        "_shares",
        "_since",
        "is_in_force",
    )  # fmt: skip

    def __init__(self, shares_per_minute: float, now: float) -> None:
        self._rate = shares_per_minute / 60
        self._easiest = MAX_TARGET
        self._hashes = 0
        self._in_force = 0
        self._has_shown = False
        self._easings = 0
        self._since = now
        self._seen = 0.0
        self._shares = 0
        self.is_in_force = False
        """Whether what the miner was told last is easier than the upstream's target."""

    def expect(self, hash_rate: float, easiest: int) -> None:
        """What the miner is taken to have in hashes a second until it is known better, and the easiest target
        that it wants or can make use of.
        """
        self._easiest = easiest
        if not self._has_shown:
            self._hashes = max(1, int(hash_rate / self._rate))

    def target(self, upstream: int, now: float) -> int:
        """The target to tell with the next work, whose own is `upstream`; not below it."""
        if self._in_force:
            self._look(now)
        hardest = work(upstream)
        chosen = upstream
        if 0 < self._hashes < hardest:
            chosen = max(upstream, min(from_work(self._hashes), self._easiest))
        self.is_in_force = chosen > upstream
        if not self._in_force:
            self._since = now
        self._in_force = work(chosen)
        return chosen

    def found(self, hashes: float) -> None:
        """A good share came, of so many hashes by what the miner was told."""
        self._seen += hashes
        self._shares += 1

    def found_many(self, hashes: float, shares: int) -> None:
        """The same for shares that are of so many hashes together."""
        self._seen += hashes
        self._shares += shares

    def is_rushed(self, now: float) -> bool:
        """Whether the miner shows far too many shares, so that its next work should not be waited for."""
        if not self.is_in_force or self._shares < RUSH_SHARES:
            return False
        seconds = max(RUSH_LEAST_S, now - self._since)
        return self._seen > RUSH * self._in_force * self._rate * seconds

    def _look(self, now: float) -> None:
        """Choose other hashes if what came since the last choice says so."""
        seconds = max(RUSH_LEAST_S, now - self._since)
        expected = seconds * self._rate
        if not self._seen:
            if expected >= SILENT_SHARES and (not self._has_shown or self._easings < EASINGS):
                self._easings += 1
                self._choose(self._in_force / EASING, now)
            return
        self._has_shown, self._easings = True, 0
        off = abs(log(self._seen / self._in_force / expected))
        if off > FAR_OFF and (self._shares >= FEW or expected >= SILENT_SHARES + self._shares):
            self._choose(self._seen / seconds / self._rate, now)
        elif self._shares >= MANY:
            self._choose(self._seen / seconds / self._rate if off > OFF else self._hashes, now)

    def _choose(self, hashes: float, now: float) -> None:
        self._hashes = max(1, int(hashes))
        self._since, self._seen, self._shares = now, 0.0, 0
