"""What opens the node's door: the cookie that it writes at each start, or a user with a password file."""

from pathlib import Path
from typing import Protocol

from roles.node_client.errors import NodeCredentialsMissing
from roles.runtime.errors import SecretUnusable
from roles.runtime.secret import SecretFile
from shared_config.pool_side import BitcoinSettings

_MAX_COOKIE = 1024


class Credentials(Protocol):
    """Reads user and password anew each time; raises NodeCredentialsMissing."""

    def load(self) -> tuple[str, str]:
        """User and password."""
        ...


class CookieFile:
    """bitcoind's .cookie, in the data directory of its network; a node that restarts writes another."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> tuple[str, str]:
        """User and password of the cookie as it is now."""
        hint = "is the node running, and is bitcoin.rpc_cookie_file the one of its network?"
        try:
            with self._path.open(encoding="utf-8") as file:
                text = file.read(_MAX_COOKIE)
        except FileNotFoundError as error:
            raise NodeCredentialsMissing(f"there is no cookie at {self._path}", hint=hint) from error
        except (OSError, UnicodeDecodeError) as error:
            raise NodeCredentialsMissing(f"the cookie {self._path} cannot be read", hint=hint) from error
        user, colon, password = text.strip().partition(":")
        if not colon or not password:
            # A node that is just starting creates the file before it fills it.
            raise NodeCredentialsMissing(f"the cookie {self._path} is empty or damaged", hint=hint)
        return user, password


class PasswordFile:
    """A user of rpcauth or rpcuser, whose password stands in a file of mode 0600."""

    def __init__(self, user: str, path: Path) -> None:
        self._user = user
        self._file = SecretFile(path)

    def load(self) -> tuple[str, str]:
        """The user and the password as the file holds it now."""
        try:
            password = self._file.load()
        except SecretUnusable as error:
            raise NodeCredentialsMissing(error.text, hint=error.hint) from error
        if password is None:
            raise NodeCredentialsMissing(
                f"there is no password at {self._file.path}", hint="see bitcoin.rpc_password_file"
            )
        return self._user, password


def credentials_of(settings: BitcoinSettings, directory: Path) -> Credentials:
    """The credentials that the configuration names; relative files are looked for in `directory`."""
    if settings.rpc_user is not None and settings.rpc_password_file is not None:
        return PasswordFile(settings.rpc_user, directory / settings.rpc_password_file)
    return CookieFile(directory / (settings.rpc_cookie_file or Path(".cookie")))
