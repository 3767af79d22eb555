"""The password of a run, left in a file for programs of the same user, as bitcoind does."""

import hmac
import os
from base64 import b64decode
from binascii import Error as Base64Error
from logging import getLogger
from pathlib import Path

from roles.runtime.errors import SecretUnusable

log = getLogger(__name__)

NAME = ".cookie"
USER = "__cookie__"
SECRET_SIZE = 32


class Cookie:
    """User and password of this run; the file has mode 0600 and is replaced at every start."""

    def __init__(self, directory: Path, secret: bytes) -> None:
        self._path = directory / NAME
        self._credentials = f"{USER}:{secret.hex()}".encode()

    def write(self) -> None:
        """Puts the cookie into its file, whole or not at all; raises SecretUnusable."""
        draft = self._path.with_name(f"{NAME}.tmp")
        try:
            draft.unlink(missing_ok=True)
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb") as file:
                file.write(self._credentials)
            draft.replace(self._path)
        except OSError as error:
            raise SecretUnusable(
                f"{self._path} cannot be written: {error.strerror}",
                hint="see that the state directory is this user's and has room",
            ) from error

    def remove(self) -> None:
        """Removes the file, if the disk lets us: its password opens nothing any more."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("the cookie cannot be removed", extra={"reason": error.strerror})

    def admits(self, authorization: str) -> bool:
        """Whether the value of an Authorization header holds the cookie, told in constant time."""
        scheme, _, text = authorization.partition(" ")
        try:
            given = b64decode(text.strip(), validate=True)
        except (Base64Error, ValueError):
            return False
        return scheme.lower() == "basic" and hmac.compare_digest(given, self._credentials)
