"""How hard the shares are that a miner shows us, where its upstream asks for fewer than that.

A share for the upstream may be rarer than a person, or a firmware that leaves a silent pool, will wait: of a
small miner behind a channel with a farm's target, or at a pool that knows no vardiff. Such a miner is told an
easier difficulty, by which it shows a few shares a minute; what meets it and not the upstream's target is
answered here. The difficulty is never harder than what the upstream judges by, and changes with the next work
only. It is no credit target, of which one piece of work has one: what is credited is the upstream's business.
"""

from protocols.bitcoin.target import MAX_TARGET, from_work, work
from protocols.mining.vardiff import Vardiff

__all__ = ["OwnDifficulty"]


class OwnDifficulty:
    """One miner's; `shares_per_minute` is what it shows at least. Times in monotonic seconds."""

    __slots__ = ("_easiest", "_hashes", "_in_force", "_rate", "_vardiff", "is_in_force")

    def __init__(self, shares_per_minute: float, now: float) -> None:
        self._rate = shares_per_minute / 60
        self._vardiff = Vardiff(shares_per_minute, now)
        self._hashes = 0
        self._easiest = MAX_TARGET
        self._in_force = 1
        self.is_in_force = False
        """Whether what the miner was told last is easier than the upstream's target."""

    def expect(self, hash_rate: float, easiest: int) -> None:
        """What the miner is taken to have in hashes a second until it is known better, and the easiest target
        that it wants or can make use of.
        """
        self._easiest = easiest
        if not self._vardiff.heard:
            self._hashes = int(hash_rate / self._rate)

    def target(self, upstream: int, now: float) -> int:
        """The target to tell with the next work, whose own is `upstream`; not below it."""
        hardest = work(upstream)
        if self._hashes:
            self._hashes = self._vardiff.wanted(self._in_force, now) or self._hashes
        chosen = upstream
        if 0 < self._hashes < hardest:
            chosen = max(upstream, min(from_work(self._hashes), self._easiest))
        self.is_in_force = chosen > upstream
        self._in_force = work(chosen)
        return chosen

    def found(self, hashes: float, now: float) -> None:
        """A good share came, of so many hashes by what the miner was told."""
        self._vardiff.accepted(int(hashes) or 1, now)

    def is_rushed(self, now: float) -> bool:
        """Whether the miner shows far too many shares, so that its next work should not be waited for."""
        return self.is_in_force and self._vardiff.is_rushed(self._in_force, now)
