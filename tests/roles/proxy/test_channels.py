import asyncio
from struct import pack

import pytest

from protocols.bitcoin.secp256k1 import public_key
from protocols.ehash.key_text import encode_key
from protocols.ehash.messages import (
    EXTENSION,
    TLV_CHANNEL_KEY,
    TLV_SHARE_KEY,
    CreditRefused,
    QuoteNotice,
)
from protocols.sv2.codec import encode
from protocols.sv2.connection import SetupConnectionError
from protocols.sv2.errors import SetupFailed
from protocols.sv2.frame import Frame
from protocols.sv2.layout import Message
from protocols.sv2.limits import FrameLimits
from protocols.sv2.mining import (
    CloseChannel,
    NewExtendedMiningJob,
    OpenExtendedMiningChannel,
    OpenMiningChannelError,
    OpenStandardMiningChannel,
    SetCustomMiningJob,
    SetCustomMiningJobError,
    SetNewPrevHash,
    SubmitSharesError,
    SubmitSharesSuccess,
    UpdateChannel,
    UpdateChannelError,
)
from protocols.sv2.setup import REQUIRES_STANDARD_JOBS, REQUIRES_WORK_SELECTION
from protocols.sv2.tlv import Tlv
from roles.runtime.errors import ConnectFailed, ConnectionLost
from roles.runtime.storage import open_readonly
from roles.runtime.sv2_connection import connect
from roles.wallet import identity
from roles.wallet.wallet import STORE_NAME
from tests.roles.proxy.conftest import House, Start, until
from tests.roles.proxy.scripted_miner import CATALOGUE, PATIENCE, ScriptedMiner, setup_message
from tests.roles.proxy.scripted_pool import ScriptedPool

FOREIGN = public_key(b"\x77" * 32)
EASY = (1 << 256) - 1


async def refusal(miner: ScriptedMiner, request: Message, tlvs: tuple[Tlv, ...] = ()) -> str:
    miner.send(request, tlvs)
    return (await miner.expect(OpenMiningChannelError)).error_code


# Set-up


@pytest.mark.parametrize(
    ("message", "code", "flags"),
    [
        (setup_message(protocol=2), "unsupported-protocol", 0),
        (setup_message(versions=(3, 4)), "protocol-version-mismatch", 0),
        (setup_message(flags=REQUIRES_WORK_SELECTION | 8 | 1), "unsupported-feature-flags", 10),
    ],
)
async def test_a_setup_that_cannot_be_granted_is_refused_with_its_code(
    proxy: House, message: Message, code: str, flags: int
) -> None:
    connection = await connect(proxy.address, proxy.authority, limit=FrameLimits(CATALOGUE))
    miner = ScriptedMiner(connection)
    miner.send(message)
    assert await miner.hear_the_end() == [SetupConnectionError(flags, code)]


async def test_a_proxy_with_another_authority_key_is_not_talked_to(proxy: House) -> None:
    with pytest.raises(ConnectFailed):
        await connect(proxy.address, b"\x09" * 32, limit=FrameLimits(CATALOGUE))


async def test_a_channel_before_the_setup_ends_the_connection(proxy: House) -> None:
    connection = await connect(proxy.address, proxy.authority, limit=FrameLimits(CATALOGUE))
    connection.send(encode(OpenStandardMiningChannel(1, "alice", 1e12, EASY)))
    with pytest.raises(ConnectionLost):
        await connection.receive()


async def test_a_frame_that_does_not_follow_its_layout_ends_its_connection_and_no_other(
    proxy: House, pool: ScriptedPool
) -> None:
    good, bad = await proxy.miner(), await proxy.miner()
    await good.open_extended()
    bad.connection.send(Frame(0, True, 0x1B, b"\x01\x02\x03\x04\x05"))
    with pytest.raises(ConnectionLost):
        await bad.connection.receive()
    job, tip = await good.first_work()
    good.send(good.mine(job, tip))
    await good.expect(SubmitSharesSuccess)


