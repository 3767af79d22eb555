"""What becomes of channels that are open when the operator comes to turn their miners away."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from protocols.ehash.key_text import encode_key
from protocols.sv2.codec import encode
from protocols.sv2.mining import (
    CloseChannel,
    NewExtendedMiningJob,
    OpenExtendedMiningChannel,
    OpenMiningChannelError,
    SubmitSharesError,
    SubmitSharesSuccess,
)
from protocols.sv2.setup import REQUIRES_STANDARD_JOBS
from protocols.sv2.template_distribution import SubmitSolution
from roles.credit.issuer_key import LEDGER_NAME
from roles.runtime.storage import open_readonly
from shared_config.ban import BanSettings
from tests.roles.pool.held_disk import Disk
from tests.roles.pool.house import Channel, House
from tests.roles.pool.neighbours import ANY_TARGET, KEY, OTHER_KEY, soon

SLOW = {"shares": 10, "delay_ms": 5_000}
"""So slow that what is answered in time is not answered by the timer."""


def ban(house: House, *names: str, hosts: Sequence[str] = ()) -> None:
    """Read a configuration again that turns these away, by name or by key."""
    daemon = house.daemon
    assert daemon
    settings = BanSettings.model_validate({"names": names, "hosts": hosts})
    daemon.take(daemon.config.model_copy(update={"ban": settings}), daemon.shared)


def ledgered(house: House) -> int:
    with open_readonly(house.state / LEDGER_NAME) as ledger:
        [(rows,)] = ledger.execute("SELECT count(*) FROM audit_share").fetchall()
    return int(rows)


async def accepted(channel: Channel) -> bool:
    channel.submit(channel.mine())
    return isinstance(await channel.miner.hear(SubmitSharesSuccess, SubmitSharesError), SubmitSharesSuccess)


async def closed(channels: Sequence[Channel]) -> set[str]:
    """Wait until these channels are closed, and no others; returns why."""
    told = [await channel.miner.hear(CloseChannel) for channel in channels]
    assert {each.channel_id for each in told} == {channel.id for channel in channels}
    await channels[0].miner.hears_nothing(CloseChannel, within=0.05)
    return {each.reason_code for each in told}


@pytest.mark.parametrize("is_standard", [False, True])
async def test_a_ban_closes_the_channels_that_it_names_and_no_others(house: House, is_standard: bool) -> None:
    await house.start()
    farm = await house.miner(flags=REQUIRES_STANDARD_JOBS if is_standard else 0)
    named = [await farm.open(user=f"mallory.{number}", standard=is_standard) for number in range(2)]
    keyed = await farm.open(user=encode_key(KEY), standard=is_standard)
    good = await farm.open(user="alice", standard=is_standard)
    assert all([await accepted(channel) for channel in (*named, keyed, good)])
    ban(house, "mallory", encode_key(KEY))
    assert await closed([*named, keyed]) == {"banned-by-operator"}
    assert await accepted(good)
    named[0].submit(named[0].mine())
    assert (await farm.hear(SubmitSharesError)).error_code == "invalid-channel-id"
    assert house.metric("hashpool_pool_channels", kind="standard" if is_standard else "extended") == 1
    assert house.metric("hashpool_banned_total", by="name") == 2
    assert house.metric("hashpool_banned_total", by="key") == 1
    farm.say(OpenExtendedMiningChannel(9, "mallory.1", 0.0, ANY_TARGET, 8))
    await farm.hear(OpenMiningChannelError)


async def test_who_is_left_of_a_group_goes_on_with_its_work(house: House) -> None:
    await house.start()
    farm = await house.miner()
    bad, good = await farm.open(user="mallory"), await farm.open(user="alice")
    ban(house, "mallory")
    await closed([bad])
    house.provider.fees(value=5_000_001_000)
    job = await good.work()
    assert isinstance(job, NewExtendedMiningJob)
    assert job.channel_id == good.success.group_channel_id
    assert await accepted(good)


async def test_shares_that_wait_for_their_answer_have_it_before_the_channel_is_closed(house: House) -> None:
    house.settings["acknowledgement"] = SLOW
    await house.start()
    channel = await (await house.miner()).open(user="mallory")
    channel.submit(*(channel.mine() for _ in range(3)))
    await soon(lambda: house.metric("hashpool_pool_shares_accepted_total") == 3)
    ban(house, "mallory")
    answer = await channel.miner.hear(SubmitSharesSuccess, CloseChannel)
    assert (answer.last_sequence_number, answer.new_submits_accepted_count) == (3, 3)
    await closed([channel])


async def test_a_channel_is_closed_only_when_the_ledger_has_its_shares(house: House, disk: Disk) -> None:
    house.settings["acknowledgement"] = SLOW
    await house.start()
    farm = await house.miner(extensions=True)
    bad, good = await farm.open(user="mallory", key=KEY), await farm.open(user="alice", key=KEY)
    disk.ready.clear()
    before = disk.writes
    bad.submit(bad.mine(), bad.mine())
    await soon(lambda: disk.writes > before)
    ban(house, "mallory")
    # What comes behind is read when the channel has gone.
    bad.submit(bad.mine())
    await farm.hears_nothing(SubmitSharesSuccess, SubmitSharesError, CloseChannel)
    disk.ready.set()
    answer = await farm.hear(SubmitSharesSuccess, SubmitSharesError, CloseChannel)
    assert (answer.last_sequence_number, answer.new_submits_accepted_count) == (2, 2)
    assert isinstance(await farm.hear(CloseChannel, SubmitSharesError), CloseChannel)
    assert (await farm.hear(SubmitSharesError)).error_code == "invalid-channel-id"
    assert ledgered(house) == 2
    good.submit(*(good.mine() for _ in range(10)))
    assert (await farm.hear(SubmitSharesSuccess)).channel_id == good.id


async def test_who_is_cut_off_while_its_last_shares_are_written_keeps_them(house: House, disk: Disk) -> None:
    await house.start()
    channel = await (await house.miner(extensions=True)).open(user="mallory", key=KEY)
    disk.ready.clear()
    before = disk.writes
    channel.submit(channel.mine())
    await soon(lambda: disk.writes > before)
    ban(house, "mallory", hosts=["127.0.0.1"])
    await channel.miner.closed()
    assert ledgered(house) == 0
    disk.ready.set()
    await soon(lambda: house.metric("hashpool_pool_channels", kind="extended") == 0)
    assert ledgered(house) == 1
    ban(house)
    assert await accepted(await (await house.miner()).open(user="alice"))


async def test_a_key_that_a_share_names_by_itself_is_banned_too_and_its_block_is_not_lost(
    house: House,
) -> None:
    house.block_hashes = 1024
    await house.start()
    channel = await (await house.miner(extensions=True)).open(user="proxy", key=KEY)
    known = channel.mine(low=(1 << 256) // 1024)
    channel.submit(known, key=OTHER_KEY)
    await channel.miner.hear(SubmitSharesSuccess)
    ban(house, encode_key(OTHER_KEY))
    block = channel.mine(target=(1 << 256) // 1024 - 1)
    channel.submit(block, key=OTHER_KEY)
    assert (await channel.miner.hear(SubmitSharesError)).error_code == "banned-by-operator"
    assert (await house.provider.hear(SubmitSolution)).header_nonce == block.nonce
    assert house.metric("hashpool_pool_shares_rejected_total", code="banned-by-operator") == 1
    # What it has been told to have earned it has.
    channel.submit(replace(known, sequence_number=90), key=OTHER_KEY)
    assert (await channel.miner.hear(SubmitSharesSuccess)).last_sequence_number == 90
    channel.submit(replace(block, sequence_number=91))
    assert (await channel.miner.hear(SubmitSharesSuccess)).last_sequence_number == 91
    assert ledgered(house) == 2


async def test_the_token_of_a_channel_that_was_turned_away_is_worth_nothing(house: House) -> None:
    await house.start()
    farm = await house.miner(extensions=True)
    channel = await farm.open(user="mallory", key=KEY)
    token = farm.token
    assert token is not None
    ban(house, "mallory")
    await closed([channel])
    ban(house)
    again = await (await house.miner(extensions=True)).open(user="mallory", key=KEY, token=token)
    assert again.prefix != channel.prefix


async def test_a_crowd_is_turned_away_in_turns_with_others(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roles.pool.session.SLICE", 2)
    await house.start()
    farm = await house.miner()
    channels = [await farm.open(user=f"mallory.{number}") for number in range(5)]
    ban(house, "mallory")
    assert await closed(channels) == {"banned-by-operator"}
    farm.link.send(encode(OpenExtendedMiningChannel(9, "alice", 0.0, ANY_TARGET, 8)))
    await farm.receive()
