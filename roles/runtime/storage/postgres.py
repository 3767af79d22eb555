"""The PostgreSQL engine: several writers with a transaction each, and readers beside them.

Several processes may work on one database, so nothing here is held in this process: rows are unique by
constraints, and a write whose transaction met another one is run again. A commit that was not answered,
because the server died or the line was cut, is asked about by the number of its transaction and never
assumed; where nobody can tell, the write fails as one that may have taken place.
"""

import contextlib
import queue
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter

from roles.runtime.errors import CommitFailed, ReadFailed
from roles.runtime.storage import dialect
from roles.runtime.storage.connection import Connection
from roles.runtime.storage.database import Database, Meter, Work, deliver
from roles.runtime.storage.migration import RECORDS, Migration, missing, record
from roles.runtime.storage.postgres_session import Again, Away, Session, Ticket, unusable
from roles.runtime.storage.server import Server

T = TypeVar("T")

PROBE_S = 1.0
"""How often the server is asked whether it is there, while nobody has anything to write."""
MAX_ATTEMPTS = 12
"""How often a write is run that met others each time."""
TOGETHER = 3
"""How often it is run beside others before it is run alone, so that it must come to its end."""
RESOLVE_S = 3.0
"""How long the fate of a commit that was not answered is asked for."""
RESOLVE_PAUSE_S = 0.05

_MIGRATION_LOCK = 0x68617368706F6F6C
_SEQUENCES = (
    "SELECT table_name AS name, column_name AS counter,"
    " pg_get_serial_sequence(quote_ident(table_name), column_name) AS sequence"
    " FROM information_schema.columns WHERE is_identity = 'YES' AND table_schema = current_schema()"
)


