"""One upstream channel for all miners."""

import pytest

from protocols.bitcoin.target import from_work
from protocols.ehash.key_text import encode_key
from protocols.ehash.messages import EXTENSION, TLV_SHARE_KEY, QuoteNotice
from protocols.sv2.mining import (
    CloseChannel,
    NewExtendedMiningJob,
    NewMiningJob,
    OpenExtendedMiningChannel,
    OpenExtendedMiningChannelSuccess,
    OpenMiningChannelError,
    OpenStandardMiningChannel,
    OpenStandardMiningChannelSuccess,
    SetNewPrevHash,
    SetTarget,
    SubmitSharesError,
    SubmitSharesSuccess,
    UpdateChannel,
    UpdateChannelError,
)
from protocols.sv2.setup import REQUIRES_STANDARD_JOBS
from protocols.sv2.tlv import Tlv
from shared_config.proxy import AggregateSettings
from tests.roles.proxy.conftest import House, Start, until
from tests.roles.proxy.scripted_miner import ALL_FF, ScriptedMiner
from tests.roles.proxy.scripted_pool import EASY, ScriptedPool
from tests.roles.proxy.test_channels import FOREIGN, keys_of

SLOW = AggregateSettings(floor_hashes=4, shares_per_minute=0.1)
"""Leaves every miner where it starts."""
CREDIT = from_work(64)


@pytest.fixture
async def house(start: Start) -> House:
    return await start(mode="aggregated", aggregate=SLOW)


async def mined(miner: ScriptedMiner) -> None:
    """Get work, and have a share of it accepted."""
    job, tip = await miner.first_work()
    miner.send(miner.mine(job, tip))
    await miner.expect(SubmitSharesSuccess)


async def test_all_miners_share_one_channel_and_each_share_names_its_workers_key(
    house: House, pool: ScriptedPool
) -> None:
    alice, bob = await house.miner(), await house.miner(flags=REQUIRES_STANDARD_JOBS)
    await alice.open_extended("alice")
    await mined(alice)
    await bob.open_standard("bob")
    await mined(bob)
    keys = keys_of(house)
    assert pool.share_keys == [keys["alice"], keys["bob"]]
    assert pool.channel.key == keys["miner"]
    assert pool.channel.request.user_identity == "miner"
    assert pool.opens == 1
    slices = [verdict.extranonce[4:8] for verdict in pool.channel.accepted]
    assert slices[0] == alice.prefix
    assert slices[0] != slices[1]
    assert all(verdict.extranonce.startswith(pool.channel.prefix) for verdict in pool.channel.accepted)
    assert house.metric("proxy_shares_total", result="accepted") == 2


async def test_new_work_goes_to_a_line_once_however_many_channels_it_has(
    house: House, pool: ScriptedPool
) -> None:
    miner = await house.miner()
    channels = []
    for name in ("alice", "bob", "carol"):
        channels.append(await miner.open_extended(name))
        await miner.first_work()
    group = channels[0].group_channel_id
    assert {each.group_channel_id for each in channels} == {group}
    pool.follow(pool.channel)
    assert (await miner.expect(NewExtendedMiningJob)).channel_id == group
    pool.next_tip(pool.channel)
    job, tip = await miner.first_work()
    assert isinstance(job, NewExtendedMiningJob)
    assert (job.channel_id, tip.channel_id) == (group, group)
    for each in channels:
        miner.channel_id, miner.prefix = each.channel_id, each.extranonce_prefix
        miner.send(miner.mine(job, tip))
        assert (await miner.expect(SubmitSharesSuccess)).channel_id == each.channel_id
    assert house.metric("proxy_fanout_seconds_count") >= 2


async def test_a_channel_that_is_alone_on_its_line_is_addressed_itself(
    house: House, pool: ScriptedPool
) -> None:
    miner = await house.miner()
    await miner.open_extended()
    await miner.first_work()
    pool.next_tip(pool.channel)
    job, tip = await miner.first_work()
    assert isinstance(job, NewExtendedMiningJob)
    assert job.channel_id == tip.channel_id == miner.channel_id


