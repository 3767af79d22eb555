"""The channels of a connection as a group, one by one, or without work."""

import asyncio
from typing import Any

import pytest

from protocols.bitcoin.target import from_work, work
from protocols.sv2.codec import encode
from protocols.sv2.mining import (
    CloseChannel,
    NewExtendedMiningJob,
    NewMiningJob,
    OpenExtendedMiningChannel,
    OpenExtendedMiningChannelSuccess,
    OpenMiningChannelError,
    SetCustomMiningJob,
    SetCustomMiningJobError,
    SetNewPrevHash,
    SetTarget,
    SubmitSharesError,
    SubmitSharesSuccess,
    UpdateChannel,
    UpdateChannelError,
)
from protocols.sv2.setup import REQUIRES_STANDARD_JOBS, REQUIRES_WORK_SELECTION
from tests.roles.pool.house import House, Miner
from tests.roles.pool.neighbours import ANY_TARGET, soon

GROUP = 1
WORK = (NewMiningJob, NewExtendedMiningJob, SetNewPrevHash)


async def heard(miner: Miner, count: int) -> list[Any]:
    """The next messages, as many as are said to come, and no more after them."""
    messages = [await miner.receive() for _ in range(count)]
    await miner.hears_nothing(object, within=0.05)
    return messages


async def accepted(channel: Any, job: Any = None) -> bool:
    """Whether a share is accepted."""
    channel.submit(channel.mine(job=job))
    return isinstance(await channel.miner.hear(SubmitSharesSuccess, SubmitSharesError), SubmitSharesSuccess)


async def test_a_group_gets_later_work_once(house: House) -> None:
    await house.start()
    miner = await house.miner()
    channels = [await miner.open(standard=number % 2 == 1) for number in range(6)]
    assert [channel.id for channel in channels] == [2, 3, 4, 5, 6, 7]
    assert {channel.success.group_channel_id for channel in channels} == {GROUP}
    assert [list(channel.jobs) for channel in channels] == [[number] for number in range(1, 7)]
    house.provider.fees(value=5_000_001_000)
    [job] = await heard(miner, 1)
    assert isinstance(job, NewExtendedMiningJob)
    assert (job.channel_id, job.job_id, job.min_ntime) == (GROUP, 7, 1_700_000_000)
    for channel in channels:
        assert await accepted(channel)
        assert await accepted(channel, next(iter(channel.jobs.values())))
    old = [channel.mine() for channel in channels]
    house.provider.new_tip(bytes((2,)) * 32)
    job, tip = await heard(miner, 2)
    assert (type(job), job.channel_id, job.job_id, job.min_ntime) == (NewExtendedMiningJob, GROUP, 8, None)
    assert (type(tip), tip.channel_id, tip.job_id) == (SetNewPrevHash, GROUP, 8)
    for channel, share in zip(channels, old, strict=True):
        assert await accepted(channel)
        channel.submit(share)
        assert (await miner.hear(SubmitSharesError)).error_code == "stale-share"


async def test_a_channel_that_opens_later_belongs_to_the_group(house: House) -> None:
    await house.start()
    miner = await house.miner()
    await miner.open()
    house.provider.new_tip(bytes((2,)) * 32)
    await heard(miner, 2)
    late = await miner.open()
    assert late.tip is not None
    assert (late.tip.channel_id, late.tip.prev_hash) == (late.id, bytes((2,)) * 32)
    house.provider.fees(value=5_000_001_000)
    await heard(miner, 1)
    assert await accepted(late)


async def test_a_new_target_comes_with_work_of_its_own_and_the_group_is_left_alone(house: House) -> None:
    await house.start()
    miner = await house.miner()
    changed, other = [await miner.open() for _ in range(2)]
    first = changed.active
    miner.say(UpdateChannel(changed.id, 0.0, from_work(1000)))
    target, job = await heard(miner, 2)
    assert (type(target), target.channel_id) == (SetTarget, changed.id)
    assert (type(job), job.channel_id, job.min_ntime) == (NewExtendedMiningJob, changed.id, 1_700_000_000)
    assert job.coinbase_tx_prefix != first.coinbase_tx_prefix
    house.provider.fees(value=5_000_001_000)
    [shared] = await heard(miner, 1)
    assert shared.channel_id == GROUP
    assert work(changed.target) == 1004
    assert work(other.target) == 64
    assert await accepted(changed)
    assert await accepted(changed, first)
    assert await accepted(other)
    # By the same job each is judged by its own target.
    weak = changed.mine(low=changed.target + 1, target=other.target)
    changed.submit(weak)
    assert (await miner.hear(SubmitSharesError)).error_code == "difficulty-too-low"
    other.submit(other.mine(low=changed.target + 1))
    assert await miner.hear(SubmitSharesSuccess)


