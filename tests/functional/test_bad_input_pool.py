"""Bad input at the pool and the proxy, as processes: every refusal by its code, beside miners that mine on.

One chain of daemons serves the whole module. A good miner at each server keeps one connection from the
first test to the last, and after every test its next share must be accepted on it.
"""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import pytest_asyncio

from protocols.bitcoin.secp256k1 import public_key
from protocols.ehash.key_text import encode_key
from protocols.ehash.messages import EXTENSION, PROTOCOL_ISSUANCE
from protocols.noise.authority import public_of
from protocols.noise.handshake import ACT2_SIZE
from protocols.sv2.codec import TEMPLATE_DISTRIBUTION, encode
from protocols.sv2.connection import (
    PROTOCOL_MINING,
    PROTOCOL_TEMPLATE_DISTRIBUTION,
    SetupConnectionError,
    SetupConnectionSuccess,
)
from protocols.sv2.frame import Frame
from protocols.sv2.limits import FrameLimits
from protocols.sv2.mining import (
    CloseChannel,
    NewExtendedMiningJob,
    OpenExtendedMiningChannel,
    OpenMiningChannelError,
    OpenStandardMiningChannel,
    SetCustomMiningJob,
    SetCustomMiningJobError,
    SubmitSharesError,
    SubmitSharesExtended,
    SubmitSharesSuccess,
    UpdateChannel,
    UpdateChannelError,
)
from protocols.sv2.setup import REQUIRES_STANDARD_JOBS, REQUIRES_VERSION_ROLLING, REQUIRES_WORK_SELECTION
from protocols.sv2.template_distribution import RequestTransactionData, RequestTransactionDataError
from protocols.sv2.tlv import Tlv
from roles.node_client.client import NodeClient
from roles.node_client.credentials import CookieFile
from roles.runtime.errors import ConnectFailed
from roles.runtime.sv2_connection import connect
from tests.functional.development import REWARD, Development
from tests.functional.processes import Site
from tests.functional.sv2_peer import Server, goes_on, setup
from tests.roles.pool.house import Channel, Miner
from tests.roles.pool.neighbours import ANY_TARGET, ON_MINING_LINK

pytest.importorskip("pbk", reason="needs py-bitcoinkernel, the node extra")
pytestmark = [pytest.mark.functional, pytest.mark.asyncio(loop_scope="module")]

KEY = public_key(bytes(31) + b"\x21")
OTHER_KEY = public_key(bytes(31) + b"\x22")
TEXT = encode_key(KEY)
CHANNELS = {"pool": 12, "proxy": 4}
BOTH = pytest.mark.parametrize("where", ["pool", "proxy"])
PROTOCOLS = {
    "pool": PROTOCOL_MINING,
    "proxy": PROTOCOL_MINING,
    "template_provider": PROTOCOL_TEMPLATE_DISTRIBUTION,
    "mint": PROTOCOL_ISSUANCE,
}
EVERY = pytest.mark.parametrize("where", list(PROTOCOLS))
ALL_FLAGS = 0xFFFFFFFF
EDGE_FLAGS = REQUIRES_STANDARD_JOBS | REQUIRES_VERSION_ROLLING
FLAGS = {"pool": EDGE_FLAGS | REQUIRES_WORK_SELECTION, "proxy": EDGE_FLAGS}


@dataclass
class Chain:
    """Everything from the node to the proxy, and a good miner at each server of miners."""

    development: Development
    servers: dict[str, Server]
    good: dict[str, Channel]
    node: NodeClient


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("pool")) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chain(site: Site) -> AsyncIterator[Chain]:
    development = Development(site)
    node = development.daemon("regtest_node")
    mint = development.daemon("mint")
    provider = development.daemon("template_provider")
    pool = development.daemon(
        "pool",
        vardiff__floor_hashes="256",
        vardiff__shares_per_minute="6000",
        limits__channels_per_connection=str(CHANNELS["pool"]),
        users=f'["good", "miner", "{TEXT}", "{encode_key(OTHER_KEY)}"]',
        # Nothing that is mined here is a block.
        shared__regtest__block_difficulty=str(1 << 40),
    )
    proxy = development.daemon("proxy", limits__channels_per_connection=str(CHANNELS["proxy"]))
    await development.start()
    keys = development.keys
    servers = {
        "pool": Server.of(pool, "listen_address", keys.pool, "pool"),
        "proxy": Server.of(proxy, "listen_address", keys.proxy, "downstream"),
        "template_provider": Server.of(
            provider, "listen_address", keys.template_provider, "template_provider"
        ),
        "mint": Server.of(mint, "issuance_address", keys.mint, "issuance"),
    }
    good = {name: await (await servers[name].miner()).open(user="good") for name in ("pool", "proxy")}
    url = f"http://{node.settings['rpc_address']}"
    async with NodeClient(url, CookieFile(node.state / ".cookie")) as client:
        yield Chain(development, servers, good, client)
    for channel in good.values():
        channel.miner.link.close()


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def the_others_notice_nothing(chain: Chain) -> AsyncIterator[None]:
    """After each test the good miners go on."""
    yield
    for channel in chain.good.values():
        await goes_on(channel)


