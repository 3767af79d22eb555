"""Tables that come and go while a store serves, each within the write that needs it."""

import sqlite3
from typing import Protocol, cast

from roles.runtime.storage import dialect
from roles.runtime.storage.connection import Connection


class _Scripting(Protocol):
    def script(self, sql: str) -> None: ...


def define(connection: Connection, sql: str) -> None:
    """Make a table, said as migrations do."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute(sql)
    else:
        cast("_Scripting", connection).script(dialect.tables(sql))


def discard(connection: Connection, table: str, key: str, rows: int) -> bool:
    """Remove a part of a table, about so many rows in the order of a key that it is clustered by; True when
    all of it is gone.

    To drop a table SQLite would walk through all of its pages, and nobody else could write meanwhile. One
    that is gone already is gone. Nobody may look for it any more: PostgreSQL drops it beneath readers.
    """
    if isinstance(connection, sqlite3.Connection):
        known = connection.execute("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?", (table,))
        if known.fetchone() is None:
            return True
        bound = connection.execute(
            f"SELECT {key} FROM {table} ORDER BY {key} LIMIT 1 OFFSET {rows:d}"  # noqa: S608
        ).fetchone()
        if bound is not None:
            connection.execute(f"DELETE FROM {table} WHERE {key} < ?", (bound[0],))  # noqa: S608
            return False
        connection.execute(f"DROP TABLE {table}")
    else:
        cast("_Scripting", connection).script(f"DROP TABLE IF EXISTS {table}")
    return True
