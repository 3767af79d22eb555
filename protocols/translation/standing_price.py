"""What a miner's work is worth, where the pool above may send the same work again: once, until the tip goes.

A header space is a tip, a coinbase and branches (`UpstreamJob.content`), with the slice of one miner. Its
credit target stands from when that miner may first have had it: if it had another one later, a miner would
give the lucky hashes to the dear price and the others to the cheap one.
"""

from bisect import bisect_right

__all__ = ["Contents", "StandingPrice"]

TIPS = 4
"""Tips whose contents are remembered, because a pool may come back to one."""
CONTENTS = 8_192
"""Contents of these tips that are told apart; beyond, prices stand as they are until the tip changes."""
STEPS = 512
"""Prices of one miner that are told apart, likewise."""


class Contents:
    """Numbers contents (32 bytes each) from 1 in the order in which they came; one that comes again has the
    number that it had.
    """

    def __init__(self, *, limit: int = CONTENTS) -> None:
        self._limit = limit
        self._last = 0
        self._tips: dict[bytes, dict[bytes, int]] = {}

    @property
    def oldest(self) -> int:
        """The first number that still means something."""
        firsts = (next(iter(tip.values())) for tip in self._tips.values() if tip)
        return min(firsts, default=self._last + 1)

    def number(self, tip: bytes, content: bytes) -> int:
        """The number of a content, which builds on a tip (its hash)."""
        known = self._tips.get(tip)
        if known is None:
            known = self._tips[tip] = {}
            if len(self._tips) > TIPS:
                del self._tips[next(iter(self._tips))]
        found = known.get(content)
        if found is None:
            while len(self._tips) > 1 and self._count() >= self._limit:
                del self._tips[next(each for each in self._tips if each != tip)]
            if self._count() < self._limit:
                self._last += 1
                known[content] = self._last
            # What is too much is taken for the newest that is known, and has no price of its own.
            found = self._last
        return found

    def _count(self) -> int:
        return sum(map(len, self._tips.values()))


class StandingPrice:
    """The credit targets of one miner's slice, by the numbers of contents."""

    __slots__ = ("_newest", "_since", "_targets")

    def __init__(self) -> None:
        self._newest = 0
        self._since: list[int] = []
        self._targets: list[int] = []

    @property
    def present(self) -> int | None:
        """The last target that was set, None before any."""
        return self._targets[-1] if self._targets else None

    def may_change(self, number: int) -> bool:
        """Whether this content is later than all that the miner has had, so that its price is free."""
        return not self._targets or (number > self._newest and len(self._targets) < STEPS)

    def set(self, number: int, target: int, *, oldest: int = 0) -> None:
        """From this content on, whose price must be free, shares are worth this target; contents before
        `oldest` never come again.
        """
        assert self.may_change(number)
        self._newest = number
        if target != self.present:
            self._since.append(number)
            self._targets.append(target)
        while len(self._since) > 1 and self._since[1] <= oldest:
            del self._since[0], self._targets[0]

    def of(self, number: int) -> int:
        """What shares of a content are worth; there must be a price."""
        return self._targets[max(0, bisect_right(self._since, number) - 1)]
