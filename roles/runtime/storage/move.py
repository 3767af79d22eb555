"""A SQLite store into an empty PostgreSQL database: all of it or nothing, checked column by column."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, Final

from roles.runtime.errors import DatabaseUnusable
from roles.runtime.storage import dialect
from roles.runtime.storage.migration import Migration
from roles.runtime.storage.postgres import PostgresDatabase, advance_counters
from roles.runtime.storage.postgres_session import Again, Away, Session, unusable
from roles.runtime.storage.server import Server
from roles.runtime.storage.sqlite import SqliteDatabase, open_file_readonly

CHUNK: Final = 5_000
"""Rows that are in memory at a time."""

Tell = Callable[[str, int], None]
"""Told a table and how many rows of it have been brought."""


@dataclass(slots=True)
class _Sum:
    """What a column amounts to: the sum of its numbers, or of the bytes of its values."""

    rows: int = 0
    columns: dict[str, int] = field(default_factory=dict)


def move(source: Path, server: Server, migrations: Sequence[Migration], tell: Tell) -> dict[str, int]:
    """Bring every row of a store that nobody else uses to a database that has none; gives rows by table.

    The source stays as it is, but for migrations that it lacks. What is killed midway leaves an empty
    database. Raises DatabaseInUse, DatabaseUnusable and SchemaMismatch.
    """
    if not source.exists():
        raise DatabaseUnusable(f"there is no {source}", hint="name the state directory with --state")
    # Holds the lock, so that no mint begins to write what would be left behind.
    held = SqliteDatabase.open_file(source, migrations)
    try:
        PostgresDatabase.open_server(server, migrations).close()
        with open_file_readonly(source) as store:
            return _carry(store, server, tell)
    finally:
        held.close()


def _carry(store: sqlite3.Connection, server: Server, tell: Tell) -> dict[str, int]:
    session = Session(server, for_migration=True)
    try:
        session.ensure()
        session.begin(alone=True)
        moved = {}
        names = _tables(store)
        _define_missing(store, session, names)
        for name in names:
            if session.execute(f'SELECT 1 FROM "{name}" LIMIT 1').fetchone() is not None:  # noqa: S608
                raise DatabaseUnusable(
                    f"{server.name} is not empty: its table {name} has rows",
                    hint="name a database that no mint has used, or drop and create this one",
                )
        for name in names:
            moved[name] = _carry_table(store, session, name, tell)
        advance_counters(session)
        session.commit()
        return moved
    except (Away, Again) as error:
        raise unusable(server, error) from None
    finally:
        session.close()


def _define_missing(store: sqlite3.Connection, session: Session, names: Sequence[str]) -> None:
    """Make tables that came after all migrations."""
    there = session.execute(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()"
    ).fetchall()
    for name in sorted(set(names) - {row["table_name"] for row in there}):
        sql = store.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (name,)).fetchone()["sql"]
        session.script(dialect.tables(f"{sql};"))


def _carry_table(store: sqlite3.Connection, session: Session, name: str, tell: Tell) -> int:
    columns = [row["name"] for row in store.execute(f'PRAGMA table_info("{name}")')]
    given = _Sum(columns=dict.fromkeys(columns, 0))
    for chunk in _chunks(store.execute(f'SELECT * FROM "{name}"')):  # noqa: S608
        session.load(name, columns, chunk)
        given.rows += len(chunk)
        for place, column in enumerate(columns):
            given.columns[column] += sum(_weight(row[place]) for row in chunk)
        tell(name, given.rows)
    taken = _taken(session, name, columns)
    if taken != given:
        raise DatabaseUnusable(
            f"table {name} came out otherwise: {given.rows} rows were brought, {taken.rows} stand there",
            hint="nothing was kept; try again, and tell us if it comes again",
        )
    return given.rows


def _taken(session: Session, name: str, columns: Sequence[str]) -> _Sum:
    kinds = {
        row["column_name"]: row["data_type"]
        for row in session.execute(
            "SELECT column_name, data_type FROM information_schema.columns"
            " WHERE table_schema = current_schema() AND table_name = ?",
            (name,),
        ).fetchall()
    }
    sums = ", ".join(
        f'coalesce(sum("{column}"), 0)'
        if kinds[column] == "bigint"
        else f'coalesce(sum(octet_length("{column}")), 0)'
        for column in columns
    )
    row = session.execute(f'SELECT count(*), {sums} FROM "{name}"').fetchone()  # noqa: S608
    return _Sum(row[0], dict(zip(columns, row[1:], strict=True)))


def _weight(value: Any) -> int:
    if value is None:
        return 0
    if isinstance(value, int):
        return value
    return len(value.encode() if isinstance(value, str) else value)


def _chunks(cursor: sqlite3.Cursor) -> Iterator[list[tuple[Any, ...]]]:
    while rows := cursor.fetchmany(CHUNK):
        yield [tuple(row) for row in rows]


def _tables(store: sqlite3.Connection) -> list[str]:
    """All tables, those that others refer to first."""
    names = [
        row["name"]
        for row in store.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            " AND name <> 'schema_migrations' ORDER BY name"
        )
    ]
    graph: TopologicalSorter[str] = TopologicalSorter()
    for name in names:
        parents = {row["table"] for row in store.execute(f'PRAGMA foreign_key_list("{name}")')}
        graph.add(name, *(parents - {name}))
    return list(graph.static_order())
