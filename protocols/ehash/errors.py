"""What the ehash package raises.

::

    EhashError (ValueError)
    ├── KeyTextError        text that should hold a locking key and does not; code for OpenMiningChannel.Error
    ├── UnitError           text that is not the unit of a shift
    ├── IdentityRefused     an issuer's hello whose signature or key does not hold
    └── CreditRefusal       a credit row that the mint will never accept; carries its CreditCode
        ├── BadWork         the header does not prove the work, or the work is worth nothing
        └── BadKey          the locking key is not a point of the curve

They are ValueErrors, so that a configuration model that parses a key reports it as a bad value.
"""

from enum import IntEnum
from typing import ClassVar


class CreditCode(IntEnum):
    """Codes of CreditResults: a row is settled by refusing it, or held (RETRY and above) and sent again."""

    BAD_WORK = 1
    BAD_KEY = 2
    DUPLICATE_ELSEWHERE = 3
    RETRY = 16
    OVER_BOUND = 17

    @property
    def label(self) -> str:
        """The code as text for CreditRefused and logs: bad-work, over-bound."""
        return self.name.lower().replace("_", "-")

    @property
    def holds(self) -> bool:
        """Whether the row is to be sent again later."""
        return self >= CreditCode.RETRY


class EhashError(ValueError):
    """The root of the tree."""


class KeyTextError(EhashError):
    """Text that names a locking key wrongly; never taken for a worker's name instead."""

    code: ClassVar[str] = "invalid-user-identity"


class UnitError(EhashError):
    """Not the unit of a shift."""


class IdentityRefused(EhashError):
    """The hello does not prove the issuer's identity on this connection."""


class CreditRefusal(EhashError):
    """A row that is settled by refusing it."""

    code: ClassVar[CreditCode]


class BadWork(CreditRefusal):
    """The header does not meet its target, or its work is worth no amount that a mint signs."""

    code = CreditCode.BAD_WORK


class BadKey(CreditRefusal):
    """The locking key is not a compressed point of the curve."""

    code = CreditCode.BAD_KEY
