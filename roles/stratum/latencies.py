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
        self._last.append(seconds)
        self._grown(1)

    def add_all(self, seconds: Iterable[float]) -> None:
        """Several more."""
        before = len(self._last)
        self._last.extend(seconds)
        self._grown(len(self._last) - before)

    def _grown(self, by: int) -> None:
        self.count += by
        # To let go of one for each that comes would cost a step more each time.
        if len(self._last) > 2 * KEPT:
            del self._last[:-KEPT]

    def quantiles(self, *shares: float) -> list[float] | None:
        """What these shares (0 to 1) of the last took at most; None before the first."""
        if not self._last:
            return None
        last = sorted(self._last[-KEPT:])
        return [last[min(len(last) - 1, int(share * len(last)))] for share in shares]
