"""How fast somebody hashes, over the last minute, five minutes, hour and day, from the work of its shares.

The estimate is the work of the shares in a window over the window's seconds. Each share counts with the
expected number of hashes of the difficulty that it was found at, so the estimate is unbiased however the
difficulty changes; a window that is not full yet is taken for as long as it is. How many shares an unchanged
miner finds is a Poisson variable: with n shares of equal work the estimate's standard deviation is one in the
square root of n. Where works differ, n is the square of their sum over the sum of their squares. `low` and
`high` are bounds beyond which the true rate is once in six times each, so it is between them twice in three
(the approximations of Gehrels, 1986: n - sqrt(n - 1/4) and n + sqrt(n + 3/4) + 1). Who has found no share has
a high bound all the same.

What is kept is the sum of all work so far, as it was each 10 s of the last five minutes, each 2 minutes of
the last hour and each hour of the last day. A window is longer than its name by up to that, and tells its
length. A share costs three additions; memory grows to less than 3 KiB in a day, and no further.
"""

from array import array
from math import sqrt
from typing import Final, NamedTuple

__all__ = ["WINDOWS", "Estimate", "WorkRate"]

_STEPS: Final = (10.0, 120.0, 3_600.0)
"""Seconds between two remembered sums, and below how many of them."""
_KEPT: Final = (31, 31, 25)
WINDOWS: Final = {"1m": (0, 6), "5m": (0, 30), "1h": (1, 30), "24h": (2, 24)}
"""Window to the steps that it is made of: which, and how many."""


class Estimate(NamedTuple):
    """Hashes a second, with its bounds, from so many shares in so many seconds; `high` None: no idea."""

    rate: float
    low: float
    high: float | None
    shares: int
    seconds: float


class WorkRate:
    """The work of one miner, or of all, since `now`; times are monotonic seconds."""

    __slots__ = ("_hashes", "_marks", "_next", "_shares", "_squares", "_work", "began")

    def __init__(self, now: float) -> None:
        self.began = now
        self._work = self._squares = self._hashes = 0.0
        self._shares = 0
        self._next = _after(now, 0)
        # Of each length of steps: the number of the last one, then a ring of the three sums at the last ones.
        self._marks: tuple[array[float], ...] | None = None

    @property
    def sums(self) -> tuple[float, float, int]:
        """All work so far, the sum of its squares, and its shares."""
        return self._work, self._squares, self._shares

    def add(self, hashes: float, now: float) -> None:
        """A share that takes so many hashes."""
        if now >= self._next:
            self._mark(now)
        self._work += hashes
        self._squares += hashes * hashes
        self._shares += 1
        self._hashes = hashes

    def add_many(self, work: float, squares: float, shares: int, now: float) -> None:
        """Shares that take so many hashes together, with the sum of their squares."""
        if now >= self._next:
            self._mark(now)
        if shares:
            self._work += work
            self._squares += squares
            self._shares += shares
            self._hashes = work / shares

    def estimate(self, window: str, now: float, hashes: float = 0.0) -> Estimate:
        """The estimate over one of WINDOWS.

        `hashes` is what a share takes now, for somebody who has found none; without it the last one's.
        """
        if now >= self._next:
            self._mark(now)
        level, steps = WINDOWS[window]
        since, (work, squares, shares) = self._at(level, int(now // _STEPS[level]) - steps)
        work, squares, shares = self._work - work, self._squares - squares, self._shares - int(shares)
        seconds = now - since
        if seconds <= 0:
            return Estimate(0.0, 0.0, None, shares, 0.0)
        if not shares:
            each = hashes or self._hashes
            return Estimate(0.0, 0.0, (1 + sqrt(0.75)) * each / seconds if each else None, 0, seconds)
        # Sums that have grown for long may hide what small works add to their squares.
        number = min(max(work * work / squares if squares > 0 else shares, 1.0), shares)
        rate = work / seconds
        low = rate * max(0.0, 1 - sqrt(max(0.0, number - 0.25)) / number)
        return Estimate(rate, low, rate * (1 + (sqrt(number + 0.75) + 1) / number), shares, seconds)

    def _at(self, level: int, number: int) -> tuple[float, tuple[float, float, float]]:
        """The time of a step, and the sums as they were then; those of the beginning before it."""
        first = _first(self.began, level)
        if number < first or self._marks is None:
            return self.began, (0.0, 0.0, 0.0)
        marks, place = self._marks[level], 1 + (number - first) % _KEPT[level] * 3
        return number * _STEPS[level], (marks[place], marks[place + 1], marks[place + 2])

    def _mark(self, now: float) -> None:
        """Remember the sums for all steps that have passed since the last share."""
        if self._marks is None:
            self._marks = tuple(array("d", [_first(self.began, level) - 1]) for level in range(len(_STEPS)))
        here = array("d", (self._work, self._squares, self._shares))
        for level, marks in enumerate(self._marks):
            number, last, kept = int(now // _STEPS[level]), int(marks[0]), _KEPT[level]
            if number == last:
                break
            marks[0] = number
            if number - last >= kept:
                marks[1:] = here * kept
                continue
            first = _first(self.began, level)
            for each in range(last + 1, number + 1):
                place = 1 + (each - first) % kept * 3
                marks[place : place + 3] = here
        self._next = _after(now, 0)


def _first(began: float, level: int) -> int:
    """The number of the first step after the beginning."""
    return int(began // _STEPS[level]) + 1


def _after(now: float, level: int) -> float:
    """When the next step is."""
    return (now // _STEPS[level] + 1) * _STEPS[level]
