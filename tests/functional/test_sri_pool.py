"""What the reference implementation's black-box tests ask of a pool, by a scripted client of our own.

Node, template provider and pool run once for all tests; proxy and translator are added by the tests of the
edge, which come last.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio

from protocols.bitcoin.address import address_from_script
from protocols.bitcoin.hashing import sha256
from protocols.bitcoin.header import parse_block
from protocols.bitcoin.networks import Network
from protocols.bitcoin.script import witness_program
from protocols.bitcoin.target import from_work, work
from protocols.bitcoin.transaction import Transaction, TxIn, TxOut
from protocols.noise.authority import decode_public
from protocols.sv2.codec import TEMPLATE_DISTRIBUTION, encode
from protocols.sv2.connection import (
    PROTOCOL_JOB_DECLARATION,
    PROTOCOL_MINING,
    PROTOCOL_TEMPLATE_DISTRIBUTION,
    SetupConnectionError,
    SetupConnectionSuccess,
)
from protocols.sv2.limits import FrameLimits
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
)
from protocols.sv2.setup import REQUIRES_STANDARD_JOBS, REQUIRES_VERSION_ROLLING, REQUIRES_WORK_SELECTION
from protocols.sv2.template_distribution import CoinbaseOutputConstraints, NewTemplate
from protocols.sv2.template_distribution import SetNewPrevHash as TemplateTip
from roles.node_client.client import NodeClient
from roles.node_client.credentials import CookieFile
from roles.runtime.sv2_connection import Sv2Connection, connect
from shared_config.address import Address
from tests.functional.development import Development
from tests.functional.processes import PATIENCE_S, Daemon, Site
from tests.functional.sv2_peer import Server, setup
from tests.roles.pool.house import Channel, Miner
from tests.roles.pool.neighbours import ANY_TARGET
from tests.roles.translator.fake_miners import FakeMiner

pytest.importorskip("pbk", reason="needs py-bitcoinkernel, the node extra")
pytestmark = [pytest.mark.functional, pytest.mark.asyncio(loop_scope="module")]

GROUP = 1
CHANNELS = 10
QUIET_S = 1.0
"""How long one listens for a message that must not come."""
HANDSHAKE_S = 3
BLOCK_HASHES = 1 << 14
BLOCK = from_work(BLOCK_HASHES)
ANYONE = b"\x51"
"""A script that anyone can spend, behind a P2WSH output."""
LOCKED = witness_program(0, sha256(ANYONE))
FEE = 5_000
WORK = (NewMiningJob, NewExtendedMiningJob, SetNewPrevHash, SetTarget)
BOTH = pytest.mark.parametrize("standard", [False, True], ids=["extended", "standard"])


@dataclass
class System:
    """The daemons, and a client of the node's own."""

    development: Development
    pool: Server
    provider: Daemon
    node: NodeClient
    _spent: int = field(default=0)

    async def new_tip(self) -> None:
        """Another block, found by somebody else."""
        await self.node.call("generatetoaddress", 1, address_from_script(LOCKED, Network.REGTEST))

    async def new_transaction(self) -> None:
        """A transaction whose fee is worth another template."""
        self._spent += 1
        block = await self.node.block(await self.node.block_hash(self._spent))
        coinbase = parse_block(block)[1][0]
        paid = TxOut(coinbase.outputs[0].value - FEE, LOCKED)
        spending = Transaction(2, (TxIn(coinbase.txid, 0),), (paid,), ((ANYONE,),))
        await self.node.call("sendrawtransaction", spending.serialize().hex())

    async def template_client(self) -> Sv2Connection:
        """A connection to the template provider, set up as a pool does."""
        host, _, port = self.provider.settings["listen_address"].rpartition(":")
        authority = decode_public(self.development.keys.template_provider)
        limit = FrameLimits(TEMPLATE_DISTRIBUTION)
        link = await connect(Address(host, int(port)), authority, limit=limit)
        link.send(encode(setup(PROTOCOL_TEMPLATE_DISTRIBUTION)))
        assert isinstance(await next_message(link), SetupConnectionSuccess)
        link.send(encode(CoinbaseOutputConstraints(100, 4)))
        return link


async def next_message(link: Sv2Connection) -> Any:
    """The next message of template distribution."""
    async with asyncio.timeout(PATIENCE_S):
        message, _ = TEMPLATE_DISTRIBUTION.decode(await link.receive())
    return message


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("sri")) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(site: Site) -> AsyncIterator[System]:
    development = Development(site)
    node = development.daemon("regtest_node")
    provider = development.daemon("template_provider", fee_check_s="0.5")
    pool = development.daemon(
        "pool",
        # At the floor a miner that says nothing for a while has no easier target to be given.
        vardiff__floor_hashes="256",
        vardiff__shares_per_minute="6000",
        limits__handshake_s=str(HANDSHAKE_S),
        shared__regtest__block_difficulty=str(BLOCK_HASHES),
    )
    await development.start()
    url = f"http://{node.settings['rpc_address']}"
    async with NodeClient(url, CookieFile(node.state / ".cookie")) as client:
        await client.call("generatetoaddress", 130, address_from_script(LOCKED, Network.REGTEST))
        server = Server.of(pool, "listen_address", development.keys.pool, "pool")
        made = System(development, server, provider, client)
        await pool_is_at_the_tip(made)
        yield made


