"""Why a benchmark has no figures.

::

    BenchmarkFailed
    ├── DaemonFailed       a daemon did not become ready, or ended by itself
    ├── CreditLost         the mint refused or never confirmed a row of valid work
    ├── NotServing         the mint does not offer what is measured
    ├── SignatureForged    a blind signature whose DLEQ proof does not hold
    ├── PoolRefused        the pool answered something else than it should, or went away
    ├── EdgeRefused        the translator did not let a miner mine, or refused a valid share
    └── SharesLost         the pool has not seen every share that miners were told is accepted
"""


class BenchmarkFailed(Exception):
    """Root of the tree."""


class DaemonFailed(BenchmarkFailed):
    """The text holds the end of the daemon's log."""


class CreditLost(BenchmarkFailed):
    """A share without its quote."""


class NotServing(BenchmarkFailed):
    """The mint lacks a part."""


class SignatureForged(BenchmarkFailed):
    """A signature that is not of the mint's key."""


class PoolRefused(BenchmarkFailed):
    """The pool does not play its part."""


class EdgeRefused(BenchmarkFailed):
    """The translator does not play its part."""


class SharesLost(BenchmarkFailed):
    """The sums differ."""