async def test_blocks_that_get_harder_bring_their_target_before_the_tip(house: House) -> None:
    """A share is never asked to be harder than a block, so that the target follows."""
    house.block_hashes = 1
    await house.start()
    miner = await house.miner()
    channel, _ = [await miner.open(rate=1e9) for _ in range(2)]
    easy = channel.target
    house.provider.new_tip(bytes((2,)) * 32, target=0x7FFFFF << 8 * 28)
    messages = await heard(miner, 4)
    assert [type(each) for each in messages] == [SetTarget, SetTarget, NewExtendedMiningJob, SetNewPrevHash]
    assert [each.channel_id for each in messages] == [2, 3, GROUP, GROUP]
    assert channel.target < easy


async def test_standard_jobs_go_to_each_channel_and_nothing_to_the_group(house: House) -> None:
    await house.start()
    miner = await house.miner(flags=REQUIRES_STANDARD_JOBS)
    channels = [await miner.open(standard=True) for _ in range(4)]
    ids = [channel.id for channel in channels]
    assert {channel.success.group_channel_id for channel in channels} == {GROUP}
    house.provider.fees(value=5_000_001_000)
    jobs = await heard(miner, 4)
    assert [(type(job), job.channel_id) for job in jobs] == [(NewMiningJob, each) for each in ids]
    assert len({job.job_id for job in jobs}) == len({job.merkle_root for job in jobs}) == 4
    house.provider.new_tip(bytes((2,)) * 32)
    messages = await heard(miner, 8)
    assert [(type(each), each.channel_id) for each in messages] == [
        *((NewMiningJob, each) for each in ids),
        *((SetNewPrevHash, each) for each in ids),
    ]
    for channel in channels:
        assert await accepted(channel)
    miner.say(OpenExtendedMiningChannel(5, "miner", 0.0, ANY_TARGET, 8))
    code = "extended-channels-not-supported-for-standard-jobs"
    assert await miner.hear(OpenMiningChannelError) == OpenMiningChannelError(5, code)
    miner.say(UpdateChannel(3, 0.0, from_work(1000)))
    target, job = await heard(miner, 2)
    assert [(type(each), each.channel_id) for each in (target, job)] == [(SetTarget, 3), (NewMiningJob, 3)]
    assert await accepted(channels[1])


