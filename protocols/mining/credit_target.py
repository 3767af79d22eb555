"""Targets that shares are judged and credited by: quantised, so that an amount is a whole number.

A unit is 2^minimum hashes. Targets of 16 units and more are worth a whole number of units; easier ones take
any number of hashes, since a step of a whole unit would be too coarse for vardiff there.
"""

from dataclasses import dataclass

from protocols.bitcoin.target import SPACE, from_work, work
from protocols.mining.errors import MaxTargetOutOfRange

QUANTISED_UNITS = 16
UNITS_LIMIT = 1 << 53
"""Units of one share stay below it, because wallets read amounts as JSON numbers."""
FLOOR_HASHES = 1 << 16


@dataclass(frozen=True, slots=True)
class CreditRule:
    """How a server chooses targets: `minimum` in bits, `floor` the least work of a share in hashes."""

    minimum: int
    floor: int = FLOOR_HASHES

    def target(self, wanted: int, *, network: int, max_target: int) -> int:
        """The target nearest to `wanted` expected hashes that floor, network and client allow.

        It is never easier than the client's `max_target`, and never harder than `network`, the target of a
        block, unless `max_target` itself is; then it is the easiest that the client accepts. Raises
        MaxTargetOutOfRange when the client wants more work in a share than an amount can express.
        """
        needed = -(-SPACE // (max_target + 1))
        most = (UNITS_LIMIT - 1) << self.minimum
        if needed > most:
            raise MaxTargetOutOfRange(f"a share of {needed} hashes is worth more than a wallet can hold")
        ceiling = min(work(network), most)
        return from_work(self._quantise(max(needed, min(max(wanted, self.floor), ceiling)), needed, ceiling))

    def _quantise(self, hashes: int, needed: int, ceiling: int) -> int:
        """Whole units where they are many enough: upwards, but downwards to stay within the ceiling."""
        if hashes < QUANTISED_UNITS << self.minimum:
            return hashes
        rounded = -(-hashes >> self.minimum) << self.minimum
        lower = ceiling >> self.minimum << self.minimum
        return lower if rounded > ceiling and lower >= needed else rounded
