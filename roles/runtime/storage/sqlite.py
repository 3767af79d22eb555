"""The SQLite engine: one file, one writer thread with group commit, one reader thread.

Writes that arrive while the disk is busy share the next commit, so that a thousand logical transactions cost
one fsync; each stands in a savepoint of its own and fails alone, or, in a store whose writes may be run
again, all are tried without savepoints first. A write's result is delivered only after the commit that holds
it (WAL, synchronous=FULL).
"""

import asyncio
import contextlib
import fcntl
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from sqlite3 import Connection, Row
from typing import Final, Literal, Self, TypeVar

from prometheus_client import CollectorRegistry

from roles.runtime.crew import Crew
from roles.runtime.errors import CommitFailed, DatabaseInUse, DatabaseUnusable, ReadFailed
from roles.runtime.storage import backup
from roles.runtime.storage.connection import Connection as Face
from roles.runtime.storage.database import LOG_PAGES, Database, Meter, Work, deliver, let_go
from roles.runtime.storage.migration import RECORDS, Migration, missing, record

T = TypeVar("T")

MAX_BATCH = 1024

CAREFUL: Final = 64
"""Batches that have savepoints at once after a write of one without failed."""
PROBE_S = 1.0
"""How often a disk that failed is tried while nobody has anything to write."""

_BUSY_MS = 10_000
_DISK_FAULTS = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
    }
)
"""What is no mistake of the program, and may pass."""
_PRAGMAS = (
    f"PRAGMA busy_timeout = {_BUSY_MS}",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    # macOS flushes its drives only when asked so; elsewhere these do nothing.
    "PRAGMA fullfsync = ON",
    "PRAGMA checkpoint_fullfsync = ON",
    "PRAGMA foreign_keys = ON",
    "PRAGMA journal_size_limit = 67108864",
    "PRAGMA temp_store = MEMORY",
)


