"""Shifts: the stretches of an issuer's ledger, when the next one opens, and the unit that each has, named
after the issuer's identity key.
"""

import re
from dataclasses import dataclass, replace

from protocols.bitcoin.errors import TargetError
from protocols.bitcoin.secp256k1 import is_point
from protocols.bitcoin.target import from_bits, work
from protocols.ehash.errors import UnitError

METHOD = "ehash"
FIRST_SHIFT = 0
SHIFT_LIMIT = 1 << 32
DENOMINATIONS = tuple(1 << bit for bit in range(53))
"""The amounts of a keyset: powers of two below the limit of a single amount."""

SHIFTS_PER_BLOCK = 10
"""A shift is full when its work has reached this part of what a block takes."""
SHIFT_MS = 24 * 60 * 60 * 1000
"""A shift holds no row that is later than its first one by so much."""

_BITS = slice(72, 76)
_UNIT = re.compile(r"hash_([0-9a-f]{66})_(0|[1-9][0-9]{0,9})")


@dataclass(frozen=True, slots=True)
class Unit:
    """One shift of one issuer: identity key (33 bytes, compressed) and the shift's number."""

    issuer: bytes
    shift: int

    @property
    def name(self) -> str:
        """The unit as keysets, quotes and tokens carry it: hash_<identity key>_<shift>."""
        return f"hash_{self.issuer.hex()}_{self.shift}"

    @property
    def display(self) -> str:
        """The unit for people: the first 8 hex digits of the key do."""
        return f"hash·{self.issuer.hex()[:8]}·{self.shift}"


def parse_unit(text: str) -> Unit:
    """Read a unit's name, in lower case; raises UnitError for text that names no shift of a valid key."""
    match = _UNIT.fullmatch(text)
    if match is None or int(match[2]) >= SHIFT_LIMIT:
        raise UnitError("not the unit of a shift: hash_<66 hex digits>_<number> is")
    issuer = bytes.fromhex(match[1])
    if not is_point(issuer):
        raise UnitError("the unit's issuer key is not a point of the curve")
    return Unit(issuer, int(match[2]))


def is_ehash(unit: str) -> bool:
    """Whether a unit is that of a shift."""
    try:
        parse_unit(unit)
    except UnitError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class ShiftRule:
    """How much work fills a shift.

    A block takes what its nbits say, or `block_hashes` where those say nothing (regtest); it has `per_block`
    shifts.
    """

    block_hashes: int | None = None
    per_block: int = SHIFTS_PER_BLOCK

    def full_at(self, header: bytes) -> int:
        """The hashes at which a shift is full that begins with this header, 80 bytes; at least 1."""
        expected = self.block_hashes or _expected(int.from_bytes(header[_BITS], "little"))
        return -(-expected // self.per_block)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a shift has come: its rows' `work` of `full_at` hashes, the time of its first row in ms, and
    whether its last row is a block.
    """

    full_at: int
    first_time: int
    work: int = 0
    block: bool = False

    def is_over(self, time: int) -> bool:
        """Whether a row at `time` (ms) opens the next shift."""
        return self.block or self.work >= self.full_at or time >= self.first_time + SHIFT_MS

    def with_row(self, work: int, *, block: bool) -> "Progress":
        """The same after a row worth `work` hashes."""
        return replace(self, work=self.work + work, block=block)


def _expected(bits: int) -> int:
    try:
        return work(from_bits(bits))
    except TargetError:
        # No block could ever follow from it, and both sides must come to the same number.
        return 1
