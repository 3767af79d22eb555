"""How long something took lately."""

from array import array
from collections.abc import Iterable

__all__ = ["Latencies"]

KEPT = 512


class Latencies:
    """The last times, in seconds."""

    __slots__ = ("_last", "count")

    def __init__(self) -> None:
        self.count = 0
        """All that there have been."""
        self._last = array("f")

    def add(self, seconds: float) -> None:
        """One more."""
        if self.count < KEPT:
            self._last.append(seconds)
        else:
            self._last[self.count % KEPT] = seconds
        self.count += 1

    def add_all(self, seconds: Iterable[float]) -> None:
        """Several more."""
        for each in seconds:
            self.add(each)

    def quantiles(self, *shares: float) -> list[float] | None:
        """What these shares (0 to 1) of the last took at most; None before the first."""
        if not self._last:
            return None
        last = sorted(self._last)
        return [last[min(len(last) - 1, int(share * len(last)))] for share in shares]
