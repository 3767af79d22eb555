"""The pool from a miner's side: channels, work, shares, targets."""

from dataclasses import replace
from typing import Any

import pytest

from protocols.bitcoin.target import from_work, work
from protocols.ehash.key_text import encode_key
from protocols.ehash.messages import TLV_MINT_URL, TLV_RESUME_TOKEN, CreditRefused, QuoteNotice
from protocols.ehash.shift import Unit
from protocols.mining.vardiff import PROBE
from protocols.sv2.mining import (
    CloseChannel,
    NewExtendedMiningJob,
    NewMiningJob,
    OpenExtendedMiningChannel,
    OpenExtendedMiningChannelSuccess,
    SetNewPrevHash,
    SetTarget,
    SubmitSharesError,
    SubmitSharesSuccess,
    UpdateChannel,
)
from roles.pool.allowance import Allowance
from tests.roles.pool.house import House
from tests.roles.pool.neighbours import ANY_TARGET, KEY, ON_MINING_LINK, OTHER_KEY, soon

BOTH = pytest.mark.parametrize("standard", [False, True], ids=["extended", "standard"])


@BOTH
async def test_a_channel_opens_with_one_answer_then_a_future_job_and_its_tip(
    house: House, standard: bool
) -> None:
    await house.start()
    miner = await house.miner()
    channel = await miner.open(standard=standard)
    assert (channel.id, channel.success.group_channel_id) == (2, 1)
    assert len(channel.prefix) == (20 if standard else 4)
    assert channel.prefix[0] == 1
    if not standard:
        assert channel.success.extranonce_size == 16
    assert channel.jobs[1].min_ntime is None
    assert channel.tip == SetNewPrevHash(2, 1, bytes((1,)) * 32, 1_700_000_000, 0x207FFFFF)
    assert work(channel.success.target) == 64


@BOTH
async def test_a_share_is_acknowledged_and_becomes_a_credit_at_the_mint(house: House, standard: bool) -> None:
    await house.start()
    miner = await house.miner(extensions=True)
    channel = await miner.open(standard=standard, key=KEY)
    share = channel.mine()
    channel.submit(share)
    answer = await miner.hear(SubmitSharesSuccess)
    assert (answer.channel_id, answer.last_sequence_number, answer.new_submits_accepted_count) == (2, 1, 1)
    notice = await miner.hear(QuoteNotice)
    assert notice == QuoteNotice(2, channel.hash_of(share), 16, Unit(house.identity, 0).name)
    credit = house.mint.book.rows[1]
    assert (credit.share_hash, credit.amount, credit.key) == (channel.hash_of(share), 16, KEY)
    assert house.metric("hashpool_pool_shares_accepted_total") == 1
    assert house.metric("hashpool_ledger_seq") == house.metric("hashpool_ledger_acked_seq") == 1


async def test_the_key_may_stand_in_the_user_identity(house: House) -> None:
    await house.start()
    miner = await house.miner()
    channel = await miner.open(user=f"{encode_key(KEY)}.rig")
    channel.submit(channel.mine())
    await soon(lambda: 1 in house.mint.book.rows)
    assert house.mint.book.rows[1].key == KEY


async def test_a_shares_own_key_overrides_the_channels(house: House) -> None:
    await house.start()
    miner = await house.miner(extensions=True)
    channel = await miner.open(key=KEY)
    channel.submit(channel.mine(), key=OTHER_KEY)
    await soon(lambda: 1 in house.mint.book.rows)
    assert house.mint.book.rows[1].key == OTHER_KEY


async def test_keys_in_tlvs_are_ignored_where_the_extension_was_not_negotiated(house: House) -> None:
    await house.start()
    miner = await house.miner()
    channel = await miner.open(key=KEY)
    channel.submit(channel.mine(), key=OTHER_KEY)
    await miner.hear(SubmitSharesSuccess)
    assert house.metric("hashpool_ledger_unattributed") == 1
    assert house.metric("hashpool_ledger_seq") == 0