class PostgresDatabase(Database):
    """A database of a server, shared with whoever else works on it."""

    def __init__(self, server: Server, meter: Meter) -> None:
        super().__init__(server.name, meter)
        self._reads: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._again = Counter(
            "hashpool_storage_retries",
            "Transactions that were run again because another was in the way.",
            registry=meter.registry,
        )
        self._connects = Counter(
            "hashpool_storage_connects", "Connections made to the server.", registry=meter.registry
        )
        self._unresolved = Counter(
            "hashpool_storage_unresolved_commits",
            "Commits that were not answered and whose fate could not be learnt.",
            registry=meter.registry,
        )
        self._writers = [
            threading.Thread(
                target=self._write, args=(Session(server), place == 0), name=f"write {place}", daemon=True
            )
            for place in range(server.writers)
        ]
        self._readers = [
            threading.Thread(target=self._read, args=(Session(server),), name=f"read {place}", daemon=True)
            for place in range(server.readers)
        ]
        for thread in (*self._writers, *self._readers):
            thread.start()

    @classmethod
    def open_server(
        cls, server: Server, migrations: Sequence[Migration], *, metrics: CollectorRegistry | None = None
    ) -> "PostgresDatabase":
        """See `open`; the database itself must be there."""
        server.check("the DSN")
        with ThreadPoolExecutor(1) as thread:
            thread.submit(_prepare, server, migrations).result()
        return cls(server, Meter(metrics or CollectorRegistry()))

    async def read(self, fn: Callable[[Connection], T]) -> T:
        """See `Database.read`."""
        result: T = await self._bounded(lambda done, loop: self._reads.put(Work(fn, done, loop)))
        return result

    def close(self) -> None:
        """See `Database.close`."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
        for work, threads in ((self._queue, self._writers), (self._reads, self._readers)):
            for _ in threads:
                work.put(None)
        for thread in (*self._writers, *self._readers):
            thread.join()

    # Writing.

    def _write(self, session: Session, is_watching: bool) -> None:
        """A writer's life; the first also looks after the server while nobody writes."""
        while (item := self._next(session, is_watching)) is not None:
            started = time.perf_counter()
            try:
                self._attempt(session, item)
            except Away as error:
                self.fault = str(error)
                item.error = CommitFailed(
                    f"{self.name}: nothing of this write is known to be stored: {error}"
                )
            else:
                self.fault = ""
            if item.error is None:
                self._meter.writes.inc()
            else:
                self._meter.failures.labels("commit" if self.fault else "refused").inc()
            self._meter.commit.observe(time.perf_counter() - started)
            deliver([item])
        session.close()

    def _next(self, session: Session, is_watching: bool) -> Work | None:
        if not is_watching:
            return self._queue.get()
        while True:
            with contextlib.suppress(queue.Empty):
                return self._queue.get(timeout=PROBE_S)
            self._probe(session)

    def _probe(self, session: Session) -> None:
        """See whether the server is there; after a fault, whether it takes a commit, too."""
        try:
            self._ensure(session)
            if self.fault:
                session.begin()
                session.commit()
            else:
                session.script("SELECT 1")
        except (Away, Again) as error:
            session.drop()
            self.fault = str(error)
        else:
            self.fault = ""

    def _attempt(self, session: Session, item: Work) -> None:
        """Run a write until it has taken place or failed for good; raises Away when there is no server."""
        is_fresh = False
        for attempt in count(1):
            sent = self._run(session, item, alone=attempt > TOGETHER)
            error = item.error
            if error is None:
                return
            if isinstance(error, Again):
                self._wait_for_others(session, attempt, error)
            elif isinstance(error, Away):
                session.drop()
                if sent is not None and self._was_committed(session, sent, error):
                    item.error = None
                    return
                # It did not take place. The connection may have been of before a restart: one more try.
                if is_fresh:
                    raise error
                is_fresh = True
            else:
                session.rollback()
                return

    def _run(self, session: Session, item: Work, *, alone: bool) -> Ticket | None:
        """Run a write once; gives its ticket if its commit was sent, answered or not."""
        sent = None
        with item:
            self._ensure(session)
            ticket = session.begin(alone=alone)
            item.result = item.fn(session)
            sent = ticket
            session.commit()
        return sent

    def _ensure(self, session: Session) -> None:
        before = session.connects
        session.ensure()
        self._connects.inc(session.connects - before)

    def _wait_for_others(self, session: Session, attempt: int, error: Again) -> None:
        session.rollback()
        self._again.inc()
        if attempt >= MAX_ATTEMPTS:
            raise Away(f"others were in the way {attempt} times: {error}")
        time.sleep(random.uniform(0, 0.01 * attempt))  # noqa: S311

    def _was_committed(self, session: Session, ticket: Ticket, lost: Away) -> bool:
        """Whether a commit that was not answered took place; raises Away when nobody can tell."""
        until = time.monotonic() + RESOLVE_S
        while True:
            try:
                session.ensure(at_once=True)
                fate = session.fate(ticket)
            except (Away, Again):
                session.drop()
                fate = "in progress"
            if fate in {"committed", "aborted"}:
                return fate == "committed"
            if fate == "unknown" or time.monotonic() >= until:
                self._unresolved.inc()
                raise Away(f"its commit was not answered ({lost}), and its fate cannot be learnt")
            time.sleep(RESOLVE_PAUSE_S)

    # Reading.

    def _read(self, session: Session) -> None:
        while (item := self._reads.get()) is not None:
            try:
                self._look(session, item)
            except (Away, Again) as error:
                item.error = ReadFailed(f"{self.name} cannot be read: {error}")
            deliver([item])
        session.close()

    def _look(self, session: Session, item: Work) -> None:
        for is_last in (False, True):
            with item:
                self._ensure(session)
                session.begin_snapshot()
                item.result = item.fn(session)
            error = item.error
            if isinstance(error, Away):
                session.drop()
            else:
                session.rollback()
            if not isinstance(error, Away | Again):
                return
            if is_last:
                raise error


def _prepare(server: Server, migrations: Sequence[Migration]) -> None:
    session = Session(server, for_migration=True)
    try:
        session.ensure()
        _migrate(session, migrations, server.name)
    except (Away, Again) as error:
        raise unusable(server, error) from None
    finally:
        session.close()


def _migrate(session: Session, migrations: Sequence[Migration], store: str) -> None:
    """One process at a time; each migration with its record in one transaction."""
    session.execute("SELECT pg_advisory_lock(?)", (_MIGRATION_LOCK,))
    session.script(dialect.tables(RECORDS))
    for migration in missing(session, migrations, store):
        session.begin()
        session.script(dialect.tables(migration[2]))
        record(session, migration)
        advance_counters(session)
        session.commit()
    session.execute("SELECT pg_advisory_unlock(?)", (_MIGRATION_LOCK,))


def advance_counters(session: Session) -> None:
    """Let numbers that the server gives begin behind those that were brought."""
    for row in session.execute(_SEQUENCES).fetchall():
        name, counter, sequence = row["name"], row["counter"], row["sequence"]
        session.script(
            f"SELECT setval('{sequence}', greatest((SELECT coalesce(max({counter}), 0) + 1 FROM {name}),"  # noqa: S608
            f" (SELECT last_value + is_called::int FROM {sequence})), false)"
        )