async def pool_is_at_the_tip(system: System) -> None:
    """Wait until the pool gives out work on the node's tip."""
    tip = bytes.fromhex(await system.node.call("getbestblockhash"))[::-1]
    miner = await system.pool.miner()
    channel = await miner.open()
    async with asyncio.timeout(PATIENCE_S):
        while channel.tip is None or channel.tip.prev_hash != tip:
            await miner.receive()
    miner.link.close()


async def heard(miner: Miner, count: int) -> list[Any]:
    """The next messages, as many as are said to come, and no more for a while."""
    messages = [await miner.receive() for _ in range(count)]
    await miner.hears_nothing(object, within=QUIET_S)
    return messages


async def accepted(channel: Channel, job: Any = None) -> None:
    """A share that is no block is accepted."""
    share = channel.mine(job=job, low=BLOCK + 1)
    channel.submit(share)
    answer = await channel.miner.hear(SubmitSharesSuccess, SubmitSharesError)
    assert isinstance(answer, SubmitSharesSuccess), answer
    assert (answer.channel_id, answer.last_sequence_number) == (channel.id, share.sequence_number)


async def open_channels(miner: Miner, *, standard: bool) -> list[Channel]:
    """Ten channels, each with a first job and tip of its own."""
    channels = []
    for _ in range(CHANNELS):
        channel = await miner.open(standard=standard, rate=1000.0)
        assert channel.success.group_channel_id == GROUP
        assert channel.id != GROUP
        [job] = channel.jobs.values()
        assert isinstance(job, NewMiningJob if standard else NewExtendedMiningJob)
        assert (job.channel_id, job.min_ntime) == (channel.id, None)
        assert channel.tip
        assert channel.tip.channel_id == channel.id
        channels.append(channel)
    assert [channel.id for channel in channels] == list(range(2, 2 + CHANNELS))
    return channels


# Setting up


@pytest.mark.parametrize(
    ("protocol", "versions", "code"),
    [
        (PROTOCOL_TEMPLATE_DISTRIBUTION, (2, 2), "unsupported-protocol"),
        (PROTOCOL_JOB_DECLARATION, (2, 2), "unsupported-protocol"),
        (PROTOCOL_MINING, (3, 3), "protocol-version-mismatch"),
        (PROTOCOL_MINING, (0, 1), "protocol-version-mismatch"),
    ],
)
async def test_another_protocol_or_version_is_refused(
    system: System, protocol: int, versions: tuple[int, int], code: str
) -> None:
    miner = Miner(await system.pool.dial())
    miner.say(setup(protocol, versions=versions))
    assert await miner.receive() == SetupConnectionError(0, code)
    await miner.closed()


async def test_version_two_is_granted(system: System) -> None:
    miner = Miner(await system.pool.dial())
    assert await miner.set_up() == SetupConnectionSuccess(2, 0)
    miner.link.close()


async def test_who_does_not_shake_hands_is_let_go_and_nobody_waits_for_it(system: System) -> None:
    address = system.pool.address
    reader, writer = await asyncio.open_connection(address.host, address.port)
    silent = Miner(await system.pool.dial())
    miner = await system.pool.miner()
    await accepted(await miner.open())
    miner.link.close()
    async with asyncio.timeout(HANDSHAKE_S + PATIENCE_S):
        assert await reader.read() == b""
        # Nor may one stay that has shaken hands and says no more.
        await silent.closed()
    writer.close()
    await writer.wait_closed()


# Work


@BOTH
async def test_a_share_is_accepted(system: System, standard: bool) -> None:
    miner = await system.pool.miner()
    await accepted(await miner.open(standard=standard, rate=1000.0))
    miner.link.close()


async def test_the_time_of_work_is_that_of_the_template_provider(system: System) -> None:
    provider = await system.template_client()
    template, tip = await next_message(provider), await next_message(provider)
    assert isinstance(template, NewTemplate)
    assert isinstance(tip, TemplateTip)
    assert template.future_template
    assert template.template_id == tip.template_id
    miner = await system.pool.miner()
    channel = await miner.open()
    before = channel.tip
    assert before
    await system.new_tip()
    while not isinstance(tip, TemplateTip) or tip.prev_hash == before.prev_hash:
        tip = await next_message(provider)
    while channel.tip is None or channel.tip.prev_hash != tip.prev_hash:
        await miner.receive()
    assert channel.tip.min_ntime == tip.header_timestamp
    await system.new_transaction()
    job = await channel.work()
    assert job.min_ntime == tip.header_timestamp
    await accepted(channel)
    provider.close()
    miner.link.close()


