"""What cannot be translated.

::

    TranslationError
    ├── ExtranonceTooSmall    the upstream grants fewer bytes than the miner's parts take
    ├── SlicesExhausted       every extranonce1 is in use
    └── UntranslatableJob     a job without a tip, a tip without its job, or a coinbase that is none
"""


class TranslationError(Exception):
    """Root of the tree."""


class ExtranonceTooSmall(TranslationError):
    """Upstream extranonce smaller than extranonce1 and extranonce2 together; only another socket can shrink
    them.
    """


class SlicesExhausted(TranslationError):
    """No extranonce1 is free."""


class UntranslatableJob(TranslationError):
    """The upstream's message makes no work for a miner."""
