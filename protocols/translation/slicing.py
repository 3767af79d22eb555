"""How the extranonce2 that an SV1 pool grants is shared out among miners.

Of each miner's part the first bytes are its own (what it knows as extranonce1), the rest is what it rolls.
Hardware takes few sizes of the latter: 8 and 4 suit nearly all of it, 2 some. A proxy of ours takes any, and
gets all that there is, since it shares it out again.
"""

from dataclasses import dataclass

from protocols.translation.errors import ExtranonceTooSmall
from protocols.translation.extranonce import Layout

__all__ = ["Slicing"]

WHOLE = 8
HALF = 4
LEAST = 2
PROXY_SLICE = 2


@dataclass(frozen=True, slots=True)
class Slicing:
    """Bytes of a slice, by the size of the pool's extranonce2."""

    twelve_and_more: int = 4
    eight_to_eleven: int = 4
    four_to_seven: int = 2

    def layout(self, size: int, *, rolled: int | None = None, is_proxy: bool = False) -> Layout:
        """Of a miner at a pool that grants `size` bytes; `rolled` is how many it must have to roll.

        Raises ExtranonceTooSmall.
        """
        if is_proxy and size > LEAST:
            own = PROXY_SLICE if size >= HALF + PROXY_SLICE else 1
            return Layout(size - own, own)
        if rolled is not None:
            own = min(self.twelve_and_more, size - rolled)
            if own < LEAST:
                raise ExtranonceTooSmall(f"{size} bytes of extranonce leave no miner {rolled} to roll")
            return Layout(rolled, own)
        if size >= WHOLE + HALF:
            return Layout(WHOLE, self.twelve_and_more)
        if size >= WHOLE:
            return Layout(HALF, self.eight_to_eleven)
        if size >= HALF + LEAST:
            return Layout(HALF, self.four_to_seven)
        if size >= 2 * LEAST:
            return Layout(LEAST, self.four_to_seven)
        if size > LEAST:
            return Layout(LEAST, 1)
        raise ExtranonceTooSmall(f"{size} bytes of extranonce are too few for any miner")
