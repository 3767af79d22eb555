"""What is known of miners by the name that they give on subscribe: classes of firmware, as data.

A class says where a miner starts and what it can bear. It never changes what a share is worth.
"""

import re
from dataclasses import dataclass
from typing import Final

from protocols.translation.difficulty import Rounding

__all__ = ["CLASSES", "OTHER", "Firmware", "classify"]


@dataclass(frozen=True, slots=True)
class Firmware:
    """One class of miners.

    `start_difficulty`, in SV1's difficulty: for about a share in ten seconds of the smallest usual device.
    `least_difficulty`: easier shares are of no use to it, 0 for any. `coinbase_bytes`: a longer coinbase,
    with its extranonce, is more than it takes. `takes_suggestions`: whether mining.suggest_difficulty counts.
    `extranonce2_size`: what its port grants, None for what others grant.
    """

    name: str
    start_difficulty: float
    least_difficulty: float = 0.0
    coinbase_bytes: int = 6_500
    rounding: Rounding = Rounding.NONE
    takes_suggestions: bool = True
    extranonce2_size: int | None = None


OTHER: Final = Firmware("other", 1_024)
_OLD_BITAXE: Final = Firmware("bitaxe-old", 1_024, least_difficulty=1, rounding=Rounding.INTEGER)

CLASSES: Final = (
    Firmware("bitaxe", 1_024),
    _OLD_BITAXE,
    Firmware("nerdminer", 0.0005, coinbase_bytes=255),
    Firmware("cpu", 0.02),
    Firmware("antminer", 16_384, coinbase_bytes=730),
    Firmware("antminer-s21", 65_536, coinbase_bytes=2_250),
    Firmware("asic", 16_384),
    Firmware("nicehash", 524_288, 524_288, coinbase_bytes=500, takes_suggestions=False),
    Firmware("rental", 524_288, 65_536, takes_suggestions=False, extranonce2_size=8),
    OTHER,
)
"""Every class; `rental` is never recognised by its name and is for ports of its own."""

_AGENTS: Final = (
    ("bitaxe", r"bitaxe|nerdq?axe|nerdoctaxe|luckyminer"),
    ("nerdminer", r"nerdminer"),
    ("cpu", r"cpuminer|minerd|hashpool-cpu"),
    ("antminer-s21", r"antminer s21/"),
    ("antminer", r"antminer|bmminer"),
    ("asic", r"whatsminer|bosminer|avalon|xminer-|powerplay|sm-miner"),
    ("nicehash", r"nicehash"),
)
_BY_NAME: Final = {each.name: each for each in CLASSES}
_PATTERNS: Final = tuple((re.compile(pattern), _BY_NAME[name]) for name, pattern in _AGENTS)
_BITAXE: Final = re.compile(r"bitaxe/[^/]*/v?(\d+)\.(\d+)")
_FRACTIONS_SINCE: Final = (2, 14)


def classify(user_agent: str, fixed: str | None = None) -> Firmware:
    """The class of a miner: that of its port, `fixed`, or that which its user agent begins with.

    Bitaxe before 2.14 reads whole difficulties only, whatever its port.
    """
    agent = user_agent.lower()
    bitaxe = _BITAXE.match(agent)
    if bitaxe and (int(bitaxe[1]), int(bitaxe[2])) < _FRACTIONS_SINCE:
        return _OLD_BITAXE
    if fixed is not None:
        return _BY_NAME[fixed]
    return next((firmware for pattern, firmware in _PATTERNS if pattern.match(agent)), OTHER)
