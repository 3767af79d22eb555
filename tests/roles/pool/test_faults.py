"""A ledger on a disk that is really full, and a clock that jumps: no wrong verdict, no lost share."""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from protocols.sv2.mining import SubmitSharesError, SubmitSharesSuccess
from protocols.sv2.template_distribution import SubmitSolution
from roles.credit.ledger import Ledger
from roles.pool import front_end
from roles.pool.floor import Floor
from tests.roles.pool.house import Channel, House
from tests.roles.pool.neighbours import KEY, soon


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of three megabytes; skips the test for who may not mount one, which CI must."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
        fault = done.stderr.strip() if done.returncode else ""
    except OSError as error:
        fault = str(error)
    if fault:
        assert not os.environ.get("CI"), f"no small disk can be mounted: {fault}"
        pytest.skip(f"no small disk can be mounted: {fault}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(place: Path) -> Path:
    """A file that takes all that is left."""
    filler = place / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    assert os.statvfs(place).f_bavail == 0
    return filler


async def verdict(channel: Channel, share: Any) -> str:
    """Submit a share and return the code of its refusal, "" when it is accepted."""
    channel.submit(share)
    answer = await channel.miner.hear(SubmitSharesSuccess, SubmitSharesError)
    return answer.error_code if isinstance(answer, SubmitSharesError) else ""


async def test_on_a_full_disk_no_share_is_acknowledged_blocks_go_on_and_all_is_well_when_there_is_room(
    small_disk: Path,
) -> None:
    house = House(small_disk)
    house.block_hashes = 1
    # Without the reserve, so that the disk itself says no.
    house.settings["limits"] = {"disk_reserve_bytes": 0}
    try:
        await house.start()
        channel = await (await house.miner(extensions=True)).open(key=KEY)
        assert await verdict(channel, channel.mine()) == ""
        await house.provider.hear(SubmitSolution)
        filler = fill(small_disk)
        refused: list[Any] = []
        # What SQLite has set aside already may take a few more.
        while len(refused) < 3:
            share = channel.mine()
            if code := await verdict(channel, share):
                assert code == "share-not-stored"
                refused.append(share)
            assert await house.provider.hear(SubmitSolution), "a block that was not sent"
        before = house.metric("hashpool_ledger_seq")
        filler.unlink()
        for share in refused:
            assert await verdict(channel, share) == ""
        assert house.metric("hashpool_ledger_seq") == before + 3
        await soon(lambda: len(house.mint.book.rows) == before + 3)
    finally:
        await house.stop()


@pytest.mark.parametrize("jump", [-3600.0, 86_400.0])
async def test_a_clock_that_jumps_changes_no_verdict_and_loses_no_share(
    house: House, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    offset = 0.0

    def clock() -> float:
        return time.time() + offset

    monkeypatch.setattr(front_end, "Floor", partial(Floor, clock=clock))
    monkeypatch.setattr(Ledger, "open", partial(Ledger.open, clock=clock))
    await house.start()
    house.provider.new_tip(bytes((2,)) * 32, now=int(time.time()))
    channel = await (await house.miner(extensions=True)).open(key=KEY)
    held = channel.mine()
    assert await verdict(channel, channel.mine()) == ""
    offset = jump
    assert await verdict(channel, held) == ""
    assert await verdict(channel, channel.mine()) == ""
    low = channel.mine(low=channel.target + 1, target=(1 << 256) - 1)
    assert await verdict(channel, low) == "difficulty-too-low"
    offset = 0.0
    assert await verdict(channel, channel.mine()) == ""
    await soon(lambda: len(house.mint.book.rows) == 4)