async def test_standard_channels_get_roots_of_their_own_beside_a_group(
    house: House, pool: ScriptedPool
) -> None:
    miner = await house.miner()
    opened = [await miner.open_extended("alice")]
    await miner.first_work()
    miner.send(OpenStandardMiningChannel(2, "bob", 1e12, ALL_FF))
    standard = await miner.expect(OpenStandardMiningChannelSuccess)
    assert standard.group_channel_id != opened[0].group_channel_id
    await miner.first_work()
    pool.next_tip(pool.channel)
    messages = [await miner.hear() for _ in range(4)]
    own = next(each for each in messages if isinstance(each, NewMiningJob))
    assert own.channel_id == standard.channel_id
    tips = [each for each in messages if isinstance(each, SetNewPrevHash)]
    assert {each.channel_id for each in tips} == {miner.channel_id, standard.channel_id}
    miner.channel_id = standard.channel_id
    miner.send(miner.mine(own, tips[0]))
    await miner.expect(SubmitSharesSuccess)


async def test_one_answer_of_the_pool_settles_the_shares_of_several_miners_each_in_its_own_numbers(
    house: House, pool: ScriptedPool
) -> None:
    miners = [await house.miner() for _ in range(3)]
    work = []
    for number, miner in enumerate(miners):
        await miner.open_extended(f"rig{number}")
        work.append(await miner.first_work())
    pool.patient = True
    for extranonce in range(2):
        for miner, (job, tip) in zip(miners, work, strict=True):
            miner.send(miner.mine(job, tip, extranonce=extranonce))
            await until(lambda: len(pool.channel.heard) == sum(each.sequence for each in miners))
    assert [share.sequence_number for share in pool.channel.heard] == [1, 2, 3, 4, 5, 6]
    pool.send(SubmitSharesError(pool.channel.channel_id, 5, "stale-share"))
    pool.answer(pool.channel, 5)
    for miner in (miners[0], miners[2]):
        answer = await miner.expect(SubmitSharesSuccess)
        assert (answer.channel_id, answer.last_sequence_number) == (miner.channel_id, 2)
        assert answer.new_submits_accepted_count == 2
    error = await miners[1].expect(SubmitSharesError)
    assert (error.sequence_number, error.error_code) == (2, "stale-share")
    answer = await miners[1].expect(SubmitSharesSuccess)
    assert (answer.last_sequence_number, answer.new_submits_accepted_count) == (1, 1)


async def test_a_share_that_misses_the_pools_target_is_answered_here_after_those_before_it(
    house: House, pool: ScriptedPool
) -> None:
    pool.target = CREDIT
    miner = await house.miner()
    await miner.open_extended(rate=0.0)
    assert miner.target > CREDIT
    job, tip = await miner.first_work()
    easy = miner.target
    pool.patient = True
    miner.send(miner.mine(job, tip, above=CREDIT))
    assert (await miner.expect(SubmitSharesSuccess)).last_sequence_number == 1
    miner.send(miner.mine(job, tip, target=CREDIT))
    miner.send(miner.mine(job, tip, extranonce=1, target=easy, above=CREDIT))
    miner.send(miner.mine(job, tip, target=easy * 3, above=easy))
    assert (await miner.expect(SubmitSharesError)).error_code == "difficulty-too-low"
    assert len(pool.channel.heard) == 1
    pool.answer(pool.channel, 1)
    answer = await miner.expect(SubmitSharesSuccess)
    assert (answer.last_sequence_number, answer.new_submits_accepted_count) == (3, 2)
    assert house.metric("proxy_shares_total", result="local") == 2
    assert house.metric("proxy_shares_total", result="accepted") == 1
    assert house.metric("upstreams_shares_total", upstream=str(pool.address), result="accepted") == 1


async def test_repetitions_are_found_here_also_of_what_the_pool_never_saw(
    house: House, pool: ScriptedPool
) -> None:
    pool.target = CREDIT
    miner = await house.miner()
    await miner.open_extended(rate=0.0)
    job, tip = await miner.first_work()
    for share in (miner.mine(job, tip, above=CREDIT), miner.mine(job, tip, target=CREDIT)):
        miner.send(share)
        await miner.expect(SubmitSharesSuccess)
        miner.send(share)
        assert (await miner.expect(SubmitSharesError)).error_code == "duplicate-share"
    assert len(pool.channel.heard) == 1


