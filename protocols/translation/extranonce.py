"""Whose bytes the extranonce is: upstream's prefix, padding, the miner's constant slice, its extranonce2.

The slice is what an SV1 miner knows as extranonce1. Upstream's prefix and the padding (what upstream grants
beyond slice and extranonce2) stand in each job's first coinbase part instead, so that they may change
without the miner.
"""

from collections.abc import Container
from dataclasses import dataclass

from protocols.translation.errors import ExtranonceTooSmall, SlicesExhausted

SLICE_SIZE = 4


@dataclass(frozen=True, slots=True)
class Layout:
    """Sizes in bytes that are fixed for a socket's life."""

    extranonce2_size: int
    slice_size: int = SLICE_SIZE

    @property
    def needed(self) -> int:
        """What an upstream channel must grant at least."""
        return self.slice_size + self.extranonce2_size

    def padding(self, granted: int) -> bytes:
        """The bytes between upstream's prefix and the slice; raises ExtranonceTooSmall."""
        if granted < self.needed:
            raise ExtranonceTooSmall(
                f"upstream grants {granted} bytes of extranonce, {self.needed} are needed"
            )
        return bytes(granted - self.needed)


class Slices:
    """Hands out extranonce1 values, none of which two live miners share; `start` is any number."""

    def __init__(self, start: int, size: int = SLICE_SIZE) -> None:
        self._size = size
        self._space = 1 << 8 * size
        self._next = start % self._space
        self._live: set[int] = set()

    def __len__(self) -> int:
        return len(self._live)

    def take(self) -> bytes:
        """A value that no live miner has; raises SlicesExhausted."""
        if len(self._live) >= self._space:
            raise SlicesExhausted(f"all {self._space} values of extranonce1 are in use")
        value = _free_from(self._next, self._space, self._live)
        self._live.add(value)
        self._next = (value + 1) % self._space
        return value.to_bytes(self._size, "big")

    def give_back(self, extranonce1: bytes) -> None:
        """The miner is gone."""
        self._live.discard(int.from_bytes(extranonce1, "big"))


def _free_from(start: int, space: int, taken: Container[int]) -> int:
    value = start
    while value in taken:
        value = (value + 1) % space
    return value
