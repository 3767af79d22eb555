"""What a pool must survive: every refusal by its code, and peers that do not follow the protocol."""

import asyncio
import struct
from typing import Any

import pytest

from protocols.bitcoin.secp256k1 import public_key
from protocols.bitcoin.target import from_work
from protocols.ehash.key_text import encode_key
from protocols.ehash.messages import EXTENSION
from protocols.noise.authority import public_of
from protocols.sv2.codec import encode
from protocols.sv2.connection import SetupConnection, SetupConnectionError, SetupConnectionSuccess
from protocols.sv2.extensions import RequestExtensions, RequestExtensionsError, RequestExtensionsSuccess
from protocols.sv2.frame import Frame
from protocols.sv2.limits import FrameLimits
from protocols.sv2.mining import (
    CloseChannel,
    OpenExtendedMiningChannel,
    OpenMiningChannelError,
    OpenStandardMiningChannel,
    SetCustomMiningJob,
    SetCustomMiningJobError,
    SetTarget,
    SubmitSharesError,
    SubmitSharesSuccess,
    UpdateChannel,
    UpdateChannelError,
)
from protocols.sv2.setup import REQUIRES_STANDARD_JOBS, REQUIRES_VERSION_ROLLING, REQUIRES_WORK_SELECTION
from protocols.sv2.tlv import Tlv
from roles.runtime.errors import ConnectFailed
from roles.runtime.sv2_connection import connect
from tests.roles.pool.house import House, Miner
from tests.roles.pool.neighbours import ANY_TARGET, KEY, ON_MINING_LINK, soon

TEXT = encode_key(KEY)


def setup(**fields: Any) -> SetupConnection:
    base = {"protocol": 0, "min_version": 2, "max_version": 2, "flags": 0, "endpoint_port": 0}
    texts = dict.fromkeys(("endpoint_host", "vendor", "hardware_version", "firmware", "device_id"), "")
    return SetupConnection(**(base | texts | fields))


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"protocol": 1}, SetupConnectionError(0, "unsupported-protocol")),
        ({"protocol": 0x45}, SetupConnectionError(0, "unsupported-protocol")),
        ({"min_version": 3, "max_version": 9}, SetupConnectionError(0, "protocol-version-mismatch")),
        ({"min_version": 0, "max_version": 1}, SetupConnectionError(0, "protocol-version-mismatch")),
        (
            {"flags": REQUIRES_STANDARD_JOBS | REQUIRES_WORK_SELECTION | 1 << 9 | 1 << 31},
            SetupConnectionError(1 << 9 | 1 << 31, "unsupported-feature-flags"),
        ),
    ],
)
async def test_a_setup_that_cannot_be_granted_is_answered_by_its_code_and_closed(
    house: House, fields: dict[str, Any], error: SetupConnectionError
) -> None:
    await house.start()
    miner = Miner(await house.dial())
    miner.say(setup(**fields))
    assert await miner.receive() == error
    await miner.closed()


async def test_a_setup_with_all_that_the_pool_has_is_granted(house: House) -> None:
    await house.start()
    miner = Miner(await house.dial())
    flags = REQUIRES_STANDARD_JOBS | REQUIRES_VERSION_ROLLING
    miner.say(setup(min_version=0, max_version=9, flags=flags))
    assert await miner.receive() == SetupConnectionSuccess(2, 0)


async def test_extensions_are_granted_where_known(house: House) -> None:
    await house.start()
    miner = await house.miner()
    miner.say(RequestExtensions(1, (2, EXTENSION)))
    assert await miner.receive() == RequestExtensionsSuccess(1, (EXTENSION,))
    other = await house.miner()
    other.say(RequestExtensions(7, (2, 3)))
    assert await other.receive() == RequestExtensionsError(7, (2, 3), ())
    await other.open()


async def test_a_client_that_expects_another_authority_key_does_not_connect(house: House) -> None:
    await house.start()
    assert house.daemon
    wrong = public_of(bytes(31) + b"\x77")
    with pytest.raises(ConnectFailed):
        await connect(house.daemon.config.listen_address, wrong, limit=FrameLimits(ON_MINING_LINK))


def extended(**fields: Any) -> OpenExtendedMiningChannel:
    base: dict[str, Any] = {
        "request_id": 5,
        "user_identity": "miner",
        "nominal_hash_rate": 0.0,
        "max_target": ANY_TARGET,
        "min_extranonce_size": 8,
    }
    return OpenExtendedMiningChannel(**(base | fields))


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"min_extranonce_size": 17}, "min-extranonce-size-too-large"),
        ({"max_target": from_work(1 << 41)}, "max-target-out-of-range"),
        ({"max_target": 0}, "max-target-out-of-range"),
        ({"user_identity": TEXT[:-1]}, "invalid-user-identity"),
        ({"user_identity": "k=nobody"}, "invalid-user-identity"),
        ({"user_identity": "02" + "ff" * 32 + ".rig"}, "invalid-user-identity"),
    ],
)
async def test_an_open_that_cannot_be_granted_is_answered_by_its_code(
    house: House, fields: dict[str, Any], code: str
) -> None:
    await house.start()
    miner = await house.miner()
    miner.say(extended(**fields))
    assert await miner.receive() == OpenMiningChannelError(5, code)
    assert house.metric("hashpool_pool_opens_refused_total", code=code) == 1
    assert (await miner.open()).id == 2