async def test_a_notice_goes_only_to_miners_that_negotiated_it(house: House) -> None:
    await house.start()
    miner = await house.miner()
    channel = await miner.open(user=encode_key(KEY))
    channel.submit(channel.mine())
    await soon(lambda: house.metric("hashpool_ledger_acked_seq") == 1)
    await miner.hears_nothing(QuoteNotice)


async def test_a_credit_that_the_mint_refuses_is_told_to_the_miner(house: House) -> None:
    house.mint.book.codes[1] = 2
    await house.start()
    miner = await house.miner(extensions=True)
    channel = await miner.open(key=KEY)
    channel.submit(channel.mine())
    assert await miner.hear(CreditRefused) == CreditRefused(2, 1, "bad-key")
    assert house.metric("hashpool_ledger_refused") == 1


async def test_ten_shares_or_more_are_acknowledged_at_once_and_fewer_by_the_timer(house: House) -> None:
    house.settings["acknowledgement"] = {"shares": 10, "delay_ms": 100}
    await house.start()
    miner = await house.miner()
    channel = await miner.open(user=encode_key(KEY))
    answers = []
    for shares in (13, 3):
        channel.submit(*[channel.mine() for _ in range(shares)])
        answers.append(await miner.hear(SubmitSharesSuccess))
    assert [answer.new_submits_accepted_count for answer in answers] == [13, 3]
    assert [answer.last_sequence_number for answer in answers] == [13, 16]


async def test_good_and_bad_shares_of_one_segment_get_their_own_answers(house: House) -> None:
    await house.start()
    miner = await house.miner()
    channel = await miner.open()
    good = [channel.mine() for _ in range(4)]
    weak = channel.mine(low=channel.target + 1, target=ANY_TARGET)
    channel.submit(good[0], weak, good[1], replace(good[2], ntime=5), replace(good[3], job_id=9))
    errors = [await miner.hear(SubmitSharesError) for _ in range(3)]
    assert [(error.sequence_number, error.error_code) for error in errors] == [
        (weak.sequence_number, "difficulty-too-low"),
        (good[2].sequence_number, "invalid-share"),
        (good[3].sequence_number, "invalid-job-id"),
    ]
    answer = await miner.hear(SubmitSharesSuccess)
    assert (answer.last_sequence_number, answer.new_submits_accepted_count) == (2, 2)
    assert house.metric("hashpool_pool_shares_rejected_total", code="invalid-share") == 1


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"extranonce": bytes(15)}, "bad-extranonce-size"),
        ({"version": 0x20000001}, "invalid-non-rollable-version-bit"),
        ({"ntime": 1}, "invalid-share"),
        ({"ntime": 0xFFFFFFFF}, "invalid-share"),
        ({"job_id": 77}, "invalid-job-id"),
        ({"channel_id": 3}, "invalid-channel-id"),
    ],
)
async def test_a_share_with_a_wrong_field_is_refused_by_its_code(
    house: House, changed: dict[str, Any], code: str
) -> None:
    await house.start()
    miner = await house.miner()
    channel = await miner.open()
    channel.submit(replace(channel.mine(), **changed))
    error = await miner.hear(SubmitSharesError)
    assert (error.sequence_number, error.error_code) == (1, code)


async def test_a_share_for_a_channel_of_the_other_kind_is_refused(house: House) -> None:
    await house.start()
    miner = await house.miner()
    standard, extended = await miner.open(standard=True), await miner.open()
    standard.submit(replace(extended.mine(), channel_id=standard.id))
    extended.submit(replace(standard.mine(), channel_id=extended.id))
    for _ in range(2):
        assert (await miner.hear(SubmitSharesError)).error_code == "invalid-channel-id"


async def test_a_share_with_a_false_key_is_refused(house: House) -> None:
    await house.start()
    miner = await house.miner(extensions=True)
    channel = await miner.open(key=KEY)
    channel.submit(channel.mine(), key=b"\x02" + b"\xff" * 32)
    channel.submit(channel.mine(), key=KEY[:-1])
    for _ in range(2):
        assert (await miner.hear(SubmitSharesError)).error_code == "invalid-user-identity"


