"""Many look-ups of one kind, which cost SQLite a call each and PostgreSQL one question for all."""

import sqlite3
from collections.abc import Sequence
from typing import Any, Protocol, cast

from roles.runtime.storage.connection import Connection


class _Asking(Protocol):
    def each(self, sql: str, keys: Sequence[Any]) -> list[Any]: ...


def each(connection: Connection, sql: str, keys: Sequence[bytes] | Sequence[str]) -> list[Any]:
    """For each key the row that a query of at most one row gives for it, None where there is none.

    The key is the query's only parameter, a `?`.
    """
    if isinstance(connection, sqlite3.Connection):
        return [connection.execute(sql, (key,)).fetchone() for key in keys]
    return cast("_Asking", connection).each(sql, keys)
