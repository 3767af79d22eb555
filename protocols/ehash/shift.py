"""Units: each shift of an issuer's ledger has its own, named after the issuer's identity key."""

import re
from dataclasses import dataclass

from protocols.bitcoin.secp256k1 import is_point
from protocols.ehash.errors import UnitError

METHOD = "ehash"
FIRST_SHIFT = 0
SHIFT_LIMIT = 1 << 32
DENOMINATIONS = tuple(1 << bit for bit in range(53))
"""The amounts of a keyset: powers of two below the limit of a single amount."""

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
