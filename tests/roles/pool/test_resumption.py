"""A miner's channel is lost and taken up again: over the same pool, over one that was restarted or killed."""

import os
import time
from pathlib import Path
from typing import Any

import pytest

from protocols.bitcoin.target import from_work, work
from protocols.sv2.mining import (
    CloseChannel,
    NewExtendedMiningJob,
    SetTarget,
    SubmitSharesError,
    SubmitSharesSuccess,
    UpdateChannel,
)
from roles.pool import resume_store
from roles.pool.resume_layout import BEAT_AT, SESSION, SLOT, SLOTS_AT
from tests.roles.pool.house import Channel, House
from tests.roles.pool.neighbours import ANY_TARGET, KEY, OTHER_KEY, soon

BOTH = pytest.mark.parametrize("standard", [False, True], ids=["extended", "standard"])


def resumptions(house: House, result: str) -> float:
    return house.metric("hashpool_pool_resumptions_total", result=result)


async def begun(house: House, **how: Any) -> Channel:
    """A channel with its token."""
    miner = await house.miner(extensions=True)
    return await miner.open(key=KEY, **how)


async def go_on(channel: Channel, house: House, **how: Any) -> Channel:
    """The same miner on another connection, with the token of its channel; it knows its jobs still."""
    miner = await house.miner(extensions=True)
    again = await miner.open(key=KEY, token=channel.miner.token, **how)
    again.jobs = channel.jobs | again.jobs
    again.targets = channel.targets | again.targets
    again.nonce = channel.nonce
    return again


async def accepted(channel: Channel, *shares: Any) -> int:
    """Submit shares under the channel's id and wait for the verdict; returns how many are accepted."""
    count = 0
    for share in shares:
        channel.submit(move(share, channel.id))
    while count < len(shares):
        answer = await channel.miner.hear(SubmitSharesSuccess, SubmitSharesError)
        assert isinstance(answer, SubmitSharesSuccess), answer
        count += answer.new_submits_accepted_count
    return count


async def refused(channel: Channel, share: Any) -> str:
    channel.submit(move(share, channel.id))
    code: str = (await channel.miner.hear(SubmitSharesError)).error_code
    return code


def move(share: Any, channel_id: int) -> Any:
    return type(share)(channel_id, *[getattr(share, name) for name in type(share).__slots__[1:]])


@BOTH
async def test_a_killed_pool_goes_on_with_prefix_target_and_jobs(house: House, standard: bool) -> None:
    await house.start()
    channel = await begun(house, standard=standard)
    house.provider.fees()
    later = await channel.work()
    share = channel.mine()
    assert await accepted(channel, share) == 1
    lost, older = channel.mine(), channel.mine(job=channel.jobs[1])
    await house.crash_pool()
    await house.start_pool()
    again = await go_on(channel, house, standard=standard)
    assert again.prefix == channel.prefix
    assert again.success.target == channel.success.target
    assert min(again.jobs.keys() - channel.jobs.keys()) > later.job_id
    assert await accepted(again, lost, older, again.mine()) == 3
    assert resumptions(house, "resumed") == 1
    # What is in the ledger already is answered with success, and credited once.
    assert await accepted(again, share) == 1
    await soon(lambda: house.metric("hashpool_ledger_acked_seq") == 4)
    assert house.metric("hashpool_ledger_seq") == 4


async def test_a_connection_that_was_lost_is_gone_on_with_and_the_old_one_loses_its_channel(
    house: House,
) -> None:
    await house.start()
    channel = await begun(house)
    share = channel.mine()
    again = await go_on(channel, house)
    assert again.prefix == channel.prefix
    assert await channel.miner.hear(CloseChannel) == CloseChannel(channel.id, "resumed-elsewhere")
    assert await accepted(again, share) == 1
    assert await refused(channel, channel.mine()) == "invalid-channel-id"
    channel.miner.link.close()
    await soon(lambda: house.metric("hashpool_pool_channels", kind="extended") == 1)


async def test_a_token_is_good_once(house: House) -> None:
    await house.start()
    channel = await begun(house)
    channel.miner.link.close()
    await go_on(channel, house)
    other = await go_on(channel, house)
    assert other.prefix != channel.prefix
    assert resumptions(house, "used") == 1
    assert await accepted(other, other.mine()) == 1


async def test_the_token_of_a_resumed_channel_is_good_in_its_turn_for_jobs_of_both(house: House) -> None:
    await house.start()
    channel = await begun(house)
    share = channel.mine()
    for _ in range(3):
        await house.crash_pool()
        await house.start_pool()
        channel = await go_on(channel, house)
    assert resumptions(house, "resumed") == 1
    assert await accepted(channel, share, channel.mine()) == 2


