"""One connection to a PostgreSQL server, used by one thread: a synchronous face over asyncpg.

The thread has an event loop of its own, which runs only while a statement does. What the server says is told
as one of three: `Away` (nothing can be had of it now), `Again` (others were in the way), or a DatabaseError
of the statement, whose text holds no values.
"""

import asyncio
import contextlib
import random
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from sqlite3 import DatabaseError, IntegrityError
from typing import Any, Final, Literal, TypeVar

import asyncpg

from roles.runtime.errors import DatabaseUnusable
from roles.runtime.storage import dialect
from roles.runtime.storage.connection import Parameters
from roles.runtime.storage.server import Server

T = TypeVar("T")

LEAST_VERSION: Final = 130000
"""PostgreSQL 13: the first to tell the fate of a transaction by a number that never comes again."""
MAX_STATEMENTS: Final = 256
BACKOFF_S: Final = (0.1, 3.0)
"""The first and the longest wait between attempts to connect; each is twice the one before."""
STREAM_ROWS: Final = 1000

_WRITING: Final = 0x6861736877726974
_AGAIN: Final = frozenset({"40001", "40P01", "55P03"})
"""Serialization failure, deadlock, a lock that was not had in time."""
_AWAY_CLASSES: Final = ("08", "53", "57", "58", "XX")
"""Connection, resources, operator's intervention, system, corruption: no mistake of the program."""


class Away(Exception):
    """The server, or what the store needs of it, cannot be had now; the text says why."""


class Again(Exception):
    """Another transaction was in the way; this one is undone and can be run again."""


class Rows:
    """What a statement gave."""

    def __init__(self, rows: Iterable[Any], rowcount: int, names: Sequence[str] = ()) -> None:
        self._rows = iter(rows)
        self.rowcount = rowcount
        self.description = [(name,) for name in names]

    def fetchone(self) -> Any:
        """See `Cursor`."""
        return next(self._rows, None)

    def fetchall(self) -> list[Any]:
        """See `Cursor`."""
        return list(self._rows)

    def __iter__(self) -> Iterator[Any]:
        return self._rows


@dataclass(frozen=True, slots=True)
class Ticket:
    """A transaction that writes, by which its fate can be asked for: its number, the server's timeline."""

    number: int
    timeline: str


