"""Where a PostgreSQL store is, told without ever telling its password."""

import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

from roles.runtime.errors import DatabaseUnusable
from roles.runtime.secret import SecretFile

# No "@" may follow that of the user: where a password holds "/" or "@" as such, no host can be told.
_FORM = re.compile(
    r"postgres(?:ql)?://(?:[^@/?]*@)?(?P<host>[\w.,:\-\[\]]*)(?:/(?P<database>[^@?/]*))?(?:\?[^@]*)?"
)
VARIABLE = "HASHPOOL_MINT_DSN"
CREDENTIAL = "mint.dsn"


@dataclass(frozen=True, slots=True)
class Server:
    """A database of a PostgreSQL server, and how many connections to write and to read by.

    `dsn` may hold a password and is never shown; `name` says in texts which database it is.
    """

    dsn: str = field(repr=False)
    writers: int = 8
    readers: int = 4
    connect_s: float = 5.0
    statement_s: float = 10.0

    @property
    def name(self) -> str:
        """Database and host, without user and password."""
        found = _FORM.fullmatch(self.dsn)
        host, database = (found["host"], found["database"]) if found else ("", "")
        return f"PostgreSQL database {database or 'by default'} at {host or 'this machine'}"

    @classmethod
    def find(cls, file: Path | None, state: Path, *, writers: int = 8, readers: int = 4) -> "Server":
        """The server that the DSN names which is read from `file`; without one from the systemd credential
        `mint.dsn` or the state directory's file of that name, or else from $HASHPOOL_MINT_DSN.

        Raises DatabaseUnusable and SecretUnusable.
        """
        places = SecretFile(state / CREDENTIAL) if file is None else SecretFile(file)
        dsn = places.load() or ("" if file else os.environ.get(VARIABLE, "").strip())
        if not dsn:
            where = str(file) if file else f"{state / CREDENTIAL}, a credential {CREDENTIAL} or ${VARIABLE}"
            raise DatabaseUnusable(
                f"{where} does not say where the PostgreSQL database is",
                hint="write postgresql://user:password@host/database there, with mode 0600",
            )
        server = cls(dsn, writers, readers)
        server.check(str(places.path))
        return server

    def within(self, *, connect_s: float, statement_s: float) -> "Server":
        """The same database, with other patience."""
        return replace(self, connect_s=connect_s, statement_s=statement_s)

    def check(self, place: str) -> None:
        """Raise DatabaseUnusable for what is no DSN, naming its place instead of it."""
        if not _FORM.fullmatch(self.dsn):
            raise DatabaseUnusable(
                f"what {place} holds is not postgresql://user:password@host:port/database",
                hint="special characters of the password are written as %XX",
            )
