"""What the proxy itself refuses, with its codes for the wire.

::

    ProxyError                  carries `code`
    ├── UpstreamAway            no upstream to mine at: a channel or connection is refused, not parked
    ├── Overloaded              more open requests or unanswered shares than are kept
    └── StoreFailed             the key of a new user identity could not be stored
"""

from typing import ClassVar


class ProxyError(Exception):
    """Root of the tree."""

    code: ClassVar[str] = "proxy-error"


class UpstreamAway(ProxyError):
    """The upstream is not there, or does not answer."""

    code = "upstream-unavailable"


class Overloaded(ProxyError):
    """More is under way than the proxy keeps account of."""

    code = "overloaded"


class StoreFailed(ProxyError):
    """The store did not take what must be in it before it is used."""

    code = "internal-error"