# SetupConnection


@EVERY
async def test_every_server_refuses_a_setup_by_its_code_and_names_all_flags_that_it_lacks(
    chain: Chain, where: str
) -> None:
    protocol = PROTOCOLS[where]
    supported = FLAGS.get(where, 0)
    server = chain.servers[where]
    refusals = [
        (setup(protocol ^ 1), SetupConnectionError(0, "unsupported-protocol")),
        (setup(0x77), SetupConnectionError(0, "unsupported-protocol")),
        (setup(protocol, versions=(3, 9)), SetupConnectionError(0, "protocol-version-mismatch")),
        (setup(protocol, versions=(0, 1)), SetupConnectionError(0, "protocol-version-mismatch")),
        (
            setup(protocol, flags=ALL_FLAGS),
            SetupConnectionError(ALL_FLAGS & ~supported, "unsupported-feature-flags"),
        ),
        (
            setup(protocol, flags=supported | 1 << 9 | 1 << 31),
            SetupConnectionError(1 << 9 | 1 << 31, "unsupported-feature-flags"),
        ),
    ]
    for request, refusal in refusals:
        peer = Miner(await server.dial())
        peer.say(request)
        assert await peer.receive() == refusal
        await peer.closed()
        assert await server.ended(refusal.error_code) >= 1
    peer = Miner(await server.dial())
    peer.say(setup(protocol, versions=(0, 9), flags=supported))
    assert isinstance(await peer.receive(), SetupConnectionSuccess)
    peer.link.close()


@EVERY
async def test_a_client_that_expects_another_authority_key_does_not_talk_to_the_server(
    chain: Chain, where: str
) -> None:
    server = chain.servers[where]
    with pytest.raises(ConnectFailed, match=str(server.address)) as failed:
        await connect(server.address, public_of(bytes(31) + b"\x77"), limit=FrameLimits(ON_MINING_LINK))
    assert failed.value.code == "wrong-authority"
    assert "`hashpool keys show`" in str(failed.value)


# OpenMiningChannel


def extended(**fields: Any) -> OpenExtendedMiningChannel:
    base: dict[str, Any] = {
        "request_id": 5,
        "user_identity": "miner",
        "nominal_hash_rate": 0.0,
        "max_target": ANY_TARGET,
        "min_extranonce_size": 8,
    }
    return OpenExtendedMiningChannel(**(base | fields))


@BOTH
@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"user_identity": "nobody"}, "unknown-user"),
        ({"user_identity": "good-but-not-that-good"}, "unknown-user"),
        ({"user_identity": TEXT[:-1]}, "invalid-user-identity"),
        ({"user_identity": f"k={TEXT[:-2]}zz.rig"}, "invalid-user-identity"),
        ({"user_identity": "02" + "ff" * 32}, "invalid-user-identity"),
        ({"max_target": 0}, "max-target-out-of-range"),
        ({"max_target": 1 << 200}, "max-target-out-of-range"),
        ({"min_extranonce_size": 17}, "min-extranonce-size-too-large"),
        ({"min_extranonce_size": 0xFFFF}, "min-extranonce-size-too-large"),
    ],
)
async def test_an_open_that_cannot_be_granted_is_answered_by_its_code(
    chain: Chain, where: str, fields: dict[str, Any], code: str
) -> None:
    miner = await chain.servers[where].miner()
    miner.say(extended(**fields))
    assert await miner.receive() == OpenMiningChannelError(5, code)
    # The connection is none the worse for it.
    await goes_on(await miner.open())
    miner.link.close()