@BOTH
async def test_channels_are_a_group_that_is_sent_one_job_and_one_tip(system: System, standard: bool) -> None:
    miner = await system.pool.miner()
    channels = await open_channels(miner, standard=standard)
    await system.new_transaction()
    [job] = await heard(miner, 1)
    assert isinstance(job, NewExtendedMiningJob)
    assert job.channel_id == GROUP
    assert job.min_ntime is not None
    for channel in channels:
        await accepted(channel)
        await accepted(channel, next(iter(channel.jobs.values())))
    await system.new_tip()
    job, tip = await heard(miner, 2)
    assert (type(job), job.channel_id, job.min_ntime) == (NewExtendedMiningJob, GROUP, None)
    assert (type(tip), tip.channel_id, tip.job_id) == (SetNewPrevHash, GROUP, job.job_id)
    for channel in channels:
        await accepted(channel)
    miner.link.close()


async def test_members_of_both_kinds_have_one_size_of_extranonce(system: System) -> None:
    miner = await system.pool.miner()
    standard, extended = await miner.open(standard=True), await miner.open(least=2)
    assert len(standard.prefix) == 20
    assert len(extended.prefix) + extended.success.extranonce_size == 20
    await system.new_transaction()
    await heard(miner, 1)
    for channel in (standard, extended):
        await accepted(channel)
    miner.link.close()


async def test_standard_jobs_go_to_each_channel_and_none_to_the_group(system: System) -> None:
    miner = await system.pool.miner(flags=REQUIRES_STANDARD_JOBS)
    channels = await open_channels(miner, standard=True)
    ids = [channel.id for channel in channels]
    await system.new_transaction()
    jobs = await heard(miner, CHANNELS)
    assert [(type(job), job.channel_id) for job in jobs] == [(NewMiningJob, each) for each in ids]
    await system.new_tip()
    messages = await heard(miner, 2 * CHANNELS)
    assert [(type(each), each.channel_id) for each in messages] == [
        *((NewMiningJob, each) for each in ids),
        *((SetNewPrevHash, each) for each in ids),
    ]
    for channel in channels:
        await accepted(channel)
    miner.link.close()


async def test_an_extended_channel_is_refused_where_standard_jobs_are_required(system: System) -> None:
    miner = await system.pool.miner(flags=REQUIRES_STANDARD_JOBS)
    miner.say(OpenExtendedMiningChannel(7, "miner", 1000.0, ANY_TARGET, 8))
    code = "extended-channels-not-supported-for-standard-jobs"
    assert await miner.receive() == OpenMiningChannelError(7, code)
    miner.link.close()


async def test_who_selects_work_gets_neither_jobs_nor_tips(system: System) -> None:
    miner = await system.pool.miner(flags=REQUIRES_WORK_SELECTION)
    miner.say(OpenExtendedMiningChannel(7, "miner", 1000.0, ANY_TARGET, 8))
    assert isinstance(await miner.receive(), OpenExtendedMiningChannelSuccess)
    other = await system.pool.miner()
    channel = await other.open()
    await system.new_transaction()
    await channel.work()
    await system.new_tip()
    await channel.work()
    await miner.hears_nothing(*WORK, within=QUIET_S)
    miner.link.close()
    other.link.close()


@pytest.mark.parametrize("flags", [0, REQUIRES_WORK_SELECTION])
async def test_a_custom_job_is_refused_without_a_job_declaration_server(system: System, flags: int) -> None:
    miner = await system.pool.miner(flags=flags)
    miner.say(SetCustomMiningJob(21, 43, b"token", 0x20000000, bytes(32), 0, 0, 2, b"", 0, b"\0", 0, ()))
    assert await miner.receive() == SetCustomMiningJobError(21, 43, "jd-not-supported")
    miner.link.close()


async def test_a_mined_block_keeps_bip54(system: System) -> None:
    miner = await system.pool.miner()
    channel = await miner.open()
    share = channel.mine(target=BLOCK)
    channel.submit(share)
    block_hash = channel.hash_of(share)
    async with asyncio.timeout(PATIENCE_S):
        while (info := await system.node.block_info(block_hash)) is None or not info.in_active_chain:
            await asyncio.sleep(0.02)
        # The next work builds on it.
        while channel.tip is None or channel.tip.prev_hash != block_hash:
            await miner.receive()
    coinbase = parse_block(await system.node.block(block_hash))[1][0]
    assert coinbase.locktime == info.height - 1
    assert coinbase.inputs[0].sequence != 0xFFFFFFFF
    miner.link.close()


