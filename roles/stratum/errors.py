"""Errors of the Stratum sessions.

::

    StratumError
    ├── ChannelNotOpen      a share for an upstream channel that is not open at the moment
    ├── SubmissionsFull     a channel has as many unanswered shares as it may have
    ├── ChannelsFull        the upstream connection has as many channels as it may have
    ├── NamesFull           an SV1 pool was told of as many workers as it may be on one connection
    └── UpstreamUnusable    the upstream is reachable, but not to be mined on as configured; reported, then
                            retried
"""

__all__ = [
    "ChannelNotOpen",
    "ChannelsFull",
    "NamesFull",
    "StratumError",
    "SubmissionsFull",
    "UpstreamUnusable",
]


class StratumError(Exception):
    """Root of what this package raises."""


class ChannelNotOpen(StratumError):
    """The upstream channel is closed, or being opened again."""


class SubmissionsFull(StratumError):
    """Too many shares of this channel wait for the upstream's word."""


class ChannelsFull(StratumError):
    """No further channel on this connection."""


class NamesFull(StratumError):
    """No further worker on this connection with an SV1 pool."""


class UpstreamUnusable(StratumError):
    """The upstream refused the setup, an extension that we need, or stayed silent; the text says which."""
