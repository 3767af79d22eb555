"""Errors of the runtime.

::

    RuntimeFault                  anything below this package's surface
    ├── OperatorError             a person can mend it: text, hint, exit code; no traceback
    │   ├── PortInUse             a listen address is taken (EX_UNAVAILABLE)
    │   ├── ListenFailed          a listen address cannot be had for another reason (EX_UNAVAILABLE)
    │   ├── SecretUnusable        a key file is readable by others, damaged or cannot be written (EX_NOPERM)
    │   ├── TlsUnusable           a certificate or its key is missing, expired or of another pair (EX_CONFIG)
    │   ├── StateUnusable         the state directory cannot be used (EX_CANTCREAT)
    │   ├── DatabaseInUse         another process has the store open (EX_TEMPFAIL)
    │   ├── DatabaseUnusable      the store cannot be opened or is damaged (EX_IOERR)
    │   ├── SchemaMismatch        the store's schema is newer than this program, or was changed (EX_DATAERR)
    │   ├── ChainMismatch         the store is about another chain than the configuration (EX_CONFIG)
    │   ├── AuthorityRequired     a connection that nobody vouches for, and nobody allowed (EX_CONFIG)
    │   ├── BackupFailed          a store was not copied (EX_CANTCREAT)
    │   ├── DaemonSilent          a daemon that should answer on this machine does not (EX_UNAVAILABLE)
    │   └── DaemonRefused         it answers, and will not do what it was asked (EX_DATAERR)
    ├── StorageError
    │   ├── CommitFailed          the disk did not take a write, or the batch that it was part of
    │   ├── ReadFailed            the disk did not give what was to be read
    │   └── StorageClosed         the store has been closed
    ├── TlsFailed                 a peer's TLS is broken, or of no kind that we take
    ├── HttpRefusal               what an HTTP handler answers instead of a result
    └── ConnectionLost            a peer is gone, or was cut off; carries `code`, a word for metrics
        └── ConnectFailed         a peer was not reached, or is not who it should be
"""

from collections.abc import Mapping

from roles.runtime import sysexits


class RuntimeFault(Exception):
    """Root of the runtime's errors."""


class OperatorError(RuntimeFault):
    """Something that the person who runs the daemon can mend.

    ``text`` is one sentence on what is wrong, ``hint`` one on what to do; ``exit_code`` is from sysexits.
    """

    exit_code = sysexits.CONFIG

    def __init__(self, text: str, *, hint: str = "", exit_code: int | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.hint = hint
        if exit_code is not None:
            self.exit_code = exit_code

    def __str__(self) -> str:
        return f"{self.text} ({self.hint})" if self.hint else self.text


class PortInUse(OperatorError):
    """A listen address is taken by another program."""

    exit_code = sysexits.UNAVAILABLE


class ListenFailed(OperatorError):
    """A listen address cannot be had: not of this machine, or not permitted."""

    exit_code = sysexits.UNAVAILABLE


class SecretUnusable(OperatorError):
    """A key file must not be used as it is."""

    exit_code = sysexits.PERMISSION


class TlsUnusable(OperatorError):
    """The certificate for TLS or its key must not be used, or cannot be."""


class StateUnusable(OperatorError):
    """The state directory cannot be made or written."""

    exit_code = sysexits.CANT_CREATE


class DatabaseInUse(OperatorError):
    """Another process holds the store."""

    exit_code = sysexits.TEMPORARY


class DatabaseUnusable(OperatorError):
    """The store cannot be opened."""

    exit_code = sysexits.IO


class SchemaMismatch(OperatorError):
    """The store's schema is not one that this program may touch."""

    exit_code = sysexits.DATA


class ChainMismatch(OperatorError):
    """The store's rows are about another chain than the one that is configured."""


class AuthorityRequired(OperatorError):
    """No authority key says whom we may trust at the other end."""


class BackupFailed(OperatorError):
    """A store could not be copied; there is no half a copy."""

    exit_code = sysexits.CANT_CREATE


class DaemonSilent(OperatorError):
    """No daemon answers at its local socket."""

    exit_code = sysexits.UNAVAILABLE


class DaemonRefused(OperatorError):
    """A daemon does not do what it was asked for at its local socket."""

    exit_code = sysexits.DATA


class StorageError(RuntimeFault):
    """A write or read that the store did not carry out."""


class CommitFailed(StorageError):
    """The disk failed, so that a write, or none of those that shared its commit, is stored; the cause says
    why.
    """


class ReadFailed(StorageError):
    """The disk failed while the store was read; the cause says why."""


class StorageClosed(StorageError):
    """The store has been closed."""


class TlsFailed(RuntimeFault):
    """A peer's handshake or record makes no sense; the text is OpenSSL's word for it."""


class HttpRefusal(RuntimeFault):
    """An HTTP error answer: status, and as its JSON body ``body``, by default ``detail`` and ``code``."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        code: int | None = None,
        body: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.body = {"detail": detail, "code": status if code is None else code} if body is None else body
        self.headers = headers


class ConnectionLost(RuntimeFault):
    """A connection has ended, by the peer or by us; the text says why, ``code`` in a word."""

    def __init__(self, text: str, *, code: str = "lost") -> None:
        super().__init__(text)
        self.code = code


class ConnectFailed(ConnectionLost):
    """A connection did not come about: not reached, not in time, or not with the peer we expect."""