@pytest.mark.parametrize("key", [KEY[:-1], b"", b"\x02" + b"\xff" * 32, b"\x05" + KEY[1:]])
async def test_a_channel_key_that_is_none_is_refused(house: House, key: bytes) -> None:
    await house.start()
    miner = await house.miner(extensions=True)
    miner.link.send(encode(extended(), [Tlv(EXTENSION, 1, key)]))
    assert await miner.receive() == OpenMiningChannelError(5, "invalid-user-identity")


async def test_two_channel_keys_are_refused(house: House) -> None:
    await house.start()
    miner = await house.miner(extensions=True)
    miner.link.send(encode(extended(), [Tlv(EXTENSION, 1, KEY), Tlv(EXTENSION, 1, KEY)]))
    assert await miner.receive() == OpenMiningChannelError(5, "invalid-user-identity")


async def test_a_mistyped_key_in_the_name_does_not_matter_beside_a_key_of_its_own(house: House) -> None:
    await house.start()
    miner = await house.miner(extensions=True)
    await miner.open(user=TEXT[:-1], key=KEY)


@pytest.mark.parametrize("rate", [float("nan"), float("inf"), -1.0])
async def test_a_hash_rate_that_is_no_number_is_refused_by_its_code(house: House, rate: float) -> None:
    await house.start()
    miner = await house.miner()
    channel = await miner.open()
    for message, place, answer in (
        (extended(), 4 + 6, OpenMiningChannelError(5, "invalid-nominal-hashrate")),
        (
            OpenStandardMiningChannel(6, "miner", 0.0, 1),
            10,
            OpenMiningChannelError(6, "invalid-nominal-hashrate"),
        ),
        (UpdateChannel(channel.id, 0.0, 1), 4, UpdateChannelError(channel.id, "invalid-nominal-hashrate")),
    ):
        frame = encode(message)
        payload = frame.payload[:place] + struct.pack("<f", rate) + frame.payload[place + 4 :]
        miner.link.send(frame._replace(payload=payload))
        assert await miner.receive() == answer


async def test_standard_jobs_only_means_no_extended_channel(house: House) -> None:
    await house.start()
    miner = await house.miner(flags=REQUIRES_STANDARD_JOBS)
    miner.say(extended())
    assert await miner.receive() == OpenMiningChannelError(
        5, "extended-channels-not-supported-for-standard-jobs"
    )
    await miner.open(standard=True)


async def test_keyless_channels_can_be_refused(house: House) -> None:
    house.ehash["keyless"] = "refuse"
    await house.start()
    miner = await house.miner()
    miner.say(extended())
    assert await miner.receive() == OpenMiningChannelError(5, "invalid-user-identity")
    await miner.open(user=TEXT)


async def test_only_listed_users_are_served_where_there_is_a_list(house: House) -> None:
    house.settings["users"] = ["alice", TEXT]
    await house.start()
    miner = await house.miner()
    for user in ("bob", "bob.alice", encode_key(public_key(bytes(31) + b"\x51"))):
        miner.say(extended(user_identity=user))
        assert await miner.receive() == OpenMiningChannelError(5, "unknown-user")
    for user in ("alice", "alice.rig", TEXT, f"{TEXT}.rig"):
        await miner.open(user=user)


async def test_a_connection_has_a_bounded_number_of_channels(house: House) -> None:
    house.settings["limits"] = {"channels_per_connection": 2}
    await house.start()
    miner = await house.miner()
    first = await miner.open()
    await miner.open()
    miner.say(extended())
    assert await miner.receive() == OpenMiningChannelError(5, "channel-capacity-exhausted")
    miner.say(CloseChannel(first.id, ""))
    assert (await miner.open()).id == 4


async def test_a_host_has_a_bounded_number_of_channels_over_all_its_connections(house: House) -> None:
    house.settings["limits"] = {"channels_per_host": 2}
    await house.start()
    first, second = await house.miner(), await house.miner()
    await first.open()
    channel = await second.open()
    second.say(extended())
    assert await second.hear(OpenMiningChannelError) == OpenMiningChannelError(
        5, "channel-capacity-exhausted"
    )
    assert house.metric("hashpool_pool_opens_refused_total", code="channel-capacity-exhausted") == 1
    second.say(CloseChannel(channel.id, ""))
    await second.open()
    first.link.close()
    await soon(lambda: house.metric("hashpool_pool_channels", kind="extended") == 1)
    await second.open()