async def test_messages_of_unknown_type_are_passed_over(proxy: House) -> None:
    miner = await proxy.miner()
    miner.connection.send(Frame(0x7ABC, False, 0x55, b"?"), Frame(0, False, 0x7F, b"?"))
    await miner.open_extended()
    assert proxy.metric("proxy_messages_ignored_total") == 2


# Opening


async def test_the_answer_is_the_first_frame_after_the_request(proxy: House) -> None:
    miner = await proxy.miner(flags=REQUIRES_STANDARD_JOBS)
    await miner.open_standard()
    await miner.first_work()


async def test_the_pool_refusal_of_a_channel_comes_back_with_its_code(
    proxy: House, pool: ScriptedPool
) -> None:
    pool.refuse_opens = "unknown-user"
    miner = await proxy.miner()
    code = await refusal(miner, OpenExtendedMiningChannel(7, "alice", 1e12, EASY, 2))
    assert code == "unknown-user"
    pool.refuse_opens = ""
    await miner.open_extended()
    assert pool.opens == 2


async def test_extended_channels_are_not_for_miners_of_standard_jobs(proxy: House) -> None:
    miner = await proxy.miner(flags=REQUIRES_STANDARD_JOBS)
    code = await refusal(miner, OpenExtendedMiningChannel(7, "alice", 1e12, EASY, 2))
    assert code == "extended-channels-not-supported-for-standard-jobs"


async def test_more_extranonce_than_is_left_behind_the_slice_is_refused(proxy: House) -> None:
    miner = await proxy.miner()
    code = await refusal(miner, OpenExtendedMiningChannel(7, "alice", 1e12, EASY, 13))
    assert code == "min-extranonce-size-too-large"
    assert (await miner.open_extended(least=12)).extranonce_size == 12


async def test_more_extranonce_than_the_wire_can_ask_for_is_refused(proxy: House) -> None:
    miner = await proxy.miner()
    code = await refusal(miner, OpenExtendedMiningChannel(7, "alice", 1e12, EASY, 0xFFFF))
    assert code == "min-extranonce-size-too-large"
    await miner.open_extended()


@pytest.mark.parametrize("rate", [float("nan"), float("inf"), -1.0])
async def test_a_hash_rate_that_is_no_number_is_refused_by_its_code(proxy: House, rate: float) -> None:
    miner = await proxy.miner()
    await miner.open_extended()
    await miner.first_work()
    code = "invalid-nominal-hashrate"
    for message, place, answer in (
        (OpenExtendedMiningChannel(5, "alice", 0.0, EASY, 2), 10, OpenMiningChannelError(5, code)),
        (OpenStandardMiningChannel(6, "alice", 0.0, EASY), 10, OpenMiningChannelError(6, code)),
        (UpdateChannel(2, 0.0, EASY), 4, UpdateChannelError(2, code)),
    ):
        frame = encode(message)
        payload = frame.payload[:place] + pack("<f", rate) + frame.payload[place + 4 :]
        miner.connection.send(frame._replace(payload=payload))
        assert await miner.expect(type(answer)) == answer
    assert proxy.metric("proxy_opens_refused_total", reason=code) == 2


async def test_codes_that_only_the_pool_knows_are_counted_together(proxy: House, pool: ScriptedPool) -> None:
    miner = await proxy.miner()
    pool.refuse_opens = "a mood"
    assert await refusal(miner, OpenExtendedMiningChannel(7, "alice", 1e12, EASY, 2)) == "a mood"
    assert proxy.metric("proxy_opens_refused_total", reason="other") == 1


async def test_channels_of_one_connection_are_bounded(start: Start) -> None:
    house = await start(limits={"channels_per_connection": 1})
    miner = await house.miner()
    await miner.open_extended()
    await miner.first_work()
    code = await refusal(miner, OpenExtendedMiningChannel(7, "bob", 1e12, EASY, 2))
    assert code == "channel-capacity-exhausted"