async def test_many_standard_jobs_are_sent_in_turns_with_others(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roles.pool.session.SLICE", 2)
    await house.start()
    miner = await house.miner(flags=REQUIRES_STANDARD_JOBS)
    channels = [await miner.open(standard=True) for _ in range(5)]
    house.provider.new_tip(bytes((2,)) * 32)
    messages = await heard(miner, 10)
    assert [each.channel_id for each in messages] == [2, 3, 2, 3, 4, 5, 4, 5, 6, 6]
    for channel in channels:
        assert await accepted(channel)


async def test_a_channel_that_waits_for_its_job_gets_it_before_its_new_target(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.start()
    miner = await house.miner(flags=REQUIRES_STANDARD_JOBS)
    changed, closed, other = [await miner.open(standard=True) for _ in range(3)]
    # As if the announcement had not come to this connection yet.
    monkeypatch.setattr("roles.pool.session.Session.refresh", lambda _: iter(()))
    house.provider.new_tip(bytes((2,)) * 32)
    await soon(lambda: house.metric("hashpool_pool_templates_total", cause="tip") == 2)
    miner.say(CloseChannel(closed.id, ""), UpdateChannel(changed.id, 0.0, from_work(1000)))
    messages = await heard(miner, 4)
    assert [type(each) for each in messages] == [NewMiningJob, SetNewPrevHash, SetTarget, NewMiningJob]
    assert {each.channel_id for each in messages} == {changed.id}
    assert await accepted(changed)
    assert other.tip is not None
    assert other.tip.prev_hash != bytes((2,)) * 32


async def test_who_selects_work_is_sent_none(house: House) -> None:
    await house.start()
    miner = await house.miner(flags=REQUIRES_WORK_SELECTION)
    miner.link.send(encode(OpenExtendedMiningChannel(9, "miner", 0.0, ANY_TARGET, 8)))
    success = await miner.receive()
    assert isinstance(success, OpenExtendedMiningChannelSuccess)
    assert (success.channel_id, success.group_channel_id, success.extranonce_size) == (2, GROUP, 16)
    house.provider.fees(value=5_000_001_000)
    house.provider.new_tip(bytes((2,)) * 32)
    other = await house.miner()
    await other.open()
    miner.say(
        UpdateChannel(2, 0.0, from_work(1000)),
        SetCustomMiningJob(2, 77, b"token", 0, bytes(32), 0, 0, 2, b"", 0, b"\0", 0, ()),
    )
    target, refusal = await heard(miner, 2)
    assert (type(target), work(target.maximum_target)) == (SetTarget, 1004)
    assert refusal == SetCustomMiningJobError(2, 77, "jd-not-supported")


async def test_the_targets_of_who_selects_work_do_not_follow_its_silence(house: House) -> None:
    await house.start()
    miner = await house.miner(flags=REQUIRES_WORK_SELECTION)
    miner.link.send(encode(OpenExtendedMiningChannel(9, "miner", 1e9, ANY_TARGET, 8)))
    await miner.receive()
    await miner.hears_nothing(object, within=1.2)


async def test_an_update_of_no_channel_is_an_error_and_nothing_else(house: House) -> None:
    await house.start()
    miner = await house.miner()
    channel = await miner.open()
    for channel_id in (GROUP, 9):
        miner.say(UpdateChannel(channel_id, 0.0, ANY_TARGET))
        assert await heard(miner, 1) == [UpdateChannelError(channel_id, "invalid-channel-id")]
    miner.say(UpdateChannel(channel.id, 0.0, 0))
    assert await heard(miner, 1) == [UpdateChannelError(channel.id, "max-target-out-of-range")]
    assert await accepted(channel)


@pytest.mark.parametrize("flags", [0, REQUIRES_STANDARD_JOBS])
async def test_closing_the_group_closes_all_and_closing_what_is_unknown_does_nothing(
    house: House, flags: int
) -> None:
    await house.start()
    miner = await house.miner(flags=flags)
    channels = [await miner.open(standard=True) for _ in range(3)]
    miner.say(CloseChannel(99, ""), CloseChannel(channels[0].id, "enough"), CloseChannel(channels[0].id, ""))
    await soon(lambda: house.metric("hashpool_pool_messages_ignored_total") == 2)
    assert house.metric("hashpool_pool_channels", kind="standard") == 2
    assert await accepted(channels[1])
    miner.say(CloseChannel(GROUP, "enough"))
    await soon(lambda: house.metric("hashpool_pool_channels", kind="standard") == 0)
    house.provider.new_tip(bytes((3,)) * 32)
    await miner.hears_nothing(*WORK)
    # Ids are not used again, and work of before the tip is not good on the new one.
    again = await miner.open(standard=True)
    assert again.id == 5
    house.provider.fees(value=5_000_001_000)
    await again.work()
    assert await accepted(again)


async def test_work_that_went_to_an_earlier_group_of_the_connection_is_stale(house: House) -> None:
    await house.start()
    miner = await house.miner()
    first = await miner.open()
    house.provider.fees(value=5_000_001_000)
    [job] = await heard(miner, 1)
    miner.say(CloseChannel(first.id, ""))
    await soon(lambda: house.metric("hashpool_pool_channels", kind="extended") == 0)
    house.provider.new_tip(bytes((2,)) * 32)
    await asyncio.sleep(0)
    await soon(lambda: house.metric("hashpool_pool_templates_total", cause="tip") == 2)
    channel = await miner.open()
    share = channel.mine()
    channel.submit(type(share)(**{**_fields(share), "job_id": job.job_id}))
    assert (await miner.hear(SubmitSharesError)).error_code == "stale-share"


def _fields(share: Any) -> dict[str, Any]:
    return {name: getattr(share, name) for name in share.__slots__}
