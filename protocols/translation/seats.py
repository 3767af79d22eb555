"""Who has which part of an upstream's extranonce2, where miners of different layouts share it.

Padding stands before slice and extranonce2, and is zero. So a miner's part is the numbers from
slice * 256^n to (slice + 1) * 256^n - 1, n being its extranonce2's size, however many bytes the upstream
grants: parts that are apart with one upstream are apart with all. A part that was given back is not granted
again before the tip has changed, because work was done in it.
"""

from collections import Counter
from collections.abc import Iterable

from protocols.translation.errors import SlicesExhausted
from protocols.translation.extranonce import Layout

__all__ = ["Seats"]

SMALL = 256
"""Slices of so few that none is left out."""


class Seats:
    """The parts of one upstream connection; `start` is any number, where the search for free ones begins."""

    def __init__(self, start: int) -> None:
        self._start = start
        self._next: dict[tuple[int, int], int] = {}
        # By sizes of extranonce2: the slices that are held, and of each coarser size what holds any of them.
        self._held: dict[int, set[int]] = {}
        self._within: dict[tuple[int, int], Counter[int]] = {}
        self._cooling: list[tuple[int, int]] = []
        self._layouts: Counter[Layout] = Counter()

    def __len__(self) -> int:
        """Those that are taken, without those that only cool down."""
        return self._layouts.total()

    @property
    def needed(self) -> int:
        """The bytes that an upstream must grant for all who are here, 0 for nobody."""
        return max((layout.needed for layout in self._layouts), default=0)

    def take(self, layout: Layout) -> bytes:
        """A slice for a miner; raises SlicesExhausted."""
        size, level = layout.slice_size, layout.extranonce2_size
        space = 1 << 8 * size
        self._know(level)
        first = self._next.get((size, level), self._start % space)
        value, left = first, space
        while left > 0:
            step = self._obstacle(value, level, space)
            if not step:
                self._next[size, level] = (value + 1) % space
                self._hold(value, level)
                self._layouts[layout] += 1
                return value.to_bytes(size, "big")
            value, left = (value + step) % space, left - step
        raise SlicesExhausted(f"no extranonce1 of {size} bytes is free")

    def give_back(self, layout: Layout, extranonce1: bytes) -> None:
        """The miner is gone; its part is free when the tip has changed."""
        self._cooling.append((int.from_bytes(extranonce1, "big"), layout.extranonce2_size))
        self._layouts[layout] -= 1
        if not self._layouts[layout]:
            del self._layouts[layout]

    def new_tip(self) -> None:
        """No work done so far counts any more."""
        cooling, self._cooling = self._cooling, []
        for value, level in cooling:
            self._held[level].discard(value)
            for coarser, counts in self._coarser(level):
                counts[value >> 8 * (coarser - level)] -= 1
                if not counts[value >> 8 * (coarser - level)]:
                    del counts[value >> 8 * (coarser - level)]

    def _obstacle(self, value: int, level: int, space: int) -> int:
        """0 for a slice that is free, else how many slices further the next one is that may be."""
        if value == 0 and space > SMALL:
            # It holds all parts of layouts with fewer bytes, and is kept free where there is a choice.
            return 1
        for other, held in self._held.items():
            if other >= level:
                width = 1 << 8 * (other - level)
                if value // width in held:
                    return width - value % width
            elif self._within[other, level][value]:
                return 1
        return 0

    def _hold(self, value: int, level: int) -> None:
        self._held[level].add(value)
        for coarser, counts in self._coarser(level):
            counts[value >> 8 * (coarser - level)] += 1

    def _coarser(self, level: int) -> Iterable[tuple[int, Counter[int]]]:
        return ((coarser, self._within[level, coarser]) for coarser in self._held if coarser > level)

    def _know(self, level: int) -> None:
        if level in self._held:
            return
        self._held[level] = set()
        for other, held in self._held.items():
            if other < level:
                self._within[other, level] = Counter(value >> 8 * (level - other) for value in held)
            elif other > level:
                self._within[level, other] = Counter()
