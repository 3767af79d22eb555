import asyncio

import pytest

from protocols.bitcoin.target import from_work
from protocols.sv2.layout import Message
from protocols.sv2.mining import (
    NewExtendedMiningJob,
    NewMiningJob,
    SetNewPrevHash,
    SubmitSharesError,
    SubmitSharesExtended,
    SubmitSharesStandard,
    SubmitSharesSuccess,
)
from protocols.sv2.setup import REQUIRES_STANDARD_JOBS
from tests.roles.proxy.conftest import House, until
from tests.roles.proxy.scripted_miner import ScriptedMiner
from tests.roles.proxy.scripted_pool import EASY, ScriptedPool

Work = tuple[ScriptedMiner, Message, SetNewPrevHash]


@pytest.fixture
async def extended(proxy: House) -> Work:
    miner = await proxy.miner()
    await miner.open_extended()
    return miner, *await miner.first_work()


async def test_an_extended_share_is_judged_by_the_pool_and_its_word_comes_back(
    proxy: House, pool: ScriptedPool, extended: Work
) -> None:
    miner, job, tip = extended
    miner.send(miner.mine(job, tip, extranonce=0xC0FFEE))
    answer = await miner.expect(SubmitSharesSuccess)
    assert (answer.channel_id, answer.last_sequence_number) == (miner.channel_id, 1)
    assert answer.new_submits_accepted_count == 1
    assert len(pool.channel.accepted) == 1
    assert proxy.metric("proxy_shares_total", result="accepted") == 1


async def test_the_extranonce_is_the_upstream_prefix_the_slice_and_what_the_miner_rolls(
    pool: ScriptedPool, extended: Work
) -> None:
    miner, job, tip = extended
    assert len(miner.prefix) == 4
    assert miner.size == 12
    assert isinstance(job, NewExtendedMiningJob)
    assert job.coinbase_tx_prefix.endswith(pool.channel.prefix)
    miner.send(miner.mine(job, tip, extranonce=7))
    await miner.expect(SubmitSharesSuccess)
    verdict = pool.channel.accepted[0]
    assert verdict.extranonce == pool.channel.prefix + miner.prefix + (7).to_bytes(12, "big")


async def test_two_channels_have_slices_of_their_own(proxy: House) -> None:
    first, second = await proxy.miner(), await proxy.miner()
    await first.open_extended("alice")
    await second.open_extended("bob")
    assert first.prefix != second.prefix


async def test_a_standard_miner_gets_a_merkle_root_and_its_share_counts(
    proxy: House, pool: ScriptedPool
) -> None:
    miner = await proxy.miner(flags=REQUIRES_STANDARD_JOBS)
    opened = await miner.open_standard()
    job, tip = await miner.first_work()
    assert isinstance(job, NewMiningJob)
    miner.send(miner.mine(job, tip))
    await miner.expect(SubmitSharesSuccess)
    verdict = pool.channel.accepted[0]
    assert verdict.extranonce == pool.channel.prefix + opened.extranonce_prefix + bytes(12)


async def test_the_channel_asks_upstream_for_what_the_miner_asked_for(
    pool: ScriptedPool, extended: Work
) -> None:
    request = pool.channel.request
    assert request.user_identity == "alice"
    assert request.nominal_hash_rate == pytest.approx(1e12)
    assert (request.max_target, request.min_extranonce_size) == ((1 << 256) - 1, 6)


async def test_a_new_tip_and_a_new_job_reach_the_miner(pool: ScriptedPool, extended: Work) -> None:
    miner, first, _ = extended
    pool.follow(pool.channel)
    second = await miner.expect(NewExtendedMiningJob)
    pool.next_tip(pool.channel)
    third, tip = await miner.first_work()
    assert isinstance(first, NewExtendedMiningJob)
    assert isinstance(third, NewExtendedMiningJob)
    assert second.min_ntime is not None
    assert tip.prev_hash == pool.previous
    assert len({first.job_id, second.job_id, third.job_id}) == 3
    miner.send(miner.mine(third, tip))
    await miner.expect(SubmitSharesSuccess)