async def test_no_miner_is_asked_for_more_than_the_pool_credits_and_a_target_comes_with_work(
    house: House, pool: ScriptedPool
) -> None:
    pool.target = CREDIT
    miner = await house.miner()
    await miner.open_extended()
    assert miner.target == CREDIT
    job, tip = await miner.first_work()
    pool.retarget(pool.channel, EASY)
    pool.follow(pool.channel)
    assert await miner.expect_target() == EASY
    second = await miner.expect(NewExtendedMiningJob)
    miner.send(miner.mine(second, tip, above=CREDIT))
    await miner.expect(SubmitSharesSuccess)
    assert len(pool.channel.accepted) == 1
    miner.send(miner.mine(job, tip, extranonce=5, target=EASY, above=CREDIT))
    assert (await miner.expect(SubmitSharesError)).error_code == "difficulty-too-low"
    pool.retarget(pool.channel, CREDIT)
    pool.next_tip(pool.channel)
    assert await miner.expect_target() == CREDIT
    await miner.first_work()


async def test_shares_that_come_too_fast_bring_a_new_target_with_the_work_under_another_id(
    start: Start, pool: ScriptedPool
) -> None:
    pool.target = from_work(1 << 40)
    house = await start(
        mode="aggregated", aggregate=AggregateSettings(floor_hashes=4, shares_per_minute=60.0)
    )
    miner = await house.miner()
    await miner.open_extended(rate=1.0)
    easy = miner.target
    job, tip = await miner.first_work()
    for extranonce in range(16):
        miner.send(miner.mine(job, tip, extranonce=extranonce))
    while not isinstance(message := await miner.hear(), SetTarget):
        assert isinstance(message, SubmitSharesSuccess)
    assert message.maximum_target < easy
    again = await miner.expect(NewExtendedMiningJob)
    assert isinstance(job, NewExtendedMiningJob)
    assert again.job_id > job.job_id
    assert again.min_ntime is not None
    assert again.min_ntime > tip.min_ntime
    assert again.coinbase_tx_prefix == job.coinbase_tx_prefix
    hard = message.maximum_target
    late = miner.mine(job, tip, extranonce=99, target=easy, above=hard)
    early = miner.mine(again, tip, extranonce=100, target=easy, above=hard)
    miner.send(early)
    miner.send(late)
    while not isinstance(message := await miner.hear(), SubmitSharesError):
        assert isinstance(message, SubmitSharesSuccess)
    assert (message.sequence_number, message.error_code) == (early.sequence_number, "difficulty-too-low")
    accepted = sum(
        each.new_submits_accepted_count for each in miner.heard if isinstance(each, SubmitSharesSuccess)
    )
    if accepted < 17:
        await miner.expect(SubmitSharesSuccess)
    assert house.metric("proxy_shares_total", result="local") == 17
    assert pool.channel.heard == []


async def test_the_pool_is_told_of_the_total_as_miners_come_and_go_and_the_channel_ends_with_the_last(
    house: House, pool: ScriptedPool
) -> None:
    alice, bob = await house.miner(), await house.miner()
    await alice.open_extended("alice")
    assert pool.channel.request.nominal_hash_rate == pytest.approx(1e12)
    await bob.open_extended("bob")
    await until(lambda: bool(pool.updates))
    assert pool.updates[-1].nominal_hash_rate == pytest.approx(2e12)
    bob.send(UpdateChannel(bob.channel_id, 3e12, ALL_FF))
    await until(lambda: pool.updates[-1].nominal_hash_rate == pytest.approx(4e12))
    bob.connection.close()
    await until(lambda: pool.updates[-1].nominal_hash_rate == pytest.approx(1e12))
    channel_id = pool.channel.channel_id
    alice.send(CloseChannel(alice.channel_id, "enough"))
    await until(lambda: pool.closed == [channel_id])
    assert house.metric("proxy_channels", kind="extended") == 0
    await alice.first_work()
    await alice.open_extended("alice")
    assert pool.opens == 2


