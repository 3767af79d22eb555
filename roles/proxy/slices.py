"""The slice of the extranonce that tells one downstream channel from another, constant for its life.

The full extranonce is the upstream's prefix, padding where the upstream grants more than it did at first, the
slice, and what the miner rolls. Prefix and padding travel in the coinbase of each job, so a miner never hears
of another extranonce when the upstream changes.
"""

SLICE_SIZE = 4
_SPACE = 1 << 8 * SLICE_SIZE


class Slices:
    """Gives each channel a slice that no other live one has; `start` is where the counter begins."""

    def __init__(self, start: int) -> None:
        self._next = start % _SPACE
        self._live: set[bytes] = set()

    def take(self) -> bytes:
        """The slice of a new channel, 4 bytes."""
        while (taken := self._next.to_bytes(SLICE_SIZE, "big")) in self._live:
            self._next = (self._next + 1) % _SPACE
        self._next = (self._next + 1) % _SPACE
        self._live.add(taken)
        return taken

    def give_back(self, taken: bytes) -> None:
        """Its channel is closed."""
        self._live.discard(taken)