@pytest.mark.parametrize(
    ("token", "key"), [(bytes(32), KEY), (b"short", KEY), (None, OTHER_KEY)], ids=["forged", "none", "key"]
)
async def test_a_token_that_is_not_the_miners_opens_a_new_channel(
    house: House, token: bytes | None, key: bytes
) -> None:
    await house.start()
    channel = await begun(house)
    miner = await house.miner(extensions=True)
    other = await miner.open(key=key, token=token or channel.miner.token)
    assert other.prefix != channel.prefix
    assert await accepted(other, other.mine()) == 1
    assert resumptions(house, "unknown") == 1
    # And the one whose token it was has lost nothing.
    assert await accepted(channel, channel.mine()) == 1
    assert (await go_on(channel, house)).prefix == channel.prefix


async def test_with_another_tip_there_is_nothing_to_go_on_with(house: House) -> None:
    await house.start()
    channel = await begun(house)
    await house.crash_pool()
    house.provider.tip = bytes((2,)) * 32
    await house.start_pool()
    again = await go_on(channel, house)
    assert again.prefix != channel.prefix
    assert resumptions(house, "other-tip") == 1


async def test_jobs_of_before_the_tip_are_not_gone_on_with(house: House) -> None:
    await house.start()
    channel = await begun(house)
    stale = channel.mine()
    house.provider.new_tip(bytes((2,)) * 32)
    await channel.work()
    share = channel.mine()
    again = await go_on(channel, house)
    assert again.prefix == channel.prefix
    assert await refused(again, stale) == "invalid-job-id"
    assert await accepted(again, share) == 1


async def test_a_new_tip_ends_what_was_gone_on_with(house: House) -> None:
    await house.start()
    channel = await begun(house)
    share = channel.mine()
    again = await go_on(channel, house)
    house.provider.new_tip(bytes((2,)) * 32)
    await again.work()
    assert await refused(again, share) == "stale-share"


async def test_who_resumes_when_others_have_a_new_tip_to_come_has_the_work_of_that_tip(house: House) -> None:
    await house.start()
    channel = await begun(house)
    miner = await house.miner(extensions=True)
    await miner.open(key=KEY, user="other")
    house.provider.new_tip(bytes((2,)) * 32)
    await channel.work()
    share = channel.mine()
    again = await miner.open(key=KEY, token=channel.miner.token)
    assert again.prefix == channel.prefix
    assert await accepted(again, share) == 1


async def test_a_token_lives_for_a_time_that_is_set(house: House) -> None:
    house.settings["resume_s"] = 5.0
    await house.start()
    channel = await begun(house)
    await house.crash_pool()
    (path,) = (house.state / "resume").iterdir()
    with path.open("r+b") as file:
        # The first slot is the session's.
        at = SLOTS_AT + SLOT + SESSION.size - 8
        os.pwrite(file.fileno(), (int(time.time()) - 7).to_bytes(8, "little"), at)
    await house.start_pool()
    assert (await go_on(channel, house)).prefix != channel.prefix
    assert resumptions(house, "expired") == 1


async def test_whose_pool_was_killed_is_late_by_when_it_was_last_alive(house: House) -> None:
    house.settings["resume_s"] = 5.0
    await house.start()
    channel = await begun(house)
    await house.crash_pool()
    (path,) = (house.state / "resume").iterdir()
    with path.open("r+b") as file:
        at = SLOTS_AT + SLOT + SESSION.size - 8
        os.pwrite(file.fileno(), bytes(8), at)
        os.pwrite(file.fileno(), (int(time.time()) - 7).to_bytes(8, "little"), BEAT_AT)
    await house.start_pool()
    assert (await go_on(channel, house)).prefix != channel.prefix
    assert resumptions(house, "expired") == 1


@pytest.mark.parametrize("setting", ["resume_s", "limits"])
async def test_where_nothing_is_recorded_no_tokens_are_given(house: House, setting: str) -> None:
    house.settings[setting] = 0 if setting == "resume_s" else {"resume_records": 0}
    await house.start()
    channel = await begun(house)
    assert channel.miner.token is None
    again = await house.miner(extensions=True)
    await again.open(key=KEY, token=bytes(32))
    assert resumptions(house, "unknown") == 1


async def test_beyond_the_limit_channels_have_no_tokens_until_others_are_closed(house: House) -> None:
    house.settings["limits"] = {"resume_records": 2}
    await house.start()
    channel = await begun(house)
    assert channel.miner.token
    miner = await house.miner(extensions=True)
    await miner.open(key=KEY)
    assert miner.token is None
    channel.miner.say(CloseChannel(channel.id, "enough"))
    other = await channel.miner.open(key=KEY)
    assert other.miner.token
    assert house.metric("hashpool_pool_resume_records") == 2


async def test_a_channel_that_its_miner_has_closed_is_not_resumed(house: House) -> None:
    await house.start()
    channel = await begun(house)
    token = channel.miner.token
    channel.miner.say(CloseChannel(channel.id, "enough"))
    miner = await house.miner(extensions=True)
    assert (await miner.open(key=KEY, token=token)).prefix != channel.prefix