async def test_the_same_share_again_is_a_success_and_is_credited_once(house: House) -> None:
    await house.start()
    miner = await house.miner()
    channel = await miner.open(user=encode_key(KEY))
    share = channel.mine()
    channel.submit(share, replace(share, sequence_number=2))
    answer = await miner.hear(SubmitSharesSuccess)
    assert answer.new_submits_accepted_count == 2
    channel.submit(replace(share, sequence_number=3))
    assert (await miner.hear(SubmitSharesSuccess)).last_sequence_number == 3
    assert house.metric("hashpool_ledger_seq") == 1
    assert house.metric("hashpool_pool_shares_accepted_total") == 1
    assert house.metric("hashpool_pool_shares_repeated_total") == 2


async def test_the_same_share_for_another_key_or_for_none_is_a_duplicate(house: House) -> None:
    await house.start()
    miner = await house.miner(extensions=True)
    keyed, keyless = await miner.open(key=KEY), await miner.open()
    share, other = keyed.mine(), keyless.mine()
    keyed.submit(share)
    keyed.submit(share, key=OTHER_KEY)
    keyless.submit(other, other)
    for _ in range(2):
        assert (await miner.hear(SubmitSharesError)).error_code == "duplicate-share"


async def test_a_new_tip_makes_earlier_work_stale(house: House) -> None:
    await house.start()
    miner = await house.miner()
    channel = await miner.open()
    old = channel.mine()
    house.provider.new_tip(bytes((2,)) * 32)
    await miner.hear(SetNewPrevHash)
    assert channel.tip is not None
    assert channel.tip.prev_hash == bytes((2,)) * 32
    channel.submit(old, channel.mine())
    assert (await miner.hear(SubmitSharesError)).error_code == "stale-share"
    assert (await miner.hear(SubmitSharesSuccess)).new_submits_accepted_count == 1


@BOTH
async def test_a_fee_update_starts_at_once_and_work_before_it_stays_good(
    house: House, standard: bool
) -> None:
    await house.start()
    miner = await house.miner()
    channel = await miner.open(standard=standard)
    old = channel.mine()
    house.provider.fees(value=5_000_001_000)
    job = await miner.hear(NewMiningJob, NewExtendedMiningJob)
    while job.min_ntime is None:
        job = await miner.hear(NewMiningJob, NewExtendedMiningJob)
    assert job.min_ntime == 1_700_000_000
    channel.submit(old, channel.mine())
    assert (await miner.hear(SubmitSharesSuccess)).new_submits_accepted_count == 2


async def test_many_shares_bring_a_harder_target_with_work_that_differs(house: House) -> None:
    await house.start()
    miner = await house.miner()
    channel = await miner.open(user=encode_key(KEY))
    before, old_target = channel.active, channel.target
    target = None
    while target is None:
        channel.submit(*[channel.mine() for _ in range(20)])
        await miner.hear(SubmitSharesSuccess)
        target = next((each for each in miner.unheard if isinstance(each, SetTarget)), None)
    while channel.active is before:
        await miner.receive()
    assert channel.target == target.maximum_target < old_target
    assert channel.active.min_ntime is not None
    assert channel.active.coinbase_tx_prefix != before.coinbase_tx_prefix
    # The earlier work keeps its price.
    channel.submit(channel.mine(job=before, low=channel.target + 1))
    assert await miner.hear(SubmitSharesSuccess)
    channel.submit(channel.mine(low=channel.target + 1, target=old_target))
    assert (await miner.hear(SubmitSharesError)).error_code == "difficulty-too-low"


async def test_the_declared_hash_rate_sets_the_first_target(house: House) -> None:
    await house.start()
    miner = await house.miner()
    channel = await miner.open(rate=100_000.0)
    # Its shares come faster until it is known.
    assert work(channel.success.target) == 100_000 // PROBE