@pytest.mark.parametrize("identity", [encode_key(FOREIGN)[:-1] + "1", "k=alice", "02" + "ff" * 32])
async def test_a_mistyped_key_is_never_taken_for_a_name(proxy: House, identity: str) -> None:
    miner = await proxy.miner()
    code = await refusal(miner, OpenExtendedMiningChannel(7, identity, 1e12, EASY, 2))
    assert code == "invalid-user-identity"


async def test_custom_jobs_are_not_taken(proxy: House) -> None:
    miner = await proxy.miner()
    miner.send(SetCustomMiningJob(2, 5, b"", 2, b"\0" * 32, 0, 0, 2, b"", 0, b"\x00", 0, ()))
    assert await miner.expect(SetCustomMiningJobError) == SetCustomMiningJobError(2, 5, "jd-not-supported")


async def test_an_update_is_passed_on_at_most_once_a_second_and_its_refusal_comes_back(
    proxy: House, pool: ScriptedPool
) -> None:
    miner = await proxy.miner()
    await miner.open_extended()
    await miner.first_work()
    for rate in (1.0, 2.0, 4.0):
        miner.send(UpdateChannel(miner.channel_id, rate, 1 << 200))
    await until(lambda: len(pool.updates) == 2)
    assert [(update.nominal_hash_rate, update.maximum_target) for update in pool.updates] == [
        (1.0, 1 << 200),
        (4.0, 1 << 200),
    ]
    pool.send(UpdateChannelError(pool.channel.channel_id, "invalid-nominal-hashrate"))
    error = await miner.expect(UpdateChannelError)
    assert error == UpdateChannelError(miner.channel_id, "invalid-nominal-hashrate")
    miner.send(UpdateChannel(99, 1.0, 1 << 200))
    assert await miner.expect(UpdateChannelError) == UpdateChannelError(99, "invalid-channel-id")


async def test_what_the_miner_closes_is_closed_upstream(proxy: House, pool: ScriptedPool) -> None:
    miner = await proxy.miner()
    await miner.open_extended()
    await miner.first_work()
    upstream = pool.channel.channel_id
    miner.send(CloseChannel(miner.channel_id, "enough"))
    await until(lambda: pool.closed == [upstream])
    assert proxy.metric("proxy_channels", kind="extended") == 0


async def test_the_group_id_closes_all_channels(proxy: House, pool: ScriptedPool) -> None:
    miner = await proxy.miner()
    for name in ("alice", "bob"):
        opened = await miner.open_extended(name)
        await miner.first_work()
    miner.send(CloseChannel(opened.group_channel_id, "enough"))
    await until(lambda: len(pool.closed) == 2)


async def test_a_miner_that_goes_takes_its_channels_along(proxy: House, pool: ScriptedPool) -> None:
    miner = await proxy.miner()
    await miner.open_extended()
    miner.connection.close()
    await until(lambda: len(pool.closed) == 1)


# Keys


def keys_of(house: House) -> dict[str | None, bytes]:
    with open_readonly(house.daemon.state / STORE_NAME) as connection:
        return {item.name: item.public_key for item in identity.everyone(connection)}


async def test_each_user_identity_has_its_own_key_of_the_wallet(proxy: House, pool: ScriptedPool) -> None:
    for name in ("alice", "bob", "alice", ""):
        await (await proxy.miner()).open_extended(name)
    keys = [channel.key for channel in pool.channels.values()]
    assert keys[0] == keys[2]
    assert len(set(keys)) == 3
    assert keys_of(proxy) == {"alice": keys[0], "bob": keys[1], "miner": keys[3]}


@pytest.mark.parametrize("form", ["{}", "{}.rig1", "k={}"])
async def test_a_key_in_the_identity_is_the_key_of_the_work(
    proxy: House, pool: ScriptedPool, form: str
) -> None:
    await (await proxy.miner()).open_extended(form.format(encode_key(FOREIGN)))
    assert pool.channel.key == FOREIGN
    assert keys_of(proxy) == {}


