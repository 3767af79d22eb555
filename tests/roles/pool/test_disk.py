"""The ledger's disk is nearly full, and has room again."""

from pathlib import Path

import pytest

from protocols.sv2.mining import SubmitSharesError, SubmitSharesSuccess
from protocols.sv2.template_distribution import SubmitSolution
from roles.credit import disk
from tests.roles.pool.house import House
from tests.roles.pool.neighbours import KEY, soon

PLENTY = 1 << 40


class Disk:
    """What is free on it, as the test says."""

    def __init__(self) -> None:
        self.free = PLENTY
        self.is_broken = False

    def __call__(self, _: Path) -> int:
        if self.is_broken:
            raise OSError("no such device")
        return self.free


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Disk:
    made = Disk()
    monkeypatch.setattr(disk, "free_bytes", made)
    monkeypatch.setattr(disk, "LOOK_S", 0.01)
    return made


async def until(house: House, *, low: bool) -> None:
    await soon(lambda: (disk.CONDITION in house.reasons) is low)


@pytest.mark.parametrize("is_broken", [False, True])
async def test_on_a_nearly_full_disk_new_shares_are_refused_by_their_code_and_taken_again_later(
    house: House, room: Disk, is_broken: bool
) -> None:
    house.settings["limits"] = {"disk_reserve_bytes": 1_000_000}
    await house.start()
    channel = await (await house.miner()).open()
    share = channel.mine()
    room.free, room.is_broken = 999_999, is_broken
    await until(house, low=True)
    for _ in range(2):
        channel.submit(share)
        refusal = await channel.miner.hear(SubmitSharesError, SubmitSharesSuccess)
        assert refusal == SubmitSharesError(channel.id, share.sequence_number, "ledger-full")
    assert house.metric("hashpool_pool_shares_rejected_total", code="ledger-full") == 2
    assert house.metric("hashpool_ledger_seq") == 0
    # A little more than the reserve is not enough, lest it be full again at once.
    room.free, room.is_broken = 1_050_000, False
    await soon(lambda: "1050000 bytes" in house.reasons[disk.CONDITION])
    room.free = PLENTY
    await until(house, low=False)
    channel.submit(share)
    accepted = await channel.miner.hear(SubmitSharesError, SubmitSharesSuccess)
    assert isinstance(accepted, SubmitSharesSuccess)
    assert house.metric("hashpool_pool_disk_free_bytes") == PLENTY


async def test_a_share_handed_in_twice_at_once_is_refused_twice_on_a_nearly_full_disk(
    house: House, room: Disk
) -> None:
    house.settings["limits"] = {"disk_reserve_bytes": 1_000_000}
    await house.start()
    channel = await (await house.miner(extensions=True)).open(key=KEY)
    room.free = 0
    await until(house, low=True)
    share = channel.mine()
    channel.submit(share, share)
    for _ in range(2):
        answer = await channel.miner.hear(SubmitSharesError, SubmitSharesSuccess)
        assert answer == SubmitSharesError(channel.id, share.sequence_number, "ledger-full")


async def test_a_block_is_submitted_whatever_the_disk_says(house: House, room: Disk) -> None:
    house.block_hashes = 1
    house.settings["limits"] = {"disk_reserve_bytes": 1_000_000}
    await house.start()
    channel = await (await house.miner()).open()
    room.free = 0
    await until(house, low=True)
    channel.submit(channel.mine())
    answer = await channel.miner.hear(SubmitSharesError, SubmitSharesSuccess)
    assert isinstance(answer, SubmitSharesError)
    assert answer.error_code == "ledger-full"
    assert await house.provider.hear(SubmitSolution)


async def test_a_share_that_was_stored_before_is_accepted_again(house: House, room: Disk) -> None:
    house.settings["limits"] = {"disk_reserve_bytes": 1_000_000}
    await house.start()
    miner = await house.miner(extensions=True)
    channel = await miner.open(key=KEY)
    share = channel.mine()
    channel.submit(share)
    assert isinstance(await miner.hear(SubmitSharesError, SubmitSharesSuccess), SubmitSharesSuccess)
    room.free = 0
    await until(house, low=True)
    channel.submit(share)
    assert isinstance(await miner.hear(SubmitSharesError, SubmitSharesSuccess), SubmitSharesSuccess)
