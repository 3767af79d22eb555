"""What the lightning package raises.

::

    LightningError (ValueError)
    └── InvoiceError        text that is no invoice, or fields that cannot become one
"""


class LightningError(ValueError):
    """The root of the tree."""


class InvoiceError(LightningError):
    """Not an invoice of BOLT 11; the text of the error never repeats the invoice."""
