"""Secret files: made once in the state directory, mode 0600, or given by systemd credentials."""

import contextlib
import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

from roles.runtime.errors import SecretUnusable

_MAX_SIZE = 4096


class SecretFile:
    """One secret, looked for in ``$CREDENTIALS_DIRECTORY`` under its file name, then at its path.

    ``store`` is a file that is worth nothing without this very secret: where it exists, none is made anew.
    """

    def __init__(self, path: Path, *, store: Path | None = None) -> None:
        self.path = path
        self._store = store

    def load(self) -> str | None:
        """The secret without surrounding white space, None when there is none yet; raises SecretUnusable."""
        credentials = os.environ.get("CREDENTIALS_DIRECTORY")
        if credentials:
            given = Path(credentials) / self.path.name
            # What systemd hands over is readable by this service alone, whatever its mode says.
            with contextlib.suppress(FileNotFoundError):
                return self._text(given, private=False)
        with contextlib.suppress(FileNotFoundError):
            return self._text(self.path, private=True)
        return None

    def load_or_create(self, make: Callable[[], str]) -> str:
        """The secret; when there is none, what ``make`` gives, durably stored. Raises SecretUnusable."""
        found = self.load()
        if found is not None:
            return found
        if self._store is not None and self._store.exists():
            raise SecretUnusable(
                f"{self.path} is missing, and {self._store} is of no use without it",
                hint="put it back from its backup; to begin anew, move the store away first",
            )
        try:
            _create(self.path, make().strip() + "\n")
        except FileExistsError:
            pass  # another process was first: its secret is the one
        except OSError as error:
            raise SecretUnusable(
                f"{self.path} cannot be written: {error.strerror}", hint=_cure(error)
            ) from error
        return self._text(self.path, private=True)

    def load_or_create_bytes(self, size: int, make: Callable[[], bytes]) -> bytes:
        """Like `load_or_create`, for a secret kept as hex of ``size`` bytes."""
        try:
            secret = bytes.fromhex(self.load_or_create(lambda: make().hex()))
        except ValueError:
            secret = b""
        if len(secret) != size:
            raise SecretUnusable(
                f"{self.path} does not hold {size} bytes as hex", hint="restore it from a backup"
            )
        return secret

    def _text(self, path: Path, *, private: bool) -> str:
        try:
            with path.open("rb") as file:
                status = os.fstat(file.fileno())
                content = file.read(_MAX_SIZE + 1)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise SecretUnusable(f"{path} cannot be read: {error.strerror}", hint=_cure(error)) from error
        if private and status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise SecretUnusable(f"{path} can be read by other users", hint=f"chmod 600 {path}")
        text = content.decode("utf-8", "replace").strip()
        if not text or len(content) > _MAX_SIZE or "\ufffd" in text:
            raise SecretUnusable(f"{path} is empty or damaged", hint="restore it from a backup")
        return text


def _cure(error: OSError) -> str:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return "make room on the disk, or name another state directory with --state"
    return "see who owns it and its directory, or name another state directory with --state"


def _create(path: Path, text: str) -> None:
    """Write a new file that is either complete and on disk, or absent; raises FileExistsError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
