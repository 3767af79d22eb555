"""The PostgreSQL engine against a server of the tests' own, which is killed and cut off."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from roles.runtime import store_watch
from roles.runtime.errors import CommitFailed, DatabaseUnusable, ReadFailed, SchemaMismatch, StorageClosed
from roles.runtime.readiness import Readiness
from roles.runtime.storage import (
    Connection,
    Database,
    DatabaseError,
    IntegrityError,
    Server,
    each,
    open_readonly,
    postgres,
    postgres_session,
)
from roles.runtime.store_watch import watch_store
from tests.postgres_server import PASSWORD, PostgresServer

MIGRATIONS = [
    (
        1,
        "notes",
        """
        CREATE TABLE notes (
            id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE, data BLOB, n INTEGER NOT NULL DEFAULT 0
        ) STRICT;
        CREATE TABLE counter (name TEXT PRIMARY KEY, n INTEGER NOT NULL CHECK (n >= 0)) STRICT, WITHOUT ROWID;
        """,
    ),
]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as running:
        yield running


@pytest.fixture
def dsn(server: PostgresServer) -> str:
    return server.create_database()


def add(text: str) -> Callable[[Connection], int]:
    def insert(connection: Connection) -> int:
        row = connection.execute("INSERT INTO notes (text) VALUES (?) RETURNING id", (text,)).fetchone()
        return int(row["id"])

    return insert


def texts(connection: Connection) -> list[str]:
    return [row["text"] for row in connection.execute("SELECT text FROM notes ORDER BY id")]


async def test_a_write_returns_its_result_and_every_other_connection_sees_it_by_then(dsn: str) -> None:
    async with Database.open(Server(dsn), MIGRATIONS) as database:
        assert await database.write(add("one")) == 1
        with open_readonly(Server(dsn)) as other:
            assert texts(other) == ["one"]
        assert await database.read(texts) == ["one"]


async def test_values_come_back_as_they_went_whatever_their_kind(dsn: str) -> None:
    def fill(connection: Connection) -> int:
        rows = [("é'?:x", b"\x00\xff", -(1 << 63)), ("b", None, (1 << 63) - 1), ("c", b"", True)]
        sql = "INSERT INTO notes (text, data, n) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
        assert connection.executemany(sql, rows).rowcount == 3
        assert connection.executemany(sql, [("b", None, 1), ("d", None, 2)]).rowcount == 1
        assert (
            connection.executemany("UPDATE notes SET n = ? WHERE text = ?", [(5, "d"), (6, "?")]).rowcount
            == 1
        )
        assert connection.executemany(sql, []).rowcount == 0
        return connection.execute("UPDATE notes SET n = 4 WHERE text = :a OR text = :a", {"a": "c"}).rowcount

    def look(connection: Connection) -> list[tuple[object, ...]]:
        return [tuple(row) for row in connection.execute("SELECT text, data, n FROM notes ORDER BY id")]

    async with Database.open(Server(dsn), MIGRATIONS) as database:
        assert await database.write(fill) == 1
        assert await database.read(look) == [
            ("é'?:x", b"\x00\xff", -(1 << 63)),
            ("b", None, (1 << 63) - 1),
            ("c", b"", 4),
            ("d", None, 5),
        ]
        total = await database.read(lambda c: c.execute("SELECT sum(n) AS s FROM notes").fetchone()["s"])
        assert (type(total), total) == (int, 8)
        assert await database.read(lambda c: c.execute("SELECT ? - ? AS d", (7, 4)).fetchone()["d"]) == 3
        assert await database.read(lambda c: c.execute("SELECT ':x', '?', 1::bigint").fetchone()[:2]) == (
            ":x",
            "?",
        )


async def test_many_look_ups_are_one_question_and_answered_in_their_order(dsn: str) -> None:
    wanted = ["c", "nowhere", "a", "c"]
    query = "SELECT text AS word, data FROM notes WHERE text = ?"
    async with Database.open(Server(dsn), MIGRATIONS) as database:
        for text in ("a", "b", "c"):
            await database.write(add(text))
        rows = await database.read(lambda c: each(c, query, wanted))
        assert [row and (row["word"], row["data"]) for row in rows] == [
            ("c", None),
            None,
            ("a", None),
            ("c", None),
        ]
        assert await database.read(lambda c: each(c, query, [])) == []
        with open_readonly(Server(dsn)) as other:
            assert [row is None for row in each(other, query, wanted)] == [False, True, False, False]


async def test_a_write_that_fails_leaves_nothing_behind_and_its_text_holds_no_value(dsn: str) -> None:
    def half(connection: Connection) -> None:
        add("half")(connection)
        add("one")(connection)

    async with Database.open(Server(dsn), MIGRATIONS) as database:
        await database.write(add("one"))
        with pytest.raises(IntegrityError, match="unique") as caught:
            await database.write(half)
        assert "one" not in str(caught.value)
        assert caught.value.__cause__ is None
        with pytest.raises(ZeroDivisionError):
            await database.write(lambda _: 1 // 0)
        with pytest.raises(DatabaseError, match="syntax"):
            await database.write(lambda c: c.execute("SELEKT"))
        with pytest.raises(DatabaseError):
            await database.write(add("a\0b"))
        with pytest.raises(DatabaseError):
            await database.write(lambda c: c.execute("SELECT ?", (1 << 63,)))
        with pytest.raises(RuntimeError, match="StopIteration"):
            await database.write(lambda c: next(iter(c.execute("SELECT 1 WHERE 1 = 0"))))
        assert await database.read(texts) == ["one"]
        with pytest.raises(DatabaseError, match="read-only"):
            await database.read(add("no"))
    with pytest.raises(StorageClosed):
        await database.write(add("late"))
    with pytest.raises(StorageClosed):
        await database.read(texts)


def take(first: str, second: str) -> Callable[[Connection], None]:
    def write(connection: Connection) -> None:
        for name in (first, second):
            connection.execute("UPDATE counter SET n = n + 1 WHERE name = ?", (name,))

    return write


async def test_writers_that_lock_each_other_out_are_run_again_and_none_is_lost(dsn: str) -> None:
    registry = CollectorRegistry()
    async with (
        Database.open(Server(dsn), MIGRATIONS, metrics=registry) as one,
        Database.open(Server(dsn), MIGRATIONS) as other,
    ):
        rows = [("a", 0), ("b", 0)]
        await one.write(lambda c: c.executemany("INSERT INTO counter (name, n) VALUES (?, ?)", rows))
        crossed = [one.write(take("a", "b")) for _ in range(20)] + [
            other.write(take("b", "a")) for _ in range(20)
        ]
        await asyncio.gather(*crossed)
        counts = await one.read(lambda c: [row["n"] for row in c.execute("SELECT n FROM counter")])
        assert counts == [40, 40]
        assert (registry.get_sample_value("hashpool_storage_writes_total") or 0) == 21


async def test_processes_that_open_an_empty_database_at_once_make_its_tables_once(dsn: str) -> None:
    opened = await asyncio.gather(
        *(asyncio.to_thread(Database.open, Server(dsn, writers=1, readers=1), MIGRATIONS) for _ in range(4))
    )
    for database in opened:
        await asyncio.to_thread(database.close)
    newer = [*MIGRATIONS, (2, "more", "ALTER TABLE notes ADD COLUMN more INTEGER NOT NULL DEFAULT 0;")]
    Database.open(Server(dsn), newer).close()
    with pytest.raises(SchemaMismatch, match="a newer hashpool has written it"):
        Database.open(Server(dsn), MIGRATIONS)
    changed = [(1, "notes", MIGRATIONS[0][2] + " "), newer[1]]
    with pytest.raises(SchemaMismatch, match="another migration 1"):
        Database.open(Server(dsn), changed)


async def test_a_server_that_is_killed_is_told_by_readiness_and_used_again_when_it_is_back(
    server: PostgresServer, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "PROBE_S", 0.02)
    monkeypatch.setattr(postgres, "RESOLVE_S", 0.1)
    monkeypatch.setattr(postgres_session, "BACKOFF_S", (0.01, 0.05))
    monkeypatch.setattr(store_watch, "LOOK_S", 0.01)
    readiness = Readiness()
    async with Database.open(Server(dsn), MIGRATIONS) as database:
        watching = asyncio.create_task(watch_store(database, readiness))
        await readiness.wait()
        await database.write(add("before"))
        server.kill()
        while readiness.ready:
            await asyncio.sleep(0.001)
        assert "PostgreSQL database" in readiness.reasons["store"]
        assert PASSWORD not in readiness.reasons["store"]
        with pytest.raises(CommitFailed):
            await database.write(add("meanwhile"))
        with pytest.raises(ReadFailed):
            await database.read(texts)
        server.start()
        await readiness.wait()
        await database.write(add("after"))
        # A reader's connection of before is replaced when it is needed.
        assert await database.read(texts) == ["before", "after"]
        server.kill()
        server.start()
        await database.write(add("again"))
        assert await database.read(texts) == ["before", "after", "again"]
        watching.cancel()


async def test_a_connection_that_closes_between_two_statements_is_no_fault_of_the_request(
    dsn: str,
) -> None:
    tries = 0

    def close_midway(connection: Connection) -> int:
        nonlocal tries
        tries += 1
        number = add("midway")(connection)
        if tries == 1:
            assert isinstance(connection, postgres_session.Session)
            connection._connection.terminate()
        return add("after")(connection) - number

    async with Database.open(Server(dsn), MIGRATIONS) as database:
        assert await database.write(close_midway) == 1
        assert tries == 2
        assert await database.read(texts) == ["midway", "after"]


@pytest.mark.parametrize("committed", [True, False])
async def test_a_commit_that_was_not_answered_is_asked_about_and_never_done_twice(
    dsn: str, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    cut = iter([True])
    commit = postgres_session.Session.commit

    def lose(session: postgres_session.Session) -> None:
        if next(cut, False):
            if committed:
                commit(session)
            raise postgres_session.Away("the line was cut")
        commit(session)

    async with Database.open(Server(dsn), MIGRATIONS) as database:
        await database.write(add("first"))
        monkeypatch.setattr(postgres_session.Session, "commit", lose)
        row = await database.write(add("once"))
        assert await database.read(texts) == ["first", "once"]
        stored = await database.read(lambda c: c.execute("SELECT max(id) AS id FROM notes").fetchone()["id"])
        assert stored == row


async def test_a_commit_whose_fate_cannot_be_learnt_fails_as_one_that_may_have_taken_place(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = CollectorRegistry()
    commit = postgres_session.Session.commit

    def lose(session: postgres_session.Session) -> None:
        commit(session)
        session._timeline = "0000FFFF"
        raise postgres_session.Away("the line was cut")

    def begin(session: postgres_session.Session, *, alone: bool) -> postgres_session.Ticket:
        ticket = original(session, alone=alone)
        return postgres_session.Ticket(ticket.number, "0000FFFF")

    original = postgres_session.Session.begin
    async with Database.open(Server(dsn), MIGRATIONS, metrics=registry) as database:
        monkeypatch.setattr(postgres_session.Session, "begin", begin)
        monkeypatch.setattr(postgres_session.Session, "commit", lose)
        with pytest.raises(CommitFailed, match="its fate cannot be learnt"):
            await database.write(add("perhaps"))
        monkeypatch.undo()
        assert registry.get_sample_value("hashpool_storage_unresolved_commits_total") == 1
        assert await database.read(texts) == ["perhaps"]


def test_no_text_ever_shows_the_password(server: PostgresServer, tmp_path: Path) -> None:
    wrong = server.dsn("nowhere")
    texts_: list[str] = [repr(Server(wrong)), Server(wrong).name]
    bad = [wrong, wrong.replace("%40", "@"), wrong.replace("%2F", "/"), "mysql://u:no-secret@h/d", "hashpool"]
    bad += [server.dsn().replace(str(server.port), "no%2Fsecret"), server.dsn().replace("all", "wrong")]
    for wrong in bad:
        with pytest.raises(DatabaseUnusable) as caught:
            Database.open(Server(wrong, connect_s=2), MIGRATIONS)
        assert caught.value.__cause__ is None
        texts_.append(str(caught.value))
    assert not [text for text in texts_ if "secret" in text]
    assert any("nowhere" in text for text in texts_)


def test_the_dsn_comes_from_a_file_of_its_own_or_the_environment_and_from_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DatabaseUnusable, match="does not say where"):
        Server.find(None, tmp_path)
    monkeypatch.setenv("HASHPOOL_MINT_DSN", "postgresql://mint:word@db.example/mint")
    assert Server.find(None, tmp_path).name == "PostgreSQL database mint at db.example"
    file = tmp_path / "dsn"
    with pytest.raises(DatabaseUnusable, match="does not say where"):
        Server.find(file, tmp_path)
    file.write_text("postgresql:///mint?host=/run/postgresql\n")
    file.chmod(0o600)
    assert Server.find(file, tmp_path).name == "PostgreSQL database mint at this machine"
