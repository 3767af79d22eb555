"""What a Lightning backend raises.

::

    Exception
    └── BackendError
        ├── BackendUnavailable      it did not answer, or not in time: what was asked may have been done
        └── InvoiceRefused          it will not make, or not pay, such an invoice: nothing was done

A payment that fails is no error: it is a fate (`roles.mint.lightning.backend`).
"""


class BackendError(Exception):
    """The root of the tree."""


class BackendUnavailable(BackendError):
    """No answer: a payment may be under way, and an invoice may have been made."""

    retry_after = 5
    """Seconds until a wallet should ask again."""


class InvoiceRefused(BackendError):
    """The backend will not do it; the text says why and may be told to a wallet."""
