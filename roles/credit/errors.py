"""Errors of the ledger and of the issuance link.

::

    OperatorError (roles.runtime)
    └── LedgerUnusable          the ledger is another issuer's, or its open shift has another price
    SetupRefused (protocols.sv2)
    └── IssuanceRefused         the mint answers SetupConnection.Error with `code` and closes the link
        ├── UnknownIssuer       the mint lists no such issuer
        ├── FalseIdentity       the hello's signature does not hold on this session
        ├── LedgerBehind        the ledger ends before what the mint has settled: an old backup
        ├── LedgerForked        a row differs from the one that was settled under its number
        ├── ShiftRefused        rows of a shift that is not open, or with another price than the shift's
        └── TimeReversed        a row is earlier than the row before it
"""

from protocols.sv2.errors import SetupRefused
from roles.runtime import sysexits
from roles.runtime.errors import OperatorError


class LedgerUnusable(OperatorError):
    """The ledger in the state directory is not one that this configuration may go on with."""

    exit_code = sysexits.DATA


class IssuanceRefused(SetupRefused):
    """What the mint will never accept from this issuer; an operator must look."""

    code = "issuance-refused"


class UnknownIssuer(IssuanceRefused):
    """The identity key is not among the mint's issuers."""

    code = "unknown-issuer"


class FalseIdentity(IssuanceRefused):
    """Whoever connected does not hold the identity key."""

    code = "false-identity"


class LedgerBehind(IssuanceRefused):
    """The issuer's ledger has fewer rows than the mint has settled of it."""

    code = "ledger-behind"


class LedgerForked(IssuanceRefused):
    """A row is not the one that the mint settled under the same number."""

    code = "ledger-forked"


class ShiftRefused(IssuanceRefused):
    """The rows' shift is not open, or their minimum or valuation is not the shift's."""

    code = "shift-refused"


class TimeReversed(IssuanceRefused):
    """The time of rows must never decrease."""

    code = "time-reversed"