async def test_miners_stay_when_the_pool_goes_and_get_work_that_differs(
    house: House, pool: ScriptedPool
) -> None:
    miners = [await house.miner() for _ in range(2)]
    for number, miner in enumerate(miners):
        await miner.open_extended(f"rig{number}")
        await mined(miner)
    job, tip = await pool_work(miners[0], pool)
    pool.patient = True
    share, orphan = (miners[0].mine(job, tip, extranonce=number) for number in (3, 4))
    miners[0].send(share)
    await until(lambda: len(pool.channel.heard) == 3)
    before = pool.channel.prefix
    await pool.stop()
    lost = await miners[0].expect(SubmitSharesError)
    assert (lost.sequence_number, lost.error_code) == (share.sequence_number, "no-verdict")
    for _ in range(2):
        miners[0].send(orphan)
        assert (await miners[0].expect(SubmitSharesError)).error_code == "no-verdict"
    pool.patient = False
    await pool.start()
    await miners[1].first_work()
    for miner in miners:
        work, _ = await miner.first_work()
        assert isinstance(work, NewExtendedMiningJob)
        assert work.coinbase_tx_prefix.endswith(pool.channel.prefix)
    assert pool.channel.prefix != before
    assert len(pool.channels) == 1


async def pool_work(
    miner: ScriptedMiner, pool: ScriptedPool
) -> tuple[NewExtendedMiningJob | NewMiningJob, SetNewPrevHash]:
    """New work of the pool, on a new tip."""
    pool.next_tip(pool.channel)
    job, tip = await miner.first_work()
    assert isinstance(job, NewExtendedMiningJob | NewMiningJob)
    return job, tip


@pytest.mark.parametrize("size", [16, 20, 24])
async def test_what_an_upstream_grants_more_are_zeros_behind_what_miners_roll(
    house: House, pool: ScriptedPool, size: int
) -> None:
    old = await house.miner()
    await old.open_extended("old")
    await old.first_work()
    await pool.stop()
    pool.size = size
    await pool.start()
    await mined(old)
    new = await house.miner()
    await new.open_extended("new")
    assert (old.size, new.size) == (12, size - 4)
    await mined(new)
    first, second = (verdict.extranonce[4:] for verdict in pool.channel.accepted)
    assert first == old.prefix + bytes(size - 4)
    assert second == new.prefix + bytes(size - 4)


async def test_channels_of_two_sizes_on_one_line_are_two_groups(house: House, pool: ScriptedPool) -> None:
    miner = await house.miner()
    opened = [await miner.open_extended("a"), await one_more(miner)]
    await pool.stop()
    pool.size = 20
    await pool.start()
    await miner.first_work()
    opened += [await one_more(miner), await one_more(miner)]
    assert [each.extranonce_size for each in opened] == [12, 12, 16, 16]
    groups = [each.group_channel_id for each in opened]
    assert groups[0] == groups[1] != groups[2] == groups[3]
    pool.follow(pool.channel)
    jobs = [await miner.expect(NewExtendedMiningJob) for _ in range(2)]
    assert [job.channel_id for job in jobs] == [groups[0], groups[2]]
    assert len(jobs[0].coinbase_tx_suffix) == len(jobs[1].coinbase_tx_suffix) + 4
    miner.send(CloseChannel(groups[0], "enough"))
    await until(lambda: house.metric("proxy_channels", kind="extended") == 2)
    miner.send(CloseChannel(groups[2], "enough"))
    await until(lambda: len(pool.closed) == 1)


async def one_more(miner: ScriptedMiner) -> OpenExtendedMiningChannelSuccess:
    """Another channel of the same line, with its first work."""
    while not isinstance(miner.heard[-1], SetNewPrevHash):
        await miner.hear()
    opened = await miner.open_extended("more")
    await miner.first_work()
    return opened


async def test_an_upstream_with_too_little_extranonce_for_who_is_here_releases_miners(
    house: House, pool: ScriptedPool
) -> None:
    miner = await house.miner()
    await miner.open_extended()
    await miner.first_work()
    await pool.stop()
    pool.size = 12
    await pool.start()
    assert await miner.hear_the_end() == [CloseChannel(miner.channel_id, "extranonce-too-small")]


