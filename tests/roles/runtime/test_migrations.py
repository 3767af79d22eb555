"""A migration is killed in its midst, on either engine, and the next start finds all of it or nothing."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from roles.mint.schema import MIGRATIONS as MINT
from roles.runtime.errors import SchemaMismatch
from roles.runtime.storage import Database, Migration, Server, open_readonly
from tests.postgres_server import PostgresServer

ROOT = Path(__file__).parents[3]
ROWS = 300_000
OLD: Migration = (1, "notes", "CREATE TABLE notes (id INTEGER PRIMARY KEY, n INTEGER NOT NULL) STRICT;")
LONG: Migration = (
    2,
    "long",
    f"""
    CREATE TABLE more (n INTEGER NOT NULL) STRICT;
    INSERT INTO more (n) WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < {ROWS})
        SELECT x FROM c;
    UPDATE notes SET n = n + 1;
    """,
)
PROGRAM = """
import sys
from roles.runtime.storage import Database, Server
where = Server(sys.argv[2]) if sys.argv[1] == "postgresql" else sys.argv[2]
print("go", flush=True)
Database.open(where, {migrations!r}).close()
"""
Place = Callable[[], "Server | Path"]


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> "Server | Path":
    """An empty store of each engine."""
    if request.param == "sqlite":
        return tmp_path / "a.sqlite"
    server: PostgresServer = request.getfixturevalue("postgres")
    return Server(server.create_schema(), writers=1, readers=1)


def numbers(where: "Server | Path") -> tuple[list[int], int]:
    """Applied versions, and what the first note says."""
    with open_readonly(where) as store:
        versions = [
            row["version"] for row in store.execute("SELECT version FROM schema_migrations ORDER BY 1")
        ]
        return versions, store.execute("SELECT n FROM notes").fetchone()["n"]


async def test_a_migration_that_is_killed_has_taken_place_as_a_whole_or_not_at_all(
    where: "Server | Path",
) -> None:
    async with Database.open(where, [OLD]) as database:
        await database.write(lambda c: c.execute("INSERT INTO notes (n) VALUES (0)") and None)
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    program = PROGRAM.format(migrations=[OLD, LONG])
    place = ["postgresql", where.dsn] if isinstance(where, Server) else ["sqlite", str(where)]
    killed = 0
    for _ in range(4):
        with subprocess.Popen(
            [sys.executable, "-c", program, *place], cwd=ROOT, stdout=subprocess.PIPE
        ) as child:
            assert child.stdout is not None
            assert child.stdout.readline()
            time.sleep(chance.uniform(0.02, 0.2))
            child.send_signal(signal.SIGKILL)
            killed += child.wait() == -signal.SIGKILL
        versions, note = numbers(where)
        assert (versions, note) in [([1], 0), ([1, 2], 1)]
    assert killed
    Database.open(where, [OLD, LONG]).close()
    assert numbers(where) == ([1, 2], 1)
    with open_readonly(where) as store:
        assert store.execute("SELECT count(*) AS n FROM more").fetchone()["n"] == ROWS


def test_a_migration_that_fails_leaves_nothing_and_names_itself(where: "Server | Path") -> None:
    Database.open(where, [OLD]).close()
    broken: Migration = (2, "broken", "CREATE TABLE half (n INTEGER) STRICT; INSERT INTO nowhere VALUES (1);")
    with pytest.raises(Exception, match="nowhere"):
        Database.open(where, [OLD, broken])
    good: Migration = (2, "good", "CREATE TABLE half (n INTEGER) STRICT;")
    Database.open(where, [OLD, good]).close()
    with pytest.raises(SchemaMismatch, match="another migration 2"):
        Database.open(where, [OLD, (2, "good", good[2] + "-- and more")])
    with pytest.raises(SchemaMismatch, match="a newer hashpool"):
        Database.open(where, [OLD])


def test_every_version_of_the_mints_schema_leads_to_the_newest(where: "Server | Path") -> None:
    for version in range(1, len(MINT) + 1):
        Database.open(where, MINT[:version]).close()
    with open_readonly(where) as store:
        found = [row["version"] for row in store.execute("SELECT version FROM schema_migrations ORDER BY 1")]
    assert found == [version for version, _, _ in MINT]