@BOTH
@pytest.mark.parametrize("rate", [float("nan"), float("inf"), -1.0])
async def test_a_hash_rate_that_is_no_number_is_refused_by_its_code(
    chain: Chain, where: str, rate: float
) -> None:
    miner = await chain.servers[where].miner()
    channel = await miner.open()
    code = "invalid-nominal-hashrate"
    for message, place, answer in (
        (extended(), 10, OpenMiningChannelError(5, code)),
        (OpenStandardMiningChannel(6, "miner", 0.0, ANY_TARGET), 10, OpenMiningChannelError(6, code)),
        (UpdateChannel(channel.id, 0.0, ANY_TARGET), 4, UpdateChannelError(channel.id, code)),
    ):
        frame = encode(message)
        payload = frame.payload[:place] + struct.pack("<f", rate) + frame.payload[place + 4 :]
        miner.link.send(frame._replace(payload=payload))
        assert await miner.hear(OpenMiningChannelError, UpdateChannelError) == answer
    await goes_on(channel)
    miner.link.close()


@BOTH
async def test_a_connection_of_standard_jobs_gets_no_extended_channel(chain: Chain, where: str) -> None:
    miner = await chain.servers[where].miner(flags=REQUIRES_STANDARD_JOBS)
    miner.say(extended())
    refusal = OpenMiningChannelError(5, "extended-channels-not-supported-for-standard-jobs")
    assert await miner.receive() == refusal
    await goes_on(await miner.open(standard=True))
    miner.link.close()


@BOTH
async def test_a_connection_has_a_bounded_number_of_channels(chain: Chain, where: str) -> None:
    miner = await chain.servers[where].miner()
    opened = [await miner.open() for _ in range(CHANNELS[where])]
    miner.say(extended())
    refusal = OpenMiningChannelError(5, "channel-capacity-exhausted")
    assert await miner.hear(OpenMiningChannelError) == refusal
    miner.say(CloseChannel(opened[0].id, ""))
    await goes_on(await miner.open())
    miner.link.close()


@BOTH
async def test_no_size_of_extranonce_is_too_small(chain: Chain, where: str) -> None:
    """Why unsupported-min-extranonce-size cannot arise: every size up to the server's own is granted."""
    granted = {"pool": 16, "proxy": 12}[where]
    for least in (0, 1, granted):
        miner = await chain.servers[where].miner()
        channel = await miner.open(least=least)
        assert channel.success.extranonce_size == granted
        miner.link.close()


async def test_custom_work_is_refused_by_its_codes(chain: Chain) -> None:
    """The pool lets a client come that selects its work, the proxy none; neither takes its jobs."""
    refusal = SetupConnectionError(REQUIRES_WORK_SELECTION, "unsupported-feature-flags")
    peer = Miner(await chain.servers["proxy"].dial())
    peer.say(setup(PROTOCOL_MINING, flags=REQUIRES_WORK_SELECTION))
    assert await peer.receive() == refusal
    await peer.closed()
    selecting = await chain.servers["pool"].miner(flags=REQUIRES_WORK_SELECTION)
    selecting.say(OpenStandardMiningChannel(6, "miner", 0.0, ANY_TARGET))
    code = "standard-channels-not-supported-for-custom-work"
    assert await selecting.receive() == OpenMiningChannelError(6, code)
    for miner in (selecting, await chain.servers["pool"].miner(), await chain.servers["proxy"].miner()):
        miner.say(SetCustomMiningJob(2, 3, b"", 0, bytes(32), 0, 0, 2, b"", 0, b"\0", 0, ()))
        assert await miner.receive() == SetCustomMiningJobError(2, 3, "jd-not-supported")
        miner.link.close()


@BOTH
@pytest.mark.parametrize("keys", [[KEY[:-1]], [b"\x02" + b"\xff" * 32], [KEY, KEY]])
async def test_a_locking_key_that_is_none_is_refused(chain: Chain, where: str, keys: list[bytes]) -> None:
    miner = await chain.servers[where].miner(extensions=True)
    miner.link.send(encode(extended(), [Tlv(EXTENSION, 1, key) for key in keys]))
    assert await miner.receive() == OpenMiningChannelError(5, "invalid-user-identity")
    miner.link.close()