class SqliteDatabase(Database):
    """One SQLite file, held by this process alone until it is closed."""

    def __init__(
        self,
        path: Path,
        writer: Connection,
        reader: Connection,
        lock: int,
        meter: Meter,
        *,
        runs_again: bool = False,
    ) -> None:
        super().__init__(str(path), meter)
        self._runs_again = runs_again
        self._careful = 0
        self.path = path
        self._writer = writer
        self._reader = reader
        self._lock = lock
        self._thread = threading.Thread(target=self._write_batches, name=f"write {path.name}", daemon=True)
        self._thread.start()
        self._readers = Crew(f"read {path.name}", 1)

    @classmethod
    def open_file(
        cls,
        path: Path | str,
        migrations: Sequence[Migration],
        *,
        metrics: CollectorRegistry | None = None,
        log_pages: int = LOG_PAGES,
        runs_again: bool = False,
    ) -> Self:
        """See `open`; the file is made with mode 0600."""
        path = Path(path)
        with contextlib.ExitStack() as undo:
            lock = _take_lock(path)
            undo.callback(os.close, lock)
            try:
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
                writer = undo.enter_context(contextlib.closing(_connect(str(path))))
                for pragma in _PRAGMAS:
                    writer.execute(pragma)
                writer.execute(f"PRAGMA wal_autocheckpoint = {log_pages:d}")
                # A batch that does not fit is written before its commit, and some of its pages once more.
                writer.execute(f"PRAGMA cache_size = {log_pages:d}")
                _migrate(writer, migrations, path)
                reader = undo.enter_context(contextlib.closing(_connect(str(path))))
                reader.execute(_PRAGMAS[0])
                reader.execute("PRAGMA query_only = ON")
                # Upper pages of large indexes; until the writer commits, leaves are all that is read anew.
                reader.execute(f"PRAGMA cache_size = {log_pages:d}")
            except (OSError, sqlite3.DatabaseError) as error:
                raise _unusable(path, error) from error
            meter = Meter(metrics or CollectorRegistry())
            database = cls(path, writer, reader, lock, meter, runs_again=runs_again)
            undo.pop_all()
            return database

    async def read(self, fn: Callable[[Face], T]) -> T:
        """See `Database.read`."""
        result: T = await self._bounded(lambda done, _: self._readers.call(lambda: self._snapshot(fn), done))
        return result

    async def backup(self, target: Path) -> int:
        """See `Database.backup`."""
        return await asyncio.to_thread(backup.copy, self.path, target)

    def close(self) -> None:
        """See `Database.close`."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            self._queue.put(None)
        self._thread.join()
        self._readers.close(finish=True)
        self._reader.close()
        self._writer.close()
        os.close(self._lock)

    def _snapshot(self, fn: Callable[[Face], T]) -> T:
        try:
            self._reader.execute("BEGIN")
            try:
                return fn(self._reader)
            finally:
                # Some errors of the disk have ended the snapshot already.
                if self._reader.in_transaction:
                    self._reader.execute("ROLLBACK")
        except Exception as error:
            let_go(error)
            if not _is_disk_fault(error):
                raise
            raise ReadFailed(f"{self.path} cannot be read: {error}") from error

    def _write_batches(self) -> None:
        while (first := self._next()) is not None:
            batch = [first]
            ending = False
            # Nobody else takes from the queue.
            while len(batch) < MAX_BATCH and not ending and not self._queue.empty():
                item = self._queue.get_nowait()
                if item is None:
                    ending = True
                else:
                    batch.append(item)
            self._commit(batch)
            if ending:
                return

    def _next(self) -> Work | None:
        """The next write; meanwhile a disk that failed is tried, by a commit of nothing."""
        while self.fault:
            with contextlib.suppress(queue.Empty):
                return self._queue.get(timeout=PROBE_S)
            self._commit([])
        return self._queue.get()

    def _commit(self, batch: list[Work]) -> None:
        """Run and commit a batch, then settle all of its futures by one call to the event loop.

        A commit that failed may come back: what it had written to the log may reach the disk after all, and
        be found there when the store is opened again after a kill. The next commit that succeeds, which for
        want of others is one of nothing, overwrites it.
        """
        started = time.perf_counter()
        fault = ""
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            if self.fault:
                # Writes a page, so that there is something to sync.
                self._writer.execute("PRAGMA user_version = 0")
            is_alone = len(batch) == 1 and not self.fault
            if is_alone or not self._run_together(batch):
                for item in batch:
                    self._run(item, is_alone=is_alone)
                    if isinstance(item.error, CommitFailed):
                        fault = str(item.error.__cause__)
            self._writer.execute("COMMIT")
        except sqlite3.Error as error:
            # A rollback that fails is tried again by the next batch, whose BEGIN fails because of it.
            with contextlib.suppress(sqlite3.Error):
                self._writer.execute("ROLLBACK")
            for item in batch:
                if item.error is None or _is_disk_fault(item.error):
                    item.error = CommitFailed(f"{self.path}: nothing of this batch was stored: {error}")
                    item.error.__cause__ = error
            if _is_disk_fault(error) or _is_disk_fault(error.__cause__):
                fault = str(error)
            self._meter.failures.labels("commit").inc(len(batch))
        else:
            failed = sum([item.error is not None for item in batch])
            if failed:
                self._meter.failures.labels("refused").inc(failed)
            self._meter.writes.inc(len(batch) - failed)
        self.fault = fault
        self._meter.commit.observe(time.perf_counter() - started)
        self._meter.batch.observe(len(batch))
        deliver(batch)

    def _run_together(self, batch: list[Work]) -> bool:
        """Run a batch without savepoints, each of which would keep a copy of every page that it changes;
        False where that may not be or one of the writes fails, and then nothing has been done.
        """
        if self._careful or not self._runs_again or self.fault:
            self._careful = max(0, self._careful - 1)
            return False
        for item in batch:
            with item:
                item.result = item.fn(self._writer)
            if item.error is not None or not self._writer.in_transaction:
                break
        else:
            return True
        self._careful = CAREFUL
        for item in batch:
            item.result = item.error = None
        if self._writer.in_transaction:
            self._writer.execute("ROLLBACK")
        self._writer.execute("BEGIN IMMEDIATE")
        return False

    def _run(self, item: Work, *, is_alone: bool) -> None:
        """Run one write of a batch; one that is alone needs no savepoint."""
        if not is_alone:
            self._writer.execute("SAVEPOINT item")
        with item:
            item.result = item.fn(self._writer)
        if not self._writer.in_transaction:
            # A full disk or an I/O error rolls back everything, the writes before this one included.
            cause = item.error or sqlite3.ProgrammingError("a write ended the transaction itself")
            raise sqlite3.OperationalError(f"the transaction was lost: {cause}") from cause
        if item.error is not None:
            if _is_disk_fault(item.error):
                failed = CommitFailed(f"{self.path}: nothing of this write was stored: {item.error}")
                failed.__cause__ = item.error
                item.error = failed
            for statement in ("ROLLBACK", "BEGIN IMMEDIATE") if is_alone else ("ROLLBACK TO item",):
                self._writer.execute(statement)
        if not is_alone:
            self._writer.execute("RELEASE item")


def open_file_readonly(path: Path | str) -> "_ReadOnly":
    """A connection that can only read, in one snapshot, also beside a live writer.

    Leaving its context closes it. Raises DatabaseUnusable.
    """
    path = Path(path)
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, factory=_ReadOnly
        )
        with contextlib.ExitStack() as undo:
            undo.enter_context(contextlib.closing(connection))
            connection.row_factory = Row
            connection.execute(_PRAGMAS[0])
            connection.execute("PRAGMA query_only = ON")
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            undo.pop_all()
    except sqlite3.DatabaseError as error:
        raise _unusable(path, error) from error
    return connection


class _ReadOnly(Connection):
    """A connection whose context closes it, which sqlite3's own does not."""

    def __exit__(self, *_: object) -> Literal[False]:
        self.close()
        return False


def _is_disk_fault(error: BaseException | None) -> bool:
    # The low byte is the error's family.
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF in _DISK_FAULTS


def _connect(path: str) -> Connection:
    connection = sqlite3.connect(
        path, timeout=_BUSY_MS / 1000, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    connection.row_factory = Row
    return connection


def _migrate(connection: Connection, migrations: Sequence[Migration], path: Path) -> None:
    connection.execute(RECORDS)
    for migration in missing(connection, migrations, str(path)):
        try:
            # executescript commits what is pending before it starts, so the script itself begins.
            connection.executescript(f"BEGIN EXCLUSIVE;\n{migration[2]}")
            record(connection, migration)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def _take_lock(path: Path) -> int:
    """The descriptor of a locked ``<path>.lock`` that holds our pid; closing it gives the lock free."""
    lock_path = path.with_name(path.name + ".lock")
    try:
        lock = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unusable(path, error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(lock, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(lock)
        raise DatabaseInUse(
            f"{path} is in use by process {holder}",
            hint="stop that process, or give this one another state directory with --state",
        ) from error
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def _unusable(path: Path, error: Exception) -> DatabaseUnusable:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return DatabaseUnusable(
        f"{path} cannot be opened: {reason}",
        hint="see that the directory exists, is writable and has room, and that the file is a hashpool store",
    )