async def test_a_key_that_the_edge_sends_along_is_the_key_of_the_work(
    proxy: House, pool: ScriptedPool
) -> None:
    miner = await proxy.miner(extensions=(EXTENSION,))
    await miner.open_extended(tlvs=(Tlv(EXTENSION, TLV_CHANNEL_KEY, FOREIGN),))
    assert pool.channel.key == FOREIGN


@pytest.mark.parametrize("keys", [[b"\x02" * 32], [b"\x02" + b"\xff" * 32], [FOREIGN, FOREIGN]])
async def test_a_key_sent_along_that_is_none_is_refused(proxy: House, keys: list[bytes]) -> None:
    miner = await proxy.miner(extensions=(EXTENSION,))
    tlvs = tuple(Tlv(EXTENSION, TLV_CHANNEL_KEY, key) for key in keys)
    code = await refusal(miner, OpenExtendedMiningChannel(7, "alice", 1e12, EASY, 2), tlvs)
    assert code == "invalid-user-identity"


async def test_two_keys_with_one_share_are_refused_and_the_miner_goes_on(
    proxy: House, pool: ScriptedPool
) -> None:
    miner = await proxy.miner(extensions=(EXTENSION,))
    await miner.open_extended()
    job, tip = await miner.first_work()
    key = Tlv(EXTENSION, TLV_SHARE_KEY, FOREIGN)
    miner.send(miner.mine(job, tip), (key, key))
    assert (await miner.expect(SubmitSharesError)).error_code == "invalid-user-identity"
    miner.send(miner.mine(job, tip))
    await miner.expect(SubmitSharesSuccess)
    assert pool.share_keys == []


async def test_a_notice_for_a_foreign_key_goes_on_to_who_understands_it(
    proxy: House, pool: ScriptedPool
) -> None:
    miner = await proxy.miner(extensions=(EXTENSION,))
    await miner.open_extended(encode_key(FOREIGN))
    await miner.first_work()
    pool.send(CreditRefused(pool.channel.channel_id, 1, "bad-work"))
    pool.send(QuoteNotice(pool.channel.channel_id, b"\x01" * 32, 5, "hash_x_0"))
    assert await miner.hear() == QuoteNotice(miner.channel_id, b"\x01" * 32, 5, "hash_x_0")
    assert proxy.metric("proxy_notices_total", key="foreign") == 1
    assert proxy.metric("proxy_credits_refused_total") == 1
    assert proxy.metric("wallet_notices_total", result="taken") == 0


async def test_a_pool_that_knows_no_ehash_is_mined_at_without_keys(start: Start, pool: ScriptedPool) -> None:
    pool.extensions = ()
    house = await start()
    miner = await house.miner()
    await miner.open_extended()
    job, tip = await miner.first_work()
    assert pool.channel.key is None
    miner.send(miner.mine(job, tip))
    await miner.expect(SubmitSharesSuccess)


async def test_the_wallet_is_bounded_in_identities(start: Start) -> None:
    house = await start(identities=1)
    miner = await house.miner()
    await miner.open_extended("alice")
    await miner.first_work()
    code = await refusal(miner, OpenExtendedMiningChannel(7, "bob", 1e12, EASY, 2))
    assert code == "channel-capacity-exhausted"


async def test_a_miner_is_told_that_it_came_in_vain(proxy: House) -> None:
    with pytest.raises(SetupFailed):
        await proxy.miner(flags=REQUIRES_WORK_SELECTION)


async def test_a_share_with_a_key_of_its_own_is_no_business_of_the_wallet(
    proxy: House, pool: ScriptedPool
) -> None:
    miner = await proxy.miner(extensions=(EXTENSION,))
    await miner.open_extended()
    job, tip = await miner.first_work()
    miner.send(miner.mine(job, tip), (Tlv(EXTENSION, TLV_SHARE_KEY, FOREIGN),))
    await miner.expect(SubmitSharesSuccess)
    assert pool.share_keys == [FOREIGN]
    share_hash = pool.channel.accepted[0].share_hash
    pool.send(QuoteNotice(pool.channel.channel_id, share_hash, 5, "hash_x_0"))
    assert await miner.hear() == QuoteNotice(miner.channel_id, share_hash, 5, "hash_x_0")
    assert proxy.metric("wallet_notices_total", result="taken") == 0


