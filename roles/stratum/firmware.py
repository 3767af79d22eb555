"""What is known of miners by the name that they give on subscribe."""

import re

from protocols.translation.difficulty import Rounding

__all__ = ["rounding_for"]

_BITAXE = re.compile(r"bitaxe/[^/]*/v?(\d+)\.(\d+)", re.IGNORECASE)
_FRACTIONS_SINCE = (2, 14)


def rounding_for(user_agent: str) -> Rounding:
    """Which difficulties a client understands: Bitaxe before 2.14 reads integers only."""
    bitaxe = _BITAXE.match(user_agent)
    if bitaxe and (int(bitaxe[1]), int(bitaxe[2])) < _FRACTIONS_SINCE:
        return Rounding.INTEGER
    return Rounding.NONE
