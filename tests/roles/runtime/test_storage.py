import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from sqlite3 import SQLITE_IOERR_READ, OperationalError

import pytest

from roles.runtime import store_watch
from roles.runtime.errors import (
    CommitFailed,
    DatabaseInUse,
    DatabaseUnusable,
    ReadFailed,
    SchemaMismatch,
    StorageClosed,
)
from roles.runtime.readiness import Readiness
from roles.runtime.storage import Connection, Database, DatabaseError, IntegrityError, open_readonly, sqlite
from roles.runtime.store_watch import watch_store

ROOT = Path(__file__).parents[3]
MIGRATIONS = [
    (1, "notes", "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);"),
    (
        2,
        "replies",
        """
        CREATE TABLE replies (
            id INTEGER PRIMARY KEY, note INTEGER REFERENCES notes (id) DEFERRABLE INITIALLY DEFERRED);
        CREATE INDEX replies_note ON replies (note);
        """,
    ),
]


def add(text: str) -> Callable[[Connection], int]:
    def insert(connection: Connection) -> int:
        row = connection.execute("INSERT INTO notes (text) VALUES (?) RETURNING id", (text,)).fetchone()
        return int(row["id"])

    return insert


def texts(connection: Connection) -> list[str]:
    return [row["text"] for row in connection.execute("SELECT text FROM notes ORDER BY id")]


def orphan(connection: Connection) -> None:
    connection.execute("INSERT INTO replies (note) VALUES (999)")


