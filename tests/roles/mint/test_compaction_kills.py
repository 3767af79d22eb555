"""Who is killed while he compacts, ends or removes a shift has done it wholly or not at all."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from protocols.ehash.messages import CreditResults, Credits
from protocols.ehash.shift import METHOD
from roles.mint import archive
from roles.mint.compactor import GRACE_S
from roles.runtime.crash import POINTS, VARIABLE
from roles.runtime.storage import Server
from tests.postgres_server import PostgresServer
from tests.roles.mint.house import House, open_house
from tests.roles.mint.test_shift_end import Passing

NAMES = tuple(name for name in POINTS if name.startswith("mint.compaction"))
ROOT = Path(__file__).parents[3]


async def _child(place: str, now: float, crash_at: str = "", *, is_dsn: bool) -> int:
    command = [sys.executable, str(Path(__file__).with_name("compacting_child.py")), place, str(int(now))]
    process = await asyncio.create_subprocess_exec(
        *command, str(int(is_dsn)), env=os.environ | {VARIABLE: crash_at, "PYTHONPATH": str(ROOT)}
    )
    async with asyncio.timeout(30):
        return await process.wait()


async def _close(house: House) -> None:
    house.signatory.close()
    await asyncio.to_thread(house.database.close)


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
@pytest.mark.parametrize("name", NAMES)
async def test_killed_there_it_is_whole_and_the_next_one_goes_on(
    request: pytest.FixtureRequest, tmp_path: Path, name: str, engine: str
) -> None:
    server, place = None, str(tmp_path / "mint.sqlite")
    if engine == "postgresql":
        running: PostgresServer = request.getfixturevalue("postgres")
        place = running.create_schema()
        server = Server(place, writers=2, readers=1)
    house = await open_house(tmp_path, server=server)
    passing = Passing(house)
    for days in (0, 0, 1, 4, 4):
        await passing.shift(days=days)
    now = house.clock.now
    await _close(house)
    is_dsn = server is not None
    if name == "mint.compaction-emptied":
        assert await _child(place, now, is_dsn=is_dsn) == 0
        now += GRACE_S + 1
    assert await _child(place, now, name, is_dsn=is_dsn) == -signal.SIGKILL
    passing.house = house = await open_house(tmp_path, server=server)
    house.clock.now = now
    house.seq = len(passing.rows) + 1
    await passing.audit()
    if name == "mint.compaction-written":
        for quote in passing.quotes:
            assert (await house.teller.quote(quote.quote_id, METHOD)).state == "ISSUED"
        for seq, row in enumerate(passing.rows, 1):
            assert await house.settle(Credits(seq, seq - 1, 0, 0, (row,))) == CreditResults(seq, ())
    await _close(house)
    for later in (now, now + GRACE_S + 1):
        assert await _child(place, later, is_dsn=is_dsn) == 0
    passing.house = house = await open_house(tmp_path, server=server)
    house.clock.now = now + GRACE_S + 1
    assert len(await passing.tables()) == 1
    assert not await house.database.read(lambda c: archive.has_leftovers(c, int(now)))
    await passing.audit()
    await _close(house)