async def test_an_update_with_a_harder_max_target_brings_a_target_and_work(house: House) -> None:
    await house.start()
    miner = await house.miner()
    channel = await miner.open()
    miner.say(UpdateChannel(channel.id, 0.0, from_work(1000)))
    target = await miner.hear(SetTarget)
    assert target.maximum_target <= from_work(1000)
    assert work(target.maximum_target) == 1004
    job = await channel.work()
    assert job.min_ntime is not None


async def test_an_update_that_changes_nothing_is_not_answered(house: House) -> None:
    await house.start()
    miner = await house.miner()
    channel = await miner.open(rate=1000.0)
    miner.say(UpdateChannel(channel.id, 1100.0, ANY_TARGET))
    await miner.hears_nothing(SetTarget)
    miner.say(UpdateChannel(channel.id, 2000.0, ANY_TARGET))
    assert work((await miner.hear(SetTarget)).maximum_target) == 2000 // PROBE


@pytest.mark.parametrize("by_group", [False, True])
async def test_closed_channels_get_no_work_and_take_no_shares(house: House, by_group: bool) -> None:
    await house.start()
    miner = await house.miner()
    channels = [await miner.open() for _ in range(2)]
    shares = [channel.mine() for channel in channels]
    for channel in channels[: 1 if by_group else 2]:
        miner.say(CloseChannel(1 if by_group else channel.id, "enough"))
    for channel, share in zip(channels, shares, strict=True):
        channel.submit(share)
        assert (await miner.hear(SubmitSharesError)).error_code == "invalid-channel-id"
    house.provider.new_tip(bytes((3,)) * 32)
    await miner.hears_nothing(NewExtendedMiningJob)
    assert house.metric("hashpool_pool_channels", kind="extended") == 0


async def test_every_channel_has_a_prefix_of_its_own_also_after_others_have_closed(house: House) -> None:
    await house.start()
    prefixes = []
    for _ in range(3):
        miner = await house.miner()
        prefixes += [(await miner.open()).prefix for _ in range(3)]
        miner.link.close()
    assert len(set(prefixes)) == 9


async def test_work_goes_to_all_channels_of_all_connections(house: House) -> None:
    await house.start()
    miners = [await house.miner() for _ in range(3)]
    for miner in miners:
        await miner.open()
        await miner.open(standard=True)
    tip = bytes((4,)) * 32
    house.provider.new_tip(tip)
    for miner in miners:
        while any(channel.tip.prev_hash != tip for channel in miner.channels.values() if channel.tip):
            await miner.receive()


async def test_shares_beyond_the_rate_make_the_pool_read_more_slowly(house: House) -> None:
    house.settings["limits"] = {"shares_per_s": 5}
    await house.start()
    miner = await house.miner()
    channel = await miner.open()
    channel.submit(*[channel.mine() for _ in range(55)])
    await soon(lambda: house.metric("hashpool_pool_throttled_total"))
    channel.submit(channel.mine())
    while (await miner.hear(SubmitSharesSuccess)).last_sequence_number < 56:
        pass


def test_an_allowance_is_ten_seconds_at_once_and_then_its_rate() -> None:
    allowance = Allowance(100, now=0.0)
    assert allowance.use(1000, 0.0) == 0
    assert allowance.use(50, 0.0) == pytest.approx(0.5)
    assert allowance.use(0, 0.5) == 0
    assert allowance.use(100, 1.0) == pytest.approx(0.5)
    assert allowance.use(1000, 100.0) == 0
    assert allowance.use(0, 50.0) == 0


async def test_who_knows_ehash_is_told_with_its_first_channel_where_the_mint_is(house: House) -> None:
    await house.start()
    told = []
    for extensions in (True, False):
        miner = await house.miner(extensions=extensions)
        for _ in range(2):
            miner.say(OpenExtendedMiningChannel(9, "miner", 0.0, ANY_TARGET, 8))
            message: object = None
            while not isinstance(message, OpenExtendedMiningChannelSuccess):
                message, tlvs = ON_MINING_LINK.decode(await miner.link.receive())
            told.append([(tlv.field, tlv.value) for tlv in tlvs if tlv.field != TLV_RESUME_TOKEN])
    assert told == [[(TLV_MINT_URL, b"http://mint")], [], [], []]
