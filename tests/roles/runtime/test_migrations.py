"""A migration is killed in its midst, on either engine, and the next start finds all of it or nothing."""

import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from protocols.bitcoin.networks import Network
from roles.mint.schema import MIGRATIONS as MINT
from roles.runtime.errors import ChainMismatch, SchemaMismatch
from roles.runtime.storage import CHAIN, Database, Migration, Server, claim_chain, open_readonly
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
import signal
import sys
from roles.runtime.storage import Database, Server
where = Server(sys.argv[2]) if sys.argv[1] == "postgresql" else sys.argv[2]
signal.setitimer(signal.ITIMER_REAL, float(sys.argv[3]))
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


async def claim(where: "Server | Path", network: Network) -> None:
    async with Database.open(where, [(1, "chain", CHAIN)]) as database:
        await database.write(lambda c: claim_chain(c, network, database.name))


async def test_a_store_stays_with_the_chain_that_first_claimed_it(where: "Server | Path") -> None:
    await claim(where, Network.MAIN)
    await claim(where, Network.MAIN)
    with pytest.raises(ChainMismatch, match=r"is of main, and the configuration names regtest .*--state"):
        await claim(where, Network.REGTEST)
    await claim(where, Network.MAIN)


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
    # The kernel's own alarm ends the child, so that no pause of this test lets the migration finish;
    # the first comes before any machine could have written the rows.
    for longest in (0.01, 0.05, 0.1, 0.2):
        delay = chance.uniform(0.001, longest)
        child = subprocess.run([sys.executable, "-c", program, *place, str(delay)], cwd=ROOT, timeout=120)
        assert child.returncode in (0, -signal.SIGALRM)
        assert longest > 0.01 or child.returncode
        versions, note = numbers(where)
        assert (versions, note) in [([1], 0), ([1, 2], 1)]
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
