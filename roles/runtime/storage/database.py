"""The face of a store to the event loop, and the queue of writes behind it."""

import asyncio
import contextlib
import queue
import threading
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from roles.runtime.errors import BackupFailed, DatabaseUnusable, StorageClosed
from roles.runtime.outcome import Done, filling
from roles.runtime.storage.connection import Connection
from roles.runtime.storage.migration import Migration

if TYPE_CHECKING:
    from roles.runtime.storage.server import Server

T = TypeVar("T")

MAX_WAITING = 8192
"""Writes (and reads) that may wait; more callers wait for room before they are queued."""
LOG_PAGES = 500
"""To write over a log costs half of making it longer; one of 2 MB is sooner as long as it gets."""


@dataclass(slots=True, eq=False)
class Work:
    """A queued write or read and what became of it; as a context it keeps the exception of its body."""

    fn: Callable[[Any], Any]
    done: Done
    loop: asyncio.AbstractEventLoop
    result: Any = None
    error: BaseException | None = None

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self.error = error
        if error is not None:
            let_go(error)
        return True


def let_go(error: BaseException) -> None:
    """Free what the functions that an error has left still hold, in the thread that it was raised in.

    A cursor that another thread frees would reset its statement, which is used again here meanwhile.
    """
    seen: list[BaseException] = []
    left: BaseException | None = error
    while left is not None and left not in seen:
        traceback.clear_frames(left.__traceback__)
        seen.append(left)
        left = left.__cause__ or left.__context__


def deliver(batch: Sequence[Work]) -> None:
    """Tell of outcomes by one call to each event loop."""
    loops: dict[asyncio.AbstractEventLoop, list[Work]] = {}
    for item in batch:
        loops.setdefault(item.loop, []).append(item)
    for loop, items in loops.items():
        # An event loop that has been closed took its futures with it.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_settle, items)


def _settle(items: list[Work]) -> None:
    for item in items:
        item.done(item.result if item.error is None else None, item.error)


@dataclass(slots=True)
class Meter:
    """Counters of one store."""

    registry: CollectorRegistry
    writes: Counter = field(init=False)
    failures: Counter = field(init=False)
    commit: Histogram = field(init=False)
    batch: Histogram = field(init=False)
    up: Gauge = field(init=False)
    waiting: Gauge = field(init=False)

    def __post_init__(self) -> None:
        self.writes = Counter("hashpool_storage_writes", "Writes committed.", registry=self.registry)
        self.failures = Counter(
            "hashpool_storage_failures", "Writes that were not committed.", ["reason"], registry=self.registry
        )
        self.up = Gauge("hashpool_storage_up", "1 unless the store failed last.", registry=self.registry)
        self.commit = Histogram(
            "hashpool_storage_commit_seconds",
            "From the start of a batch to the end of its commit.",
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
            registry=self.registry,
        )
        self.batch = Histogram(
            "hashpool_storage_commit_writes",
            "Writes that shared a commit.",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024),
            registry=self.registry,
        )
        self.waiting = Gauge(
            "hashpool_storage_waiting", "Writes that no commit has begun with.", registry=self.registry
        )


class Database(ABC):
    """A store that is open; used from one event loop at a time.

    Made by `open`. Also an asynchronous context manager that closes it. `name` says in texts which store it
    is.
    """

    def __init__(self, name: str, meter: Meter) -> None:
        self.name = name
        self.metrics = meter.registry
        self._meter = meter
        self.fault = ""
        """Why the store did not take what it was given last; empty when it did."""
        meter.up.set_function(lambda: float(not self.fault))
        self._closed = False
        self._closing = threading.Lock()
        self._room = asyncio.Semaphore(MAX_WAITING)
        self._queue: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        meter.waiting.set_function(lambda: float(self._queue.qsize()))

    @staticmethod
    def open(
        where: "Path | str | Server",
        migrations: Sequence[Migration],
        *,
        metrics: CollectorRegistry | None = None,
        log_pages: int = LOG_PAGES,
        runs_again: bool = False,
    ) -> "Database":
        """Open or create the store, bring its schema up to date and start its threads.

        ``migrations`` are (version, name, SQL) from version 1 without gaps, never changed once released.
        ``log_pages`` is how long the log of a file becomes before its pages go to their places, and how many
        pages (of 4 KiB) its writer and its reader keep in memory. With ``runs_again`` writes may be run more
        than once in a file, as on a server, which saves most of them work. Raises DatabaseInUse,
        DatabaseUnusable or SchemaMismatch.
        """
        if isinstance(where, Path | str):
            from roles.runtime.storage.sqlite import SqliteDatabase

            return SqliteDatabase.open_file(
                where, migrations, metrics=metrics, log_pages=log_pages, runs_again=runs_again
            )
        try:
            # Only a mint that was told so needs the driver.
            from roles.runtime.storage.postgres import PostgresDatabase
        except ImportError as error:
            raise DatabaseUnusable(
                "PostgreSQL cannot be spoken to without the package asyncpg", hint="pip install asyncpg"
            ) from error
        return PostgresDatabase.open_server(where, migrations, metrics=metrics)

    async def write(self, fn: Callable[[Connection], T]) -> T:
        """Run ``fn`` on a writer's thread and return its result once it is durable.

        What ``fn`` raises is raised here and undoes that write alone. ``fn`` must not begin, commit or roll
        back, and must do nothing but read and write the store: where writers meet it is run again. A caller
        who is cancelled does not know whether the write took place; it does. Raises CommitFailed when the
        store did not take the write or its batch, StorageClosed after `close`.
        """
        result: T = await self._bounded(lambda done, loop: self._queue.put(Work(fn, done, loop)))
        return result

    def submit(self, fn: Callable[[Connection], Any], done: Done) -> None:
        """As `write`, for who cannot wait and has no more than one write under way: `done` is called.

        Raises StorageClosed after `close`.
        """
        loop = asyncio.get_running_loop()
        with self._closing:
            if self._closed:
                raise StorageClosed(f"{self.name} has been closed")
            self._queue.put(Work(fn, done, loop))

    @abstractmethod
    async def read(self, fn: Callable[[Connection], T]) -> T:
        """Run ``fn`` on a reader's thread, in one snapshot that holds every write whose result was delivered.

        ``fn`` must fetch what it needs: a cursor is of no use once it has returned. Raises ReadFailed when
        the store fails, StorageClosed after `close`.
        """

    async def backup(self, target: Path) -> int:
        """Copy the store as it is now, while it is used, to a new file; gives its bytes.

        Raises BackupFailed.
        """
        del target
        raise BackupFailed(
            f"{self.name} is a server's, which has backups of its own",
            hint="pg_dump --format=custom copies its database in one snapshot",
        )

    @abstractmethod
    def close(self) -> None:
        """Commit what is queued, end all threads and give the store free; blocks for that long."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.close)

    async def _bounded(self, start: Callable[[Done, asyncio.AbstractEventLoop], None]) -> Any:
        """Queue a call when there is room; it keeps the room until it is done, even if its caller leaves."""
        await self._room.acquire()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        fill = filling(future)

        def done(result: Any, error: BaseException | None) -> None:
            self._room.release()
            fill(result, error)

        with self._closing:
            if self._closed:
                self._room.release()
                raise StorageClosed(f"{self.name} has been closed")
            start(done, loop)
        return await future