async def test_work_that_makes_no_sense_is_passed_over(proxy: House, pool: ScriptedPool) -> None:
    miner = await proxy.miner()
    await miner.open_extended()
    await miner.first_work()
    channel_id = pool.channel.channel_id
    half_witness = b"\2\0\0\0\0\1" + b"\0" * 40
    pool.send(
        NewExtendedMiningJob(channel_id, 7, 5, 2, True, (), half_witness, b""),
        SetNewPrevHash(channel_id, 4242, b"\7" * 32, 0, 0x1D00FFFF),
    )
    pool.next_tip(pool.channel)
    job, tip = await miner.first_work()
    assert tip.prev_hash == pool.previous
    miner.send(miner.mine(job, tip))
    await miner.expect(SubmitSharesSuccess)


async def test_shares_beyond_what_waits_for_the_pool_are_refused_and_may_come_again(
    start: Start, pool: ScriptedPool
) -> None:
    proxy = await start(limits={"channel_shares_per_s": 1_000})
    miner = await proxy.miner()
    await miner.open_extended()
    job, tip = await miner.first_work()
    pool.patient = True
    for extranonce in range(1024):
        miner.send(miner.mine(job, tip, extranonce=extranonce))
    share = miner.mine(job, tip, extranonce=2000)
    miner.send(share)
    assert (await miner.expect(SubmitSharesError)).error_code == "overloaded"
    await until(lambda: len(pool.channel.heard) == 1024)
    pool.answer(pool.channel, 1024)
    answered = 0
    while answered < 1024:
        answered += (await miner.expect(SubmitSharesSuccess)).new_submits_accepted_count
    pool.patient = False
    miner.send(share)
    await miner.expect(SubmitSharesSuccess)


@pytest.mark.parametrize("is_set_up", [False, True])
async def test_who_shakes_hands_and_then_wants_nothing_is_let_go(start: Start, is_set_up: bool) -> None:
    limits = {"handshake_s": 10.0, "idle_s": 0.2} if is_set_up else {"handshake_s": 0.2, "idle_s": 10.0}
    house = await start(limits=limits)
    link = await connect(house.address, house.authority, limit=FrameLimits(CATALOGUE))
    if is_set_up:
        link.send(encode(setup_message()))
        await link.receive()
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(ConnectionLost):
            await link.receive()
    reason = "idle" if is_set_up else "setup-timeout"
    await until(lambda: house.metric("downstream_connections_ended_total", reason=reason) == 1)


async def test_a_miner_with_a_channel_may_be_silent(start: Start) -> None:
    house = await start(limits={"handshake_s": 0.2, "idle_s": 0.2})
    miner = await house.miner()
    await miner.open_extended()
    job, tip = await miner.first_work()
    await asyncio.sleep(0.5)
    miner.send(miner.mine(job, tip))
    await miner.expect(SubmitSharesSuccess)


async def test_requests_count_against_the_pace_of_a_connection(start: Start) -> None:
    house = await start(limits={"shares_per_s": 1, "channels_per_connection": 1})
    miner = await house.miner()
    await miner.open_extended()
    miner.send(OpenExtendedMiningChannel(8, "bob", 1e12, EASY, 2))
    miner.send(OpenExtendedMiningChannel(9, "bob", 1e12, EASY, 2))
    await until(lambda: house.metric("proxy_throttled_total") >= 1)


async def test_updates_count_against_it_too_and_closing_a_channel_does_not(start: Start) -> None:
    house = await start(limits={"shares_per_s": 1})
    miner = await house.miner()
    await miner.open_extended()
    await miner.first_work()
    miner.send(CloseChannel(miner.channel_id, "enough"))
    await miner.open_extended()
    assert house.metric("proxy_throttled_total") == 0
    miner.send(UpdateChannel(miner.channel_id, 1.0, EASY))
    await until(lambda: house.metric("proxy_throttled_total") >= 1)