async def test_shares_of_earlier_jobs_of_the_tip_count(pool: ScriptedPool, extended: Work) -> None:
    miner, job, tip = extended
    pool.follow(pool.channel)
    await miner.expect(NewExtendedMiningJob)
    miner.send(miner.mine(job, tip))
    await miner.expect(SubmitSharesSuccess)


async def test_worthless_shares_are_refused_here_and_never_reach_the_pool(
    proxy: House, pool: ScriptedPool, extended: Work
) -> None:
    miner, job, tip = extended
    assert isinstance(job, NewExtendedMiningJob)

    async def refused(share: SubmitSharesExtended | SubmitSharesStandard, **changes: object) -> str:
        fields = {name: getattr(share, name) for name in share.__dataclass_fields__}
        miner.send(type(share)(**{**fields, **changes}))
        answer = await miner.expect(SubmitSharesError)
        assert answer.sequence_number == changes.get("sequence_number", share.sequence_number)
        return answer.error_code

    good = miner.mine(job, tip)
    assert await refused(good, channel_id=99) == "invalid-channel-id"
    assert await refused(good, job_id=99) == "invalid-job-id"
    assert await refused(good, extranonce=b"\0" * 11) == "bad-extranonce-size"
    assert await refused(good, ntime=tip.min_ntime - 1) == "invalid-share"
    assert await refused(good, ntime=0xFFFFFFFF) == "invalid-share"
    assert await refused(good, version=job.version ^ 1) == "invalid-non-rollable-version-bit"
    assert await refused(miner.mine(job, tip, target=EASY * 15, above=EASY)) == "difficulty-too-low"
    standard = SubmitSharesStandard(miner.channel_id, 77, job.job_id, 0, tip.min_ntime, job.version)
    assert await refused(standard) == "invalid-share"
    miner.send(good)
    await miner.expect(SubmitSharesSuccess)
    assert await refused(good) == "duplicate-share"
    pool.next_tip(pool.channel)
    await miner.first_work()
    assert await refused(miner.mine(job, tip, extranonce=1)) == "stale-share"
    assert len(pool.channel.heard) == 1
    assert proxy.metric("proxy_shares_total", result="rejected") == 10


async def test_rolled_versions_count(pool: ScriptedPool, extended: Work) -> None:
    miner, job, tip = extended
    assert isinstance(job, NewExtendedMiningJob)
    miner.send(miner.mine(job, tip, version=job.version | 0x1FFFE000))
    await miner.expect(SubmitSharesSuccess)


async def test_a_version_that_the_pool_keeps_fixed_is_not_rolled(proxy: House, pool: ScriptedPool) -> None:
    pool.rolling = False
    miner = await proxy.miner()
    await miner.open_extended()
    job, tip = await miner.first_work()
    assert isinstance(job, NewExtendedMiningJob)
    assert not job.version_rolling_allowed
    miner.send(miner.mine(job, tip, version=job.version | 0x2000))
    assert (await miner.expect(SubmitSharesError)).error_code == "version-rolling-not-allowed"
    miner.send(miner.mine(job, tip))
    await miner.expect(SubmitSharesSuccess)


async def test_a_batched_answer_settles_the_oldest_shares_in_one_message(
    pool: ScriptedPool, extended: Work
) -> None:
    miner, job, tip = extended
    pool.patient = True
    for extranonce in range(5):
        miner.send(miner.mine(job, tip, extranonce=extranonce))
    await until(lambda: len(pool.channel.heard) == 5)
    pool.answer(pool.channel, 5)
    answer = await miner.expect(SubmitSharesSuccess)
    assert (answer.last_sequence_number, answer.new_submits_accepted_count) == (5, 5)


async def test_the_pool_refusal_comes_back_with_its_code(
    proxy: House, pool: ScriptedPool, extended: Work
) -> None:
    miner, job, tip = extended
    pool.refuse_shares = "some-new-code\x07"
    miner.send(miner.mine(job, tip))
    answer = await miner.expect(SubmitSharesError)
    assert (answer.sequence_number, answer.error_code) == (1, "some-new-code?")
    assert proxy.metric("proxy_shares_rejected_total", reason="other", by="upstream") == 1