async def test_an_update_for_an_unknown_channel_is_answered_by_its_code(house: House) -> None:
    await house.start()
    miner = await house.miner()
    miner.say(UpdateChannel(9, 1.0, ANY_TARGET))
    assert await miner.receive() == UpdateChannelError(9, "invalid-channel-id")


async def test_an_impossible_update_is_an_error_and_nothing_else(house: House) -> None:
    await house.start()
    miner = await house.miner()
    channel = await miner.open()
    miner.say(UpdateChannel(channel.id, 1.0, 0))
    assert await miner.receive() == UpdateChannelError(channel.id, "max-target-out-of-range")
    await miner.hears_nothing(SetTarget)


async def test_custom_jobs_are_refused_with_their_ids(house: House) -> None:
    await house.start()
    miner = await house.miner()
    channel = await miner.open()
    miner.say(SetCustomMiningJob(channel.id, 3, b"", 0, bytes(32), 0, 0, 2, b"", 0, b"\0", 0, ()))
    assert await miner.receive() == SetCustomMiningJobError(channel.id, 3, "jd-not-supported")


async def test_closing_what_is_not_open_is_ignored(house: House) -> None:
    await house.start()
    miner = await house.miner()
    miner.say(CloseChannel(77, "?"))
    await miner.open()


async def test_unknown_messages_are_passed_over(house: House) -> None:
    await house.start()
    miner = await house.miner()
    miner.link.send(Frame(0, False, 0xEE, b"what"), Frame(0x1234, True, 1, bytes(8)))
    await miner.open()
    assert house.metric("hashpool_pool_messages_ignored_total") == 2


@pytest.mark.parametrize(
    "frame",
    [
        Frame(0, False, 0x13, b"\1\2\3"),
        Frame(0, True, 0x1B, bytes(23)),
        Frame(0, True, 0x1A, bytes(25)),
        encode(SubmitSharesSuccess(2, 1, 1, 1)),
        encode(setup()),
        encode(RequestExtensions(1, ())),
    ],
    ids=[
        "truncated open",
        "truncated share",
        "trailing byte",
        "a server's message",
        "setup again",
        "late request",
    ],
)
async def test_what_breaks_the_protocol_ends_the_connection_and_no_other(house: House, frame: Frame) -> None:
    await house.start()
    good, bad = await house.miner(), await house.miner()
    channel = await good.open()
    await bad.open()
    bad.link.send(frame)
    await bad.closed()
    channel.submit(channel.mine())
    assert await good.hear(SubmitSharesSuccess)


async def test_an_oversized_frame_ends_the_connection_before_it_is_read(house: House) -> None:
    await house.start()
    miner = await house.miner()
    miner.link.send(Frame(0, True, 0x1B, bytes(100_000)))
    await miner.closed()
    assert house.metric("hashpool_pool_connections_ended_total", reason="oversized-frame") == 1


@pytest.mark.parametrize("frame", [encode(extended()), Frame(0, False, 0xEE, b"")])
async def test_a_first_message_that_is_no_setup_ends_the_connection(house: House, frame: Frame) -> None:
    await house.start()
    miner = Miner(await house.dial())
    miner.link.send(frame)
    await miner.closed()


async def test_a_silent_client_is_dropped_and_others_are_served_meanwhile(house: House) -> None:
    house.settings["limits"] = {"handshake_s": 0.3}
    await house.start()
    silent = Miner(await house.dial())
    miner = await house.miner()
    await miner.open()
    await silent.closed()


async def test_a_name_that_is_no_text_does_no_harm(house: House) -> None:
    await house.start()
    miner = await house.miner()
    await miner.open(user="\udcff\udcfe\n\x1b[31m")


async def test_a_flood_of_bad_shares_is_answered_one_by_one(house: House) -> None:
    await house.start()
    miner = await house.miner()
    channel = await miner.open()
    share = channel.mine(low=channel.target + 1, target=ANY_TARGET)
    channel.submit(*[share] * 200)
    errors = [await miner.hear(SubmitSharesError) for _ in range(200)]
    assert {error.error_code for error in errors} == {"difficulty-too-low"}


async def test_standard_channels_and_custom_work_exclude_each_other(house: House) -> None:
    await house.start()
    miner = await house.miner(flags=REQUIRES_WORK_SELECTION)
    miner.say(OpenStandardMiningChannel(1, "", 0.0, ANY_TARGET))
    refusal = OpenMiningChannelError(1, "standard-channels-not-supported-for-custom-work")
    assert await miner.receive() == refusal


async def test_nothing_is_served_before_there_is_work(house: House) -> None:
    house.provider.greeting = False
    starting = asyncio.create_task(house.start())
    while not house.provider.links:
        await asyncio.sleep(0.005)
    with pytest.raises(ConnectFailed):
        await house.dial()
    assert set(house.reasons) == {"templates", "listener"}
    house.provider.new_tip(bytes((1,)) * 32)
    await starting
    await (await house.miner()).open()