@pytest.mark.parametrize("size", [2, 7])
async def test_what_does_not_fit_is_refused_when_it_is_opened(
    house: House, pool: ScriptedPool, size: int
) -> None:
    pool.size = size
    miner = await house.miner()
    miner.send(OpenExtendedMiningChannel(3, "alice", 1e12, ALL_FF, 4))
    assert await miner.hear() == OpenMiningChannelError(3, "min-extranonce-size-too-large")


async def test_a_miner_that_wants_harder_shares_than_the_pool_credits_is_refused(
    house: House, pool: ScriptedPool
) -> None:
    pool.target = CREDIT
    miner = await house.miner()
    harder = from_work(1 << 20)
    miner.send(OpenExtendedMiningChannel(3, "alice", 1e12, harder, 4))
    assert await miner.hear() == OpenMiningChannelError(3, "max-target-out-of-range")
    await miner.open_extended(max_target=CREDIT)
    await miner.first_work()
    miner.send(UpdateChannel(miner.channel_id, 1e12, harder))
    assert await miner.hear() == UpdateChannelError(miner.channel_id, "max-target-out-of-range")


async def test_the_easiest_target_that_suits_all_is_asked_for_while_shares_still_come(
    house: House, pool: ScriptedPool
) -> None:
    pool.target = CREDIT // 2
    miner = await house.miner()
    await miner.open_extended(max_target=CREDIT)
    assert pool.channel.request.max_target == CREDIT
    other = await house.miner()
    await other.open_extended("greedy", max_target=CREDIT // 2, rate=1e6)
    await until(lambda: bool(pool.updates))
    assert pool.updates[-1].maximum_target == CREDIT // 2


async def test_an_update_that_asks_for_less_comes_with_a_new_target(house: House, pool: ScriptedPool) -> None:
    pool.target = CREDIT
    miner = await house.miner()
    await miner.open_extended()
    await miner.first_work()
    miner.send(UpdateChannel(miner.channel_id, 1e-3, ALL_FF))
    assert await miner.expect_target() > CREDIT
    assert (await miner.expect(NewExtendedMiningJob)).min_ntime is not None


async def test_the_pools_refusal_of_the_channel_is_every_waiting_miners(
    house: House, pool: ScriptedPool
) -> None:
    pool.refuse_opens = "no-room"
    miner = await house.miner()
    miner.send(OpenExtendedMiningChannel(3, "alice", 1e12, ALL_FF, 4))
    assert await miner.hear() == OpenMiningChannelError(3, "no-room")
    pool.refuse_opens = ""
    await miner.open_extended()


async def test_when_the_pool_comes_to_turn_the_proxy_away_its_miners_are_released(
    start: Start, pool: ScriptedPool
) -> None:
    house = await start(mode="aggregated", aggregate=SLOW, hold_s=None)
    miner = await house.miner()
    await miner.open_extended()
    await miner.first_work()
    pool.refuse_opens = "banned-by-operator"
    closed = pool.channel.channel_id
    pool.channels.clear()
    pool.send(CloseChannel(closed, "banned-by-operator"))
    assert await miner.hear_the_end() == [CloseChannel(miner.channel_id, "upstream-lost")]


async def test_a_pool_that_gives_fewer_bytes_than_asked_for_first_is_asked_for_what_is_needed(
    house: House, pool: ScriptedPool
) -> None:
    pool.most = 12
    pool.size = 12
    miner = await house.miner()
    opened = await miner.open_extended(least=8)
    assert opened.extranonce_size == 8
    assert pool.channel.request.min_extranonce_size == 12
    await mined(miner)


async def test_a_stock_pool_is_mined_at_without_keys(start: Start, pool: ScriptedPool) -> None:
    pool.extensions = ()
    house = await start(mode="aggregated", aggregate=SLOW)
    miner = await house.miner(extensions=(EXTENSION,))
    await miner.open_extended("alice")
    await mined(miner)
    assert (pool.channel.key, pool.share_keys) == (None, [])
    assert pool.channel.request.user_identity == "miner"
    assert house.metric("proxy_without_tokens") == 1
    job, tip = await pool_work(miner, pool)
    miner.send(miner.mine(job, tip), (Tlv(EXTENSION, TLV_SHARE_KEY, FOREIGN),))
    assert (await miner.expect(SubmitSharesError)).error_code == "invalid-user-identity"


async def test_notices_go_to_whose_share_it_was(house: House, pool: ScriptedPool) -> None:
    alice, stranger = await house.miner(), await house.miner(extensions=(EXTENSION,))
    await alice.open_extended("alice")
    await mined(alice)
    await stranger.open_extended(encode_key(FOREIGN))
    await mined(stranger)
    assert pool.share_keys[1] == FOREIGN
    channel_id = pool.channel.channel_id
    hashes = [verdict.share_hash for verdict in pool.channel.accepted]
    for share_hash in (*hashes, b"\x07" * 32):
        pool.send(QuoteNotice(channel_id, share_hash, 5, "hash_x_0"))
    assert await stranger.hear() == QuoteNotice(stranger.channel_id, hashes[1], 5, "hash_x_0")
    await until(lambda: house.metric("proxy_notices_total", key="unknown") == 1)
    assert house.metric("proxy_notices_total", key="wallet") == 1
    assert house.metric("proxy_notices_total", key="foreign") == 1


async def test_a_key_that_comes_with_a_share_goes_up_with_it(house: House, pool: ScriptedPool) -> None:
    miner = await house.miner(extensions=(EXTENSION,))
    await miner.open_extended("alice")
    job, tip = await miner.first_work()
    key = Tlv(EXTENSION, TLV_SHARE_KEY, FOREIGN)
    miner.send(miner.mine(job, tip), (key,))
    await miner.expect(SubmitSharesSuccess)
    assert pool.share_keys == [FOREIGN]
    miner.send(miner.mine(job, tip, extranonce=1), (key, key))
    assert (await miner.expect(SubmitSharesError)).error_code == "invalid-user-identity"
    pool.send(QuoteNotice(pool.channel.channel_id, pool.channel.accepted[0].share_hash, 5, "hash_x_0"))
    assert isinstance(await miner.hear(), QuoteNotice)


async def test_after_the_hold_all_miners_are_released(start: Start, pool: ScriptedPool) -> None:
    house = await start(hold_s=0.2, mode="aggregated", aggregate=SLOW)
    miners = [await house.miner() for _ in range(3)]
    for number, miner in enumerate(miners):
        await miner.open_extended(f"rig{number}")
        await miner.first_work()
    await pool.stop()
    for miner in miners:
        assert await miner.hear_the_end() == [CloseChannel(miner.channel_id, "upstream-lost")]
    assert house.metric("proxy_channels_released_total") == 3


async def test_a_miner_that_comes_while_there_is_no_pool_waits_for_it(
    start: Start, pool: ScriptedPool
) -> None:
    await pool.stop()
    house = await start(connected=False, mode="aggregated", aggregate=SLOW)
    miner = await house.miner()
    miner.send(miner.request())
    await pool.start()
    opened = await miner.expect(OpenExtendedMiningChannelSuccess)
    miner.channel_id, miner.prefix, miner.size, miner.target = (
        opened.channel_id, opened.extranonce_prefix, opened.extranonce_size, opened.target,
    )  # fmt: skip
    await mined(miner)


async def test_work_that_makes_no_sense_is_passed_over(house: House, pool: ScriptedPool) -> None:
    pool.idle = True
    miner = await house.miner()
    await miner.open_extended()
    channel_id = pool.channel.channel_id
    half_witness = b"\2\0\0\0\0\1" + b"\0" * 40
    pool.send(
        NewExtendedMiningJob(channel_id, 6, 5, 2, True, (), b"\2\0\0\0\1" + b"\0" * 40, b"\0" * 4),
        NewExtendedMiningJob(channel_id, 7, None, 2, True, (), half_witness, b""),
        SetNewPrevHash(channel_id, 4242, b"\7" * 32, 0, 0x1D00FFFF),
    )
    pool.next_tip(pool.channel)
    await mined(miner)
