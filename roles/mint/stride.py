"""How many rows a write of the mint's own takes on, so that those who wait behind it do not wait for long."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

WITHIN_S: Final = 0.02
"""What a write may take without having the next one do less. What is compacted was last touched weeks ago: it
may have to be read from the disk, a hundred times as slow as from memory.
"""


class Stride:
    """Up to `most` rows: half as many after a write that took longer than `within` seconds, a quarter more
    after another; `clock` gives seconds.
    """

    def __init__(
        self, most: int, *, within: float = WITHIN_S, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.rows = most
        self._most = most
        self._within = within
        self._clock = clock

    @contextmanager
    def timed(self) -> Iterator[int]:
        """How many rows to take on now; what is done with them is timed."""
        started = self._clock()
        yield self.rows
        if self._clock() - started > self._within:
            self.rows = max(1, self.rows // 2)
        else:
            self.rows = min(self._most, self.rows + 1 + self.rows // 4)
