"""Errors of the mint that are not a wallet's.

::

    OperatorError
    ├── KeysetMismatchError     a stored keyset does not come from the seed
    ├── OrderUnreadable         what was asked at the local socket is no order
    ├── RotationRefused         a unit that is not there, or is not rotated by hand
    ├── PauseRefused            nothing of that name is here to be stopped
    ├── RepairRefused           a quote that is not there, or is not to be mended so
    └── StillDifferent          what stopped the mint is as it was
    Exception
    ├── SettledElsewhere        another process has settled rows of a ledger meanwhile; looked at again
    ├── OverloadedError         too much waits; answered 503 with Retry-After
    └── CountersBrokenError     more would be redeemed than was issued: a key has leaked or the store is wrong
"""

from roles.runtime import sysexits
from roles.runtime.errors import OperatorError


class KeysetMismatchError(OperatorError):
    """A keyset of the store cannot be made from the seed again: the mint must not run."""

    exit_code = sysexits.DATA


class OrderUnreadable(OperatorError):
    """An order at the local socket that cannot be read."""

    exit_code = sysexits.USAGE


class RotationRefused(OperatorError):
    """A keyset that cannot be made by hand."""

    exit_code = sysexits.DATA


class PauseRefused(OperatorError):
    """A method or unit that the mint does not have."""

    exit_code = sysexits.DATA


class RepairRefused(OperatorError):
    """A quote that stays as it is."""

    exit_code = sysexits.DATA


class StillDifferent(OperatorError):
    """The ledger's counters are still not what its rows sum to."""

    exit_code = sysexits.DATA


class SettledElsewhere(Exception):
    """What a frame's rows were judged by no longer holds: another process has settled rows of the issuer."""


class OverloadedError(Exception):
    """Too many requests wait; the client may come again after `retry_after` seconds."""

    retry_after = 1


class CountersBrokenError(Exception):
    """A valid input would make a keyset redeem more than it issued; refused, and an alarm."""
