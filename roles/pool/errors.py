"""Errors of the pool.

::

    OperatorError (roles.runtime)
    └── RewardUnusable          the coinbase cannot be built as configured
    Sv2Error (protocols.sv2)
    └── TemplateUnusable        the template provider sent what no work can be made of
"""

from protocols.sv2.errors import Sv2Error
from roles.runtime.errors import OperatorError


class RewardUnusable(OperatorError):
    """The reward script or tag does not make a coinbase."""


class TemplateUnusable(Sv2Error):
    """A template or tip that contradicts what was sent before, or that no coinbase fits."""

    code = "template-unusable"