class Session:
    """A connection that is made when it is needed, and made again after it was lost."""

    def __init__(self, server: Server, *, for_migration: bool = False) -> None:
        self._server = server
        self._patience = None if for_migration else server.statement_s
        self._loop = asyncio.new_event_loop()
        self._connection: Any = None
        self._statements: OrderedDict[str, Any] = OrderedDict()
        self._timeline = ""
        self._reason = ""
        self._wait = BACKOFF_S[0]
        self._retry_at = 0.0
        self.connects = 0

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._connection is not None

    def ensure(self, *, at_once: bool = False) -> None:
        """Be connected; raises Away, without trying where the last attempt was just now, unless `at_once`."""
        if self._connection is not None:
            if not self._connection.is_closed():
                return
            self.drop()
        if not at_once and time.monotonic() < self._retry_at:
            raise Away(self._reason)
        try:
            self._connect()
        except Away as error:
            self._reason = str(error)
            self._retry_at = time.monotonic() + self._wait * random.uniform(0.5, 1)  # noqa: S311
            self._wait = min(self._wait * 2, BACKOFF_S[1])
            raise
        self._wait = BACKOFF_S[0]
        self._retry_at = 0.0
        self.connects += 1

    def drop(self) -> None:
        """Forget a connection that is of no more use; the server undoes what was not committed."""
        connection, self._connection = self._connection, None
        self._statements.clear()
        if connection is not None:
            connection.terminate()
            self._loop.run_until_complete(asyncio.sleep(0))

    def close(self) -> None:
        """End the connection and the loop."""
        connection, self._connection = self._connection, None
        self._statements.clear()
        if connection is not None:
            try:
                self._loop.run_until_complete(connection.close(timeout=1))
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                connection.terminate()
                self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    # Transactions.

    def begin(self, *, alone: bool = False) -> Ticket:
        """Begin a transaction that writes, beside others or alone among all that begin so."""
        self.script("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
        # Taken before any other lock, so that who waits for it keeps nobody waiting.
        lock = "pg_advisory_xact_lock" if alone else "pg_advisory_xact_lock_shared"
        row = self.execute(
            f"SELECT CAST(CAST(pg_current_xact_id() AS text) AS bigint), {lock}(?)", (_WRITING,)
        )
        return Ticket(row.fetchone()[0], self._timeline)

    def begin_snapshot(self) -> None:
        """Begin a transaction that reads, all of it at one moment."""
        self.script("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")

    def commit(self) -> None:
        """Make the transaction durable; where this raises Away, nobody knows yet whether it is."""
        self.script("COMMIT")

    def rollback(self) -> None:
        """Undo the transaction; a connection that does not even do that is dropped."""
        if self._connection is None:
            return
        try:
            self.script("ROLLBACK")
        except (Away, Again, DatabaseError):
            self.drop()

    def fate(self, ticket: Ticket) -> Literal["committed", "aborted", "in progress", "unknown"]:
        """What became of a transaction whose commit was not answered; raises Away."""
        if ticket.timeline != self._timeline:
            # Another server has taken over, and may give the same number to another transaction.
            return "unknown"
        sql = "SELECT pg_xact_status(CAST(CAST(? AS text) AS xid8))"
        found = self.execute(sql, (str(ticket.number),)).fetchone()[0]
        return found if found in {"committed", "aborted", "in progress"} else "unknown"

    # Statements.

    def script(self, sql: str) -> None:
        """Carry out statements without parameters and without a result."""
        self._run(lambda: self._connection.execute(sql))

    def execute(self, sql: str, parameters: Parameters = (), /) -> Rows:
        """See `Connection`."""
        text, arguments = dialect.statement(sql, parameters)
        return self._fetch(text, arguments)

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> Rows:
        """See `Connection`; an INSERT of rows is one statement."""
        lines = list(parameters)
        if not lines:
            return Rows((), 0)
        whole = dialect.rows(sql, lines)
        if whole is not None:
            return self._fetch(*whole)
        return Rows((), sum(self.execute(sql, line).rowcount for line in lines))

    def each(self, sql: str, keys: Sequence[Any]) -> list[Any]:
        """See `look_up.each`."""
        if not keys:
            return []
        rows = self._fetch(dialect.of_each(sql, dialect.type_of(keys[0])), (keys,)).fetchall()
        return [row if row["found"] else None for row in rows]

    def portal(self, sql: str, parameters: Parameters) -> tuple[Any, Sequence[str]]:
        """Like `execute`, for more rows than memory should hold: a portal for `fetch_more`, and the names of
        columns.
        """
        text, arguments = dialect.statement(sql, parameters)
        statement = self._prepare(text)
        return self._run(lambda: _portal(statement, arguments))

    def fetch_more(self, portal: Any) -> Sequence[Any]:
        """The next rows of a portal, none when it is at its end."""
        rows: Sequence[Any] = self._run(lambda: portal.fetch(STREAM_ROWS))
        return rows

    def load(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Add rows to a table, as fast as the server takes them."""
        self._run(lambda: self._connection.copy_records_to_table(table, records=rows, columns=columns))

    def _fetch(self, text: str, arguments: Sequence[Any]) -> Rows:
        statement = self._prepare(text)
        rows, status = self._run(lambda: _fetch(statement, arguments))
        count = status.rpartition(" ")[2]
        return Rows(rows, int(count) if count.isdecimal() else -1)

    def _prepare(self, text: str) -> Any:
        statement = self._statements.get(text)
        if statement is None:
            statement = self._run(lambda: self._connection.prepare(text))
            self._statements[text] = statement
            if len(self._statements) > MAX_STATEMENTS:
                self._statements.popitem(last=False)
        else:
            self._statements.move_to_end(text)
        return statement

    def _run(self, start: Callable[[], Awaitable[T]]) -> T:
        if self._connection is None:
            raise Away("the connection was lost")
        try:
            return self._loop.run_until_complete(_begun(start))
        except asyncpg.InvalidCachedStatementError:
            self._statements.clear()
            raise Again("the tables were changed") from None
        except asyncpg.PostgresError as error:
            # Without its cause, whose details hold values.
            raise _told(error) from None
        except (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            if isinstance(error, asyncpg.DataError):
                raise DatabaseError("a parameter is not of its column's type") from None
            raise Away(_reason(error)) from None

    def _connect(self) -> None:
        settings = {
            "application_name": "hashpool",
            "lock_timeout": "5s" if self._patience else "0",
            "idle_in_transaction_session_timeout": "30s" if self._patience else "0",
            "tcp_keepalives_idle": "10",
            "tcp_keepalives_interval": "5",
            "tcp_keepalives_count": "3",
        }
        try:
            self._connection = self._loop.run_until_complete(
                asyncpg.connect(
                    self._server.dsn,
                    timeout=self._server.connect_s,
                    command_timeout=self._patience,
                    statement_cache_size=0,
                    server_settings=settings,
                )
            )
            self._loop.run_until_complete(
                self._connection.set_type_codec(
                    "numeric", schema="pg_catalog", encoder=str, decoder=int, format="text"
                )
            )
        except (asyncpg.PostgresError, OSError) as error:
            raise Away(_reason(error)) from None
        except (ValueError, asyncpg.InterfaceError, asyncpg.InternalClientError):
            # Their texts may quote the DSN.
            raise Away("its DSN is not understood, or it does not speak as PostgreSQL does") from None
        try:
            self._greet()
        except (Away, Again, DatabaseError, DatabaseUnusable):
            self.drop()
            raise

    def _greet(self) -> None:
        """See what server this is, and that what it has committed is on its disk."""
        row = self.execute(
            "SELECT CAST(current_setting('server_version_num') AS bigint) AS version,"
            " current_setting('server_encoding') AS encoding, pg_is_in_recovery() AS standby,"
            " CASE WHEN pg_is_in_recovery() THEN '' ELSE left(pg_walfile_name(pg_current_wal_lsn()), 8) END"
            " AS timeline, current_setting('synchronous_commit') AS sync"
        ).fetchone()
        if row["version"] < LEAST_VERSION:
            raise DatabaseUnusable(
                f"{self._server.name} is of version {row['version'] // 10000}, and 13 or newer is needed",
                hint="move the database to a newer server",
            )
        if row["encoding"] != "UTF8":
            raise DatabaseUnusable(
                f"{self._server.name} is encoded as {row['encoding']}, and UTF8 is needed",
                hint="createdb --encoding=UTF8 --template=template0",
            )
        if row["standby"]:
            raise Away("the server is a standby, and takes no writes")
        if row["sync"] in {"off", "local"}:
            self.script("SET synchronous_commit = on")
        self._timeline = row["timeline"]


def unusable(server: Server, error: Exception) -> DatabaseUnusable:
    """What an operator is told of a server that is not there when it must be."""
    return DatabaseUnusable(
        f"{server.name} cannot be used: {error}",
        hint="see that the server runs and that user, password and database are as the DSN says",
    )


async def _begun(start: Callable[[], Awaitable[T]]) -> T:
    # A connection that is closed already is told of by the call, before there is anything to await.
    return await start()


async def _fetch(statement: Any, arguments: Sequence[Any]) -> tuple[Sequence[Any], str]:
    rows = await statement.fetch(*arguments)
    return rows, statement.get_statusmsg() or ""


async def _portal(statement: Any, arguments: Sequence[Any]) -> tuple[Any, Sequence[str]]:
    names = [column.name for column in statement.get_attributes()]
    return await statement.cursor(*arguments), names


def _told(error: asyncpg.PostgresError) -> Exception:
    state = error.sqlstate or ""
    if state in _AGAIN:
        return Again(_reason(error))
    if isinstance(error, asyncpg.IntegrityConstraintViolationError):
        return IntegrityError(_reason(error))
    if state.startswith(_AWAY_CLASSES):
        return Away(_reason(error))
    return DatabaseError(_reason(error))


def _reason(error: Exception) -> str:
    if isinstance(error, asyncpg.PostgresError):
        # Its first line: details below it would quote values.
        return f"{error.args[0] if error.args else ''} ({error.sqlstate})"
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    with contextlib.suppress(IndexError):
        return str(error).splitlines()[0]
    return type(error).__name__