# Shares


async def refused(channel: Channel, share: Any) -> str:
    """Submit a share that is refused, and return the code."""
    channel.submit(share)
    answer = await channel.miner.hear(SubmitSharesSuccess, SubmitSharesError)
    assert isinstance(answer, SubmitSharesError), answer
    assert answer.sequence_number == share.sequence_number
    return answer.error_code


@BOTH
@pytest.mark.parametrize("standard", [False, True], ids=["extended", "standard"])
async def test_a_bad_share_is_refused_by_its_code_and_the_next_good_one_counts(
    chain: Chain, where: str, standard: bool
) -> None:
    miner = await chain.servers[where].miner()
    channel = await miner.open(standard=standard)
    good = channel.mine()
    least = channel.tip.min_ntime if channel.tip else 0
    above = channel.mine(low=channel.target + 1, target=ANY_TARGET)
    bad: list[tuple[Any, str]] = [
        (replace(good, channel_id=99), "invalid-channel-id"),
        (replace(good, job_id=0xFFFFFF), "invalid-job-id"),
        (replace(good, ntime=least - 1), "invalid-share"),
        (replace(good, ntime=0xFFFFFFFF), "invalid-share"),
        (replace(good, version=good.version ^ 1), "invalid-non-rollable-version-bit"),
        (replace(good, version=good.version ^ 1 << 31), "invalid-non-rollable-version-bit"),
        (above, "difficulty-too-low"),
    ]
    if isinstance(good, SubmitSharesExtended):
        bad += [
            (replace(good, extranonce=good.extranonce[:-1]), "bad-extranonce-size"),
            (replace(good, extranonce=good.extranonce + b"\0"), "bad-extranonce-size"),
            (replace(good, extranonce=b""), "bad-extranonce-size"),
        ]
    for share, code in bad:
        assert (share, await refused(channel, share)) == (share, code)
    channel.submit(good)
    assert isinstance(await miner.hear(SubmitSharesSuccess, SubmitSharesError), SubmitSharesSuccess)
    assert await refused(channel, good) == "duplicate-share"
    await goes_on(channel)
    miner.link.close()


@BOTH
async def test_every_job_lets_its_version_be_rolled(chain: Chain, where: str) -> None:
    """Why version-rolling-not-allowed cannot arise: no job of ours forbids it."""
    miner = await chain.servers[where].miner()
    channel = await miner.open()
    jobs = [job for job in channel.jobs.values() if isinstance(job, NewExtendedMiningJob)]
    assert jobs
    assert all(job.version_rolling_allowed for job in jobs)
    miner.link.close()


async def test_a_share_submitted_twice_is_credited_once_and_to_its_first_key(chain: Chain) -> None:
    server = chain.servers["pool"]
    miner = await server.miner(extensions=True)
    channel = await miner.open(user=TEXT)
    share = channel.mine()
    before = await server.count("hashpool_ledger_seq")
    for _ in range(3):
        channel.submit(share)
        answer = await miner.hear(SubmitSharesSuccess, SubmitSharesError)
        assert isinstance(answer, SubmitSharesSuccess), answer
    channel.submit(share, key=OTHER_KEY)
    answer = await miner.hear(SubmitSharesSuccess, SubmitSharesError)
    assert answer == SubmitSharesError(channel.id, share.sequence_number, "duplicate-share")
    assert await server.count("hashpool_ledger_seq") == before + 1
    miner.link.close()


async def test_a_share_for_the_tip_before_is_stale(chain: Chain) -> None:
    channels = []
    for where in ("pool", "proxy"):
        miner = await chain.servers[where].miner()
        channels.append(await miner.open())
    old = [channel.mine() for channel in channels]
    everybody = (*channels, *chain.good.values())
    tips = [channel.tip for channel in everybody]
    await chain.node.call("generatetoaddress", 1, REWARD)
    for channel, tip in zip(everybody, tips, strict=True):
        while channel.tip is tip:
            await channel.miner.receive()
    for channel, share in zip(channels, old, strict=True):
        assert await refused(channel, share) == "stale-share"
        await goes_on(channel)
        channel.miner.link.close()


