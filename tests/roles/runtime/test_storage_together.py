"""Writes of a batch that are run without savepoints, in a store whose writes may be run again."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from roles.runtime.errors import CommitFailed
from roles.runtime.storage import Connection, Database, IntegrityError, sqlite

MIGRATIONS = [(1, "notes", "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);")]


class Writes:
    """Batches of writes, and how often each write was run."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.runs: list[str] = []
        self.statements: list[str] = []

    def add(self, text: str) -> Callable[[Connection], int]:
        def insert(connection: Connection) -> int:
            self.runs.append(text)
            return connection.execute("INSERT INTO notes (text) VALUES (?)", (text,)).rowcount

        return insert

    async def batch(self, *texts: str) -> list[int | BaseException]:
        """Their outcomes; all of them are in one batch, because the writer is busy until all wait."""
        entered, gate = threading.Event(), threading.Event()

        def wait(connection: Connection) -> None:
            entered.set()
            gate.wait(10)
            connection.set_trace_callback(self.statements.append)  # type: ignore[attr-defined]

        waiting = asyncio.create_task(self.database.write(wait))
        await asyncio.to_thread(entered.wait, 10)
        writes = [asyncio.create_task(self.database.write(self.add(text))) for text in texts]
        await asyncio.sleep(0)
        gate.set()
        await waiting
        return await asyncio.gather(*writes, return_exceptions=True)

    async def there(self) -> list[str]:
        return await self.database.read(
            lambda c: [row["text"] for row in c.execute("SELECT text FROM notes ORDER BY id")]
        )

    def savepoints(self) -> int:
        """Since this was asked last."""
        number = sum(each.startswith("SAVEPOINT") for each in self.statements)
        self.statements.clear()
        return number


@pytest.fixture
async def writes(tmp_path: Path) -> AsyncIterator[Writes]:
    async with Database.open(tmp_path / "a.sqlite", MIGRATIONS, runs_again=True) as database:
        yield Writes(database)


async def test_a_batch_that_succeeds_is_run_once_and_without_savepoints(writes: Writes) -> None:
    assert await writes.batch("a", "b", "c") == [1, 1, 1]
    assert writes.runs == await writes.there() == ["a", "b", "c"]
    assert writes.savepoints() == 0


async def test_where_one_fails_all_are_run_again_and_it_fails_alone(writes: Writes) -> None:
    outcomes = await writes.batch("a", "a", "b")
    assert [outcomes[0], outcomes[2]] == [1, 1]
    assert isinstance(outcomes[1], IntegrityError)
    assert writes.runs == ["a", "a", "a", "a", "b"]
    assert await writes.there() == ["a", "b"]
    assert writes.savepoints() == 3


async def test_after_a_failure_batches_are_run_once_for_a_while(
    writes: Writes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "CAREFUL", 1)
    await writes.batch("a", "a")
    writes.runs.clear()
    outcomes = await writes.batch("b", "b", "c")
    assert (outcomes[0], outcomes[2], writes.runs) == (1, 1, ["b", "b", "c"])
    assert writes.savepoints() == 2 + 3
    assert await writes.batch("d", "e") == [1, 1]
    assert writes.savepoints() == 0


async def test_a_write_that_ends_the_transaction_is_found_out(writes: Writes) -> None:
    def end(connection: Connection) -> None:
        connection.execute("ROLLBACK")

    outcomes = await asyncio.gather(
        *(writes.database.write(each) for each in (writes.add("a"), end, writes.add("b"))),
        return_exceptions=True,
    )
    assert isinstance(outcomes[1], CommitFailed)
    assert await writes.batch("c", "d") == [1, 1]
