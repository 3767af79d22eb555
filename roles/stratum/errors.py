"""Errors of the Stratum sessions.

::

    StratumError ├── ChannelNotOpen      a share for an upstream channel that is not open at the moment ├──
    SubmissionsFull     a channel has as many unanswered shares as it may have ├── ChannelsFull        the
    upstream connection has as many channels as it may have └── UpstreamUnusable    the upstream is
    reachable, but not to be mined on as configured; reported, then retried
"""

__all__ = ["ChannelNotOpen", "ChannelsFull", "StratumError", "SubmissionsFull", "UpstreamUnusable"]


class StratumError(Exception):
    """Root of what this package raises."""


class ChannelNotOpen(StratumError):
    """The upstream channel is closed, or being opened again."""


class SubmissionsFull(StratumError):
    """Too many shares of this channel wait for the upstream's word."""


class ChannelsFull(StratumError):
    """No further channel on this connection."""


class UpstreamUnusable(StratumError):
    """The upstream refused the setup, an extension that we need, or stayed silent; the text says which."""