async def test_errors_between_accepted_shares_keep_their_own_numbers(
    pool: ScriptedPool, extended: Work
) -> None:
    miner, job, tip = extended
    pool.patient = True
    shares = [miner.mine(job, tip, extranonce=extranonce) for extranonce in range(3)]
    for share in shares:
        miner.send(share)
    await until(lambda: len(pool.channel.heard) == 3)
    middle = pool.channel.heard[1].sequence_number
    pool.send(SubmitSharesError(pool.channel.channel_id, middle, "stale-share"))
    pool.answer(pool.channel, 2)
    error = await miner.expect(SubmitSharesError)
    success = await miner.expect(SubmitSharesSuccess)
    assert error.sequence_number == 2
    assert (success.last_sequence_number, success.new_submits_accepted_count) == (3, 2)


async def test_a_new_target_waits_for_work_that_differs(pool: ScriptedPool, extended: Work) -> None:
    miner, job, tip = extended
    harder = from_work(64)
    pool.retarget(pool.channel, harder)
    miner.send(miner.mine(job, tip, target=EASY, above=harder))
    await miner.expect(SubmitSharesSuccess)
    pool.follow(pool.channel)
    assert await miner.expect_target() == harder
    second = await miner.expect(NewExtendedMiningJob)
    miner.send(miner.mine(second, tip, target=EASY, above=harder))
    assert (await miner.expect(SubmitSharesError)).error_code == "difficulty-too-low"
    miner.send(miner.mine(job, tip, extranonce=9, target=EASY, above=harder))
    await miner.expect(SubmitSharesSuccess)


async def test_a_new_target_comes_before_the_tip_that_it_is_for(pool: ScriptedPool, extended: Work) -> None:
    miner, _, _ = extended
    pool.retarget(pool.channel, from_work(32))
    pool.next_tip(pool.channel)
    job = await miner.expect(NewExtendedMiningJob)
    assert await miner.expect_target() == from_work(32)
    tip = await miner.expect(SetNewPrevHash)
    miner.send(miner.mine(job, tip))
    await miner.expect(SubmitSharesSuccess)


async def test_who_floods_is_read_slower_and_loses_nothing(start: object, pool: ScriptedPool) -> None:
    house: House = await start(limits={"shares_per_s": 1})  # type: ignore[operator]
    miner = await house.miner()
    await miner.open_extended()
    job, tip = await miner.first_work()
    began = asyncio.get_running_loop().time()
    for extranonce in range(11):
        miner.send(miner.mine(job, tip, extranonce=extranonce))
        await miner.expect(SubmitSharesSuccess)
    miner.send(miner.mine(job, tip, extranonce=99))
    await miner.expect(SubmitSharesSuccess)
    assert asyncio.get_running_loop().time() - began > 0.5


async def test_shares_of_a_channel_beyond_its_pace_are_refused_and_its_neighbour_on_the_line_is_not(
    start: object, pool: ScriptedPool
) -> None:
    house: House = await start(limits={"channel_shares_per_s": 1})  # type: ignore[operator]
    miner = await house.miner()
    await miner.open_extended()
    job, tip = await miner.first_work()
    share = miner.mine(job, tip)
    for _ in range(10):
        miner.send(share)
    miner.send(share)
    assert (await miner.expect(SubmitSharesError)).error_code != "too-many-shares"
    while (await miner.expect(SubmitSharesError)).error_code != "too-many-shares":
        pass
    other = await house.miner()
    await other.open_extended()
    job, tip = await other.first_work()
    other.send(other.mine(job, tip))
    await other.expect(SubmitSharesSuccess)


async def test_a_share_that_the_pool_could_not_take_may_be_handed_in_again(
    proxy: House, pool: ScriptedPool, extended: Work
) -> None:
    miner, job, tip = extended
    share = miner.mine(job, tip)
    pool.refuse_shares = "share-not-stored"
    miner.send(share)
    assert (await miner.expect(SubmitSharesError)).error_code == "share-not-stored"
    pool.refuse_shares = ""
    pool.channel.seen.clear()
    miner.send(share)
    await miner.expect(SubmitSharesSuccess)
    miner.send(share)
    assert (await miner.expect(SubmitSharesError)).error_code == "duplicate-share"