async def test_another_kind_of_channel_or_a_harder_wish_is_opened_anew(house: House) -> None:
    await house.start()
    for wish in ({"standard": True}, {"max_target": from_work(1 << 10)}):
        channel = await begun(house)
        again = await go_on(channel, house, **wish)
        assert again.prefix[:4] != channel.prefix
    assert resumptions(house, "unfit") == 2


async def test_who_is_refused_a_channel_has_not_resumed_it(house: House) -> None:
    house.settings["limits"] = {"channels_per_connection": 1}
    await house.start()
    channel = await begun(house)
    miner = await house.miner(extensions=True)
    await miner.open(key=KEY)
    with pytest.raises(AssertionError, match="capacity"):
        await miner.open(key=KEY, token=channel.miner.token)


async def test_each_share_is_judged_by_the_target_that_its_work_had(house: House) -> None:
    await house.start()
    channel = await begun(house, rate=256.0)
    miner = channel.miner
    easy = channel.mine(low=from_work(1 << 9))
    for harder in (8, 64):
        miner.say(UpdateChannel(channel.id, 256.0 * harder, ANY_TARGET))
        await miner.hear(SetTarget)
        await channel.work()
    hard = channel.active.job_id
    assert work(channel.targets[hard]) == 64 * work(channel.targets[1])
    await house.crash_pool()
    await house.start_pool()
    again = await go_on(channel, house)
    assert again.success.target == channel.targets[hard]
    assert await accepted(again, easy) == 1
    too_easy = again.mine(job=again.jobs[hard], target=from_work(1 << 7), low=from_work(1 << 9))
    assert await refused(again, too_easy) == "difficulty-too-low"
    assert await accepted(again, again.mine(job=again.jobs[hard])) == 1
    rows = house.mint.book.rows
    await soon(lambda: len(rows) == 2)
    assert [rows[seq].amount for seq in (1, 2)] == [16, 1024]


async def test_a_channel_that_was_given_a_target_anew_differs_in_its_work(house: House) -> None:
    """The same work under two targets would have two prices."""
    await house.start()
    channel = await begun(house)
    again = await go_on(channel, house)
    again.miner.say(UpdateChannel(again.id, 64.0 * 64, ANY_TARGET))
    await again.miner.hear(SetTarget)
    job = await again.work()
    assert isinstance(job, NewExtendedMiningJob)
    known = {each.coinbase_tx_prefix for each in again.jobs.values() if each is not job}
    assert job.coinbase_tx_prefix not in known


async def test_a_store_that_cannot_be_written_ends_resuming_and_nothing_else(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.start()
    channel = await begun(house)
    monkeypatch.setattr(resume_store.ResumeFile, "put", lambda *_: False)
    house.provider.fees()
    await channel.work()
    assert await accepted(channel, channel.mine()) == 1
    assert list((house.state / "resume").iterdir()) == []
    miner = await house.miner(extensions=True)
    await miner.open(key=KEY, token=channel.miner.token)
    assert resumptions(house, "unknown") == 1
    assert miner.token is None


@pytest.mark.parametrize("damage", ["head", "slots", "gone"])
async def test_a_damaged_file_of_a_former_life_is_no_more_than_a_lost_one(house: House, damage: str) -> None:
    await house.start()
    channel = await begun(house)
    await house.crash_pool()
    for path in (house.state / "resume").iterdir():
        spoil(path, damage)
    await house.start_pool()
    again = await go_on(channel, house)
    assert again.prefix != channel.prefix
    assert await accepted(again, again.mine()) == 1
    assert resumptions(house, "unknown") == 1


def spoil(path: Path, damage: str) -> None:
    if damage == "gone":
        path.unlink()
        return
    with path.open("r+b") as file:
        os.pwrite(file.fileno(), bytes(8), 0) if damage == "head" else os.truncate(file.fileno(), SLOTS_AT)


async def test_other_coinbases_than_before_are_not_gone_on_with(house: House) -> None:
    await house.start()
    channel = await begun(house)
    await house.crash_pool()
    house.settings["coinbase_tag"] = "renamed"
    await house.start_pool()
    assert (await go_on(channel, house)).prefix != channel.prefix


async def test_files_of_former_lives_are_deleted_in_time(house: House) -> None:
    await house.start()
    await house.stop_pool()
    (old,) = (house.state / "resume").iterdir()
    os.utime(old, (1, 1))
    await house.start_pool()
    await soon(lambda: not old.exists())
    assert len(list((house.state / "resume").iterdir())) == 1


async def test_a_miner_that_goes_on_with_a_tip_keeps_its_least_time(house: House) -> None:
    """Some firmware takes that of the tip for all jobs on it."""
    await house.start()
    channel = await begun(house)
    assert channel.tip is not None
    await house.crash_pool()
    house.provider.now += 60
    await house.start_pool()
    again = await go_on(channel, house)
    assert again.tip is not None
    assert again.tip.min_ntime == channel.tip.min_ntime
    assert await accepted(again, again.mine()) == 1