# Frames

SHARE = 0x1B
OPEN = 0x13


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (Frame(0, True, SHARE, bytes(100_000)), "oversized-frame"),
        (Frame(0, False, 0xEE, bytes(100_000)), "oversized-frame"),
        (Frame(0, False, OPEN, b"\1\2\3"), "malformed-message"),
        (Frame(0, True, SHARE, bytes(23)), "malformed-message"),
        (Frame(0, True, 0x1A, bytes(25)), "malformed-tlv"),
        (encode(setup(PROTOCOL_MINING)), "unexpected-message"),
    ],
    ids=["oversized", "oversized unknown", "truncated open", "truncated share", "a byte too many", "twice"],
)
@BOTH
async def test_a_frame_that_breaks_the_protocol_ends_its_connection_and_no_other(
    chain: Chain, where: str, frame: Frame, reason: str
) -> None:
    server = chain.servers[where]
    before = await server.ended(reason)
    miner = await server.miner()
    await miner.open()
    miner.link.send(frame)
    await miner.closed()
    assert await server.ended(reason) == before + 1


@BOTH
async def test_messages_of_unknown_type_are_passed_over(chain: Chain, where: str) -> None:
    miner = await chain.servers[where].miner()
    miner.link.send(Frame(0, False, 0xEE, b"what"), Frame(0x1234, True, 1, bytes(8)))
    await goes_on(await miner.open())
    miner.link.close()


@EVERY
async def test_a_connection_cut_within_a_frame_costs_nobody_else_anything(chain: Chain, where: str) -> None:
    stream = await chain.servers[where].stream()
    sealed = stream.seal(setup(PROTOCOLS[where]))
    stream.writer.write(sealed[: len(sealed) - 5])
    await stream.close()


@EVERY
async def test_a_frame_with_a_flipped_bit_ends_its_connection(chain: Chain, where: str) -> None:
    server = chain.servers[where]
    before = await server.ended("frame-forged")
    stream = await server.stream()
    sealed = stream.seal(setup(PROTOCOLS[where]))
    stream.writer.write(sealed[:-1] + bytes([sealed[-1] ^ 1]))
    await stream.closed()
    assert await server.ended("frame-forged") == before + 1


@EVERY
async def test_a_peer_that_speaks_something_else_is_let_go(chain: Chain, where: str) -> None:
    server = chain.servers[where]
    reader, writer = await asyncio.open_connection(server.address.host, server.address.port)
    writer.write(b"GET / HTTP/1.1\r\n" * 20)
    with contextlib.suppress(ConnectionError):
        assert len(await reader.read()) <= ACT2_SIZE
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


@pytest.mark.parametrize(
    ("where", "frame", "reason"),
    [
        ("template_provider", Frame(0, False, 0x74, bytes(1 << 23)), "oversized-frame"),
        ("template_provider", Frame(0, False, 0x70, b"\1"), "malformed-message"),
        ("mint", Frame(EXTENSION, False, 0x12, bytes(1 << 20)), "oversized-frame"),
        ("mint", Frame(EXTENSION, False, 0x10, bytes(50)), "malformed-message"),
    ],
)
async def test_the_servers_of_the_pool_side_end_who_breaks_the_protocol_and_no_other(
    chain: Chain, where: str, frame: Frame, reason: str
) -> None:
    server = chain.servers[where]
    before = await server.ended(reason)
    peer = Miner(await server.dial())
    peer.say(setup(PROTOCOLS[where]))
    assert isinstance(await peer.receive(), SetupConnectionSuccess)
    peer.link.send(frame)
    await peer.closed()
    assert await server.ended(reason) == before + 1


async def test_a_template_provider_passes_over_what_it_does_not_know(chain: Chain) -> None:
    peer = Miner(await chain.servers["template_provider"].dial())
    peer.say(setup(PROTOCOL_TEMPLATE_DISTRIBUTION))
    assert isinstance(await peer.receive(), SetupConnectionSuccess)
    peer.link.send(Frame(0, False, 0xEE, b"what"), encode(RequestTransactionData(77)))
    answer, _ = TEMPLATE_DISTRIBUTION.decode(await peer.link.receive())
    assert answer == RequestTransactionDataError(77, "template-id-not-found")
    peer.link.close()