async def test_a_writer_keeps_as_many_pages_as_its_log_holds(tmp_path: Path) -> None:
    def settings(connection: Connection) -> list[int]:
        names = ("wal_autocheckpoint", "cache_size")
        return [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

    async with Database.open(tmp_path / "notes.sqlite", MIGRATIONS, log_pages=700) as database:
        assert await database.write(settings) == [700, 700]


async def test_a_write_returns_its_result_and_every_other_connection_sees_it_by_then(tmp_path: Path) -> None:
    async with Database.open(tmp_path / "a.sqlite", MIGRATIONS) as database:
        assert await database.write(add("one")) == 1
        with open_readonly(tmp_path / "a.sqlite") as other:
            assert texts(other) == ["one"]
        assert await database.read(texts) == ["one"]


def test_what_was_answered_survives_a_kill_of_the_process(tmp_path: Path) -> None:
    program = f"""
import asyncio
from roles.runtime.storage import Database
from pathlib import Path
async def main():
    database = Database.open(Path({str(tmp_path)!r}) / "a.sqlite", {MIGRATIONS!r})
    async def one(n):
        await database.write(lambda c: c.execute("INSERT INTO notes (text) VALUES (?)", (str(n),)))
        print(n, flush=True)
    n = 0
    while True:
        await asyncio.gather(*(one(n + i) for i in range(20)))
        n += 20
asyncio.run(main())
"""
    answered = set()
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        for line in child.stdout:
            answered.add(line.strip())
            if len(answered) == 75:
                child.send_signal(signal.SIGKILL)
    with open_readonly(tmp_path / "a.sqlite") as store:
        assert answered <= set(texts(store))
    Database.open(tmp_path / "a.sqlite", MIGRATIONS).close()


async def test_an_item_that_fails_fails_alone_and_leaves_nothing_behind(tmp_path: Path) -> None:
    def half(connection: Connection) -> None:
        add("half")(connection)
        add("one")(connection)

    async with Database.open(tmp_path / "a.sqlite", MIGRATIONS) as database:
        outcomes = await asyncio.gather(
            database.write(add("one")),
            database.write(half),
            database.write(add("two")),
            return_exceptions=True,
        )
        assert isinstance(outcomes[1], IntegrityError)
        assert [outcomes[0], outcomes[2]] == [1, 2]
        assert await database.read(texts) == ["one", "two"]


async def test_any_exception_reaches_the_caller_even_one_that_futures_refuse(tmp_path: Path) -> None:
    def stop(connection: Connection) -> None:
        next(iter(connection.execute("SELECT 1 WHERE 0")))

    async with Database.open(tmp_path / "a.sqlite", MIGRATIONS) as database:
        with pytest.raises(RuntimeError, match="StopIteration"):
            await database.write(stop)
        with pytest.raises(ZeroDivisionError):
            await database.write(lambda _: 1 // 0)
        assert await database.write(add("after")) == 1


async def test_a_commit_that_fails_fails_its_whole_batch_and_the_next_one_works(
    tmp_path: Path,
) -> None:
    async with Database.open(tmp_path / "a.sqlite", MIGRATIONS) as database:
        entered, gate = threading.Event(), threading.Event()

        def hold(_: Connection) -> None:
            entered.set()
            gate.wait()

        first = asyncio.create_task(database.write(hold))
        await asyncio.to_thread(entered.wait)
        rest = [asyncio.create_task(database.write(fn)) for fn in (add("one"), orphan, add("two"))]
        await asyncio.sleep(0)
        gate.set()
        await first
        outcomes = await asyncio.gather(*rest, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [CommitFailed] * 3
        assert len({id(outcome) for outcome in outcomes}) == 3
        assert await database.read(texts) == []
        assert await database.write(add("three")) == 1


async def test_a_write_that_ends_the_transaction_itself_fails_its_batch(tmp_path: Path) -> None:
    async with Database.open(tmp_path / "a.sqlite", MIGRATIONS) as database:
        with pytest.raises(CommitFailed, match="transaction was lost"):
            await database.write(lambda connection: connection.execute("ROLLBACK"))
        assert await database.write(add("after")) == 1


async def test_a_full_disk_fails_writes_and_they_work_again_when_there_is_room(tmp_path: Path) -> None:
    async with Database.open(tmp_path / "a.sqlite", MIGRATIONS) as database:
        (pages,) = await database.write(lambda c: c.execute("PRAGMA page_count").fetchone())
        await database.write(lambda c: c.execute(f"PRAGMA max_page_count = {pages}").fetchone())
        outcomes = await asyncio.gather(
            *(database.write(add(str(n) * 9000)) for n in range(3)), return_exceptions=True
        )
        assert all(isinstance(outcome, Exception) and "full" in str(outcome) for outcome in outcomes)
        await database.write(lambda c: c.execute("PRAGMA max_page_count = 1000000").fetchone())
        await database.write(add("x" * 9000))
        assert len(await database.read(texts)) == 1


async def test_a_disk_that_failed_is_tried_until_it_works_and_readiness_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "PROBE_S", 0.01)
    monkeypatch.setattr(store_watch, "LOOK_S", 0.01)
    readiness = Readiness()
    async with Database.open(tmp_path / "a.sqlite", MIGRATIONS) as database:
        watching = asyncio.create_task(watch_store(database, readiness))
        await readiness.wait()
        (pages,) = await database.write(lambda c: c.execute("PRAGMA page_count").fetchone())
        await database.write(lambda c: c.execute(f"PRAGMA max_page_count = {pages}").fetchone())
        monkeypatch.setattr(sqlite, "PROBE_S", 60)
        with pytest.raises(CommitFailed):
            await database.write(add("x" * 9000))
        while readiness.ready:
            await asyncio.sleep(0.001)
        assert "full" in readiness.reasons["store"]
        monkeypatch.setattr(sqlite, "PROBE_S", 0.01)
        # Ends the minute; from then on nobody writes, and the store finds out by itself.
        with pytest.raises(CommitFailed):
            await database.write(add("x" * 9000))
        await readiness.wait()
        watching.cancel()


async def test_a_disk_that_fails_in_the_midst_of_a_statement_fails_as_storage_and_leaves_others_alone(
    tmp_path: Path,
) -> None:
    async with Database.open(tmp_path / "a.sqlite", MIGRATIONS) as database:
        (pages,) = await database.write(lambda c: c.execute("PRAGMA page_count").fetchone())
        await database.write(lambda c: c.execute(f"PRAGMA max_page_count = {pages}").fetchone())
        outcomes = await asyncio.gather(
            database.write(add("x" * 9000)), database.write(add("small")), return_exceptions=True
        )
        assert isinstance(outcomes[0], CommitFailed)
        assert isinstance(outcomes[0].__cause__, DatabaseError)
        assert outcomes[1] == 1 or isinstance(outcomes[1], CommitFailed)


async def test_a_disk_that_cannot_be_read_is_told_as_such_and_a_mistake_in_sql_is_not(tmp_path: Path) -> None:
    def fail(_: Connection) -> None:
        error = OperationalError("disk I/O error")
        error.sqlite_errorcode = SQLITE_IOERR_READ
        raise error

    async with Database.open(tmp_path / "a.sqlite", MIGRATIONS) as database:
        with pytest.raises(ReadFailed, match="disk I/O error"):
            await database.read(fail)
        with pytest.raises(OperationalError, match="syntax"):
            await database.read(lambda c: c.execute("SELEC"))
        with pytest.raises(OperationalError, match="syntax"):
            await database.write(lambda c: c.execute("SELEC"))
        assert await database.read(texts) == []


async def test_many_concurrent_writers_share_commits_and_keep_their_order(tmp_path: Path) -> None:
    async with Database.open(tmp_path / "a.sqlite", MIGRATIONS) as database:
        before = await commits(database)
        ids = await asyncio.gather(*(database.write(add(str(n))) for n in range(3000)))
        assert ids == list(range(1, 3001))
        assert await commits(database) - before < 30
        assert await database.read(texts) == [str(n) for n in range(3000)]


async def commits(database: Database) -> int:
    return int(
        sum(s.value for m in database.metrics.collect() for s in m.samples if s.name.endswith("_count"))
    )


async def test_more_writers_than_there_is_room_for_all_get_their_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roles.runtime.storage.database.MAX_WAITING", 3)
    async with Database.open(tmp_path / "a.sqlite", MIGRATIONS) as database:
        await asyncio.gather(*(database.write(add(str(n))) for n in range(50)))
        assert len(await database.read(texts)) == 50


async def test_a_caller_that_leaves_does_not_undo_its_write_nor_take_room_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roles.runtime.storage.database.MAX_WAITING", 1)
    async with Database.open(tmp_path / "a.sqlite", MIGRATIONS) as database:
        task = asyncio.create_task(database.write(add("left")))
        await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await database.write(add("stayed"))
        assert await database.read(texts) == ["left", "stayed"]


async def test_a_reader_cannot_write(tmp_path: Path) -> None:
    async with Database.open(tmp_path / "a.sqlite", MIGRATIONS) as database:
        with pytest.raises(Exception, match="readonly"):
            await database.read(add("one"))
        with open_readonly(tmp_path / "a.sqlite") as other, pytest.raises(Exception, match="readonly"):
            add("one")(other)


async def test_closing_commits_what_is_queued_and_refuses_what_comes_later(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "a.sqlite", MIGRATIONS)
    tasks = [asyncio.create_task(database.write(add(str(n)))) for n in range(10)]
    await asyncio.sleep(0)
    database.close()
    database.close()
    assert await asyncio.gather(*tasks) == list(range(1, 11))
    with pytest.raises(StorageClosed):
        await database.write(add("late"))
    with pytest.raises(StorageClosed):
        await database.read(texts)


def test_a_store_is_private_and_asks_for_full_durability(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "a.sqlite", MIGRATIONS)

    async def pragmas() -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys")
        return await database.write(lambda c: [c.execute(f"PRAGMA {name}").fetchone()[0] for name in names])

    assert asyncio.run(pragmas()) == ["wal", 2, 1]
    for file in tmp_path.iterdir():
        assert file.stat().st_mode & 0o077 == 0
    database.close()


def test_a_store_in_use_names_the_process_that_holds_it(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "a.sqlite", MIGRATIONS)
    program = f"""
from roles.runtime.storage import Database
Database.open({str(tmp_path / "a.sqlite")!r}, {MIGRATIONS!r})
"""
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert f"DatabaseInUse: {tmp_path / 'a.sqlite'} is in use by process {os.getpid()}" in result.stderr
    with pytest.raises(DatabaseInUse, match="--state"):
        Database.open(tmp_path / "a.sqlite", MIGRATIONS)
    database.close()
    Database.open(tmp_path / "a.sqlite", MIGRATIONS).close()


def test_migrations_are_applied_once_and_later_ones_are_added(tmp_path: Path) -> None:
    Database.open(tmp_path / "a.sqlite", MIGRATIONS[:1]).close()
    Database.open(tmp_path / "a.sqlite", MIGRATIONS).close()
    with open_readonly(tmp_path / "a.sqlite") as store:
        rows = store.execute("SELECT version, name FROM schema_migrations").fetchall()
        assert [tuple(row) for row in rows] == [(1, "notes"), (2, "replies")]
        assert store.execute("SELECT count(*) FROM replies").fetchone()[0] == 0


def test_a_newer_schema_is_refused_in_words(tmp_path: Path) -> None:
    Database.open(tmp_path / "a.sqlite", MIGRATIONS).close()
    with pytest.raises(SchemaMismatch, match=r"schema 2 \(replies\).*schemas up to 1 only.*newer hashpool"):
        Database.open(tmp_path / "a.sqlite", MIGRATIONS[:1])


def test_a_migration_that_was_changed_after_its_release_is_refused(tmp_path: Path) -> None:
    Database.open(tmp_path / "a.sqlite", MIGRATIONS).close()
    changed = [(1, "notes", "CREATE TABLE notes (id INTEGER PRIMARY KEY);"), MIGRATIONS[1]]
    with pytest.raises(SchemaMismatch, match=r"another migration 1 \(notes\)"):
        Database.open(tmp_path / "a.sqlite", changed)


def test_a_migration_that_fails_leaves_the_store_as_it_was_and_unlocked(tmp_path: Path) -> None:
    broken = [MIGRATIONS[0], (2, "broken", "CREATE TABLE half (id INTEGER); INSERT INTO nowhere VALUES (1);")]
    with pytest.raises(DatabaseUnusable, match="nowhere"):
        Database.open(tmp_path / "a.sqlite", broken)
    with open_readonly(tmp_path / "a.sqlite") as store:
        tables = {row[0] for row in store.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        assert tables == {"notes", "schema_migrations"}
    Database.open(tmp_path / "a.sqlite", MIGRATIONS).close()


def test_migrations_with_a_gap_are_a_programming_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="without gaps"):
        Database.open(tmp_path / "a.sqlite", MIGRATIONS[1:])


def test_a_store_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnusable, match="No such file or directory"):
        Database.open(tmp_path / "missing" / "a.sqlite", MIGRATIONS)
    (tmp_path / "b.sqlite").write_bytes(b"not a database at all" * 100)
    with pytest.raises(DatabaseUnusable, match="not a database"):
        Database.open(tmp_path / "b.sqlite", MIGRATIONS)
    with pytest.raises(DatabaseUnusable, match="not a database"):
        open_readonly(tmp_path / "b.sqlite")
    with pytest.raises(DatabaseUnusable, match="cannot be opened"):
        open_readonly(tmp_path / "none.sqlite")


async def test_what_a_failed_write_or_read_has_held_is_freed_by_the_thread_that_ran_it(
    tmp_path: Path,
) -> None:
    freed: list[int] = []
    ran: list[int] = []

    class Held:
        """Stands for a cursor: another thread that frees one resets a statement in use."""

        def __del__(self) -> None:
            freed.append(threading.get_ident())

    def inner(_: Connection) -> None:
        held = Held()
        raise KeyError(id(held))

    def outer(connection: Connection) -> None:
        ran.append(threading.get_ident())
        held = Held()
        try:
            inner(connection)
        except KeyError as error:
            raise ValueError(id(held)) from error

    async with Database.open(tmp_path / "a.sqlite", MIGRATIONS) as database:
        for work in (database.write, database.read):
            with pytest.raises(ValueError, match=r"[0-9]") as kept:
                await work(outer)
            assert freed == [ran[-1]] * 2, kept
            freed.clear()
    assert threading.get_ident() not in ran