# Targets


async def test_a_new_target_comes_with_its_own_work_and_applies_to_nothing_before(system: System) -> None:
    miner = await system.pool.miner(flags=REQUIRES_VERSION_ROLLING)
    changed, other = [await miner.open(rate=1000.0) for _ in range(2)]
    first = changed.active
    miner.say(UpdateChannel(changed.id, 1000.0, ANY_TARGET))
    await miner.hears_nothing(object, within=QUIET_S)
    miner.say(UpdateChannel(changed.id, 1000.0, from_work(600)))
    target, job = await heard(miner, 2)
    assert (type(target), target.channel_id) == (SetTarget, changed.id)
    assert work(target.maximum_target) >= 600
    assert (type(job), job.channel_id) == (NewExtendedMiningJob, changed.id)
    assert job.min_ntime is not None
    assert job.coinbase_tx_prefix != first.coinbase_tx_prefix
    await system.new_transaction()
    [shared] = await heard(miner, 1)
    assert shared.channel_id == GROUP
    assert changed.target == target.maximum_target < other.target
    for channel, each in ((changed, first), (changed, job), (changed, shared), (other, shared)):
        await accepted(channel, each)
    weak = changed.mine(job=shared, low=changed.target + 1, target=other.target)
    changed.submit(weak)
    error = await miner.hear(SubmitSharesError)
    assert (error.channel_id, error.error_code) == (changed.id, "difficulty-too-low")
    miner.link.close()


async def test_a_translating_proxy_opens_mines_changes_and_closes(system: System) -> None:
    """A client that aggregates nothing: a channel for each of its miners, which come and go."""
    miner = await system.pool.miner(flags=REQUIRES_VERSION_ROLLING)
    channels = [await miner.open(user=f"account.worker{number}", least=4) for number in range(4)]
    miner.say(CloseChannel(channels[0].id, "downstream disconnected"), CloseChannel(channels[0].id, "again"))
    late = await miner.open(user="account.late", least=8)
    assert late.id == 6
    await system.new_tip()
    job, tip = await heard(miner, 2)
    assert (job.channel_id, tip.channel_id) == (GROUP, GROUP)
    for channel in (*channels[1:], late):
        await accepted(channel)
    channels[0].submit(channels[0].mine(low=BLOCK + 1))
    error = await miner.hear(SubmitSharesError)
    assert (error.channel_id, error.error_code) == (channels[0].id, "invalid-channel-id")
    miner.say(CloseChannel(GROUP, "bye"))
    other = await (await system.pool.miner()).open()
    await system.new_tip()
    await other.work()
    await miner.hears_nothing(*WORK, within=QUIET_S)
    miner.link.close()
    other.miner.link.close()


# The edge


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge(system: System) -> dict[str, Daemon]:
    """Mint, proxy and translator, beside what runs already."""
    development = system.development
    development.daemon("mint")
    proxy = development.daemon("proxy")
    translator = development.daemon("translator", start_difficulty="6e-8")
    await development.start()
    return {"proxy": proxy, "translator": translator}


async def told(rig: FakeMiner, count: int) -> None:
    """Wait for work after so many lines."""
    await rig.until(lambda: any(b"mining.notify" in line for line in rig.raw[count:]))


async def found(rig: FakeMiner) -> list[Any]:
    """The parameters of a share that is no block."""
    job = await rig.job()
    while True:
        params = rig.find(job)
        extranonce2, ntime, nonce = (bytes.fromhex(each) for each in params[2:5])
        version = int(job.params[5], 16)
        times = int.from_bytes(ntime, "big"), int.from_bytes(nonce, "big")
        if rig.header_hash(job, extranonce2, *times, version) > BLOCK:
            return params


async def test_proxy_and_translator_understand_work_for_the_group(
    system: System, edge: dict[str, Daemon]
) -> None:
    proxy = Server.of(edge["proxy"], "listen_address", system.development.keys.proxy, "downstream")
    miner = await proxy.miner()
    channels = [await miner.open(standard=number % 2 == 1) for number in range(4)]
    port = int(edge["translator"].settings["listen_address"].rpartition(":")[2])
    rigs = []
    for _ in range(2):
        rigs.append(await FakeMiner().connect(port))
        await rigs[-1].start()
    for change in (system.new_transaction, system.new_tip, system.new_transaction):
        jobs, counts = [channel.active for channel in channels], [len(rig.raw) for rig in rigs]
        await change()
        for channel, job in zip(channels, jobs, strict=True):
            while channel.active is job:
                await miner.receive()
            await accepted(channel)
        for rig, count in zip(rigs, counts, strict=True):
            await told(rig, count)
            answer = await rig.submit(await found(rig))
            assert answer["result"] is True, answer
    for rig in rigs:
        await rig.close()
    miner.link.close()
