"""The SV2 mining client at several upstreams: which it turns to, and when."""

import asyncio

import pytest

from protocols.sv2.mining import (
    CloseChannel,
    OpenExtendedMiningChannel,
    SetNewPrevHash,
    SubmitSharesSuccess,
)
from roles.stratum.mining_client import ClientTiming, Server
from roles.stratum.mining_session import SessionTiming
from roles.stratum.mining_setup import ClientIdentity
from roles.stratum.submissions import ACCEPTED, LOST, Verdict
from tests.roles.stratum.mining_bench import Bench, Eventually, Owner, Upstream, submit, success

SECOND = ClientIdentity("127.0.0.1", 34255, device="test")


@pytest.fixture
def backup(upstream: Upstream) -> Upstream:
    made: Upstream = type(upstream)()
    return made


def server(upstream: Upstream) -> Server:
    return Server(upstream.dial, SECOND, "second")


def timing(*, failback: float | None = 0.0, trial: float = 5.0, head_start: float = 1.0) -> ClientTiming:
    session = SessionTiming(watch=0.01, opening=5.0)
    return ClientTiming(failback=failback, check=0.01, trial=trial, head_start=head_start, session=session)


async def test_who_does_not_answer_is_not_waited_for_longer_than_its_head_start(
    upstream: Upstream, backup: Upstream, eventually: Eventually
) -> None:
    async def in_vain() -> None:
        await asyncio.get_running_loop().create_future()

    upstream.dial = in_vain
    bench = Bench(upstream, server(backup), timing=timing(head_start=0.02))
    async with bench.running():
        await (await backup.accept()).greet()
        await eventually(lambda: bench.client.upstream == "second")
        assert bench.client.failure == ""


async def test_without_a_failback_the_second_stays(upstream: Upstream, backup: Upstream) -> None:
    upstream.is_down = True
    bench = Bench(upstream, server(backup), timing=timing(failback=None))
    bench.client.open(Owner())
    async with bench.running():
        connection = await backup.accept()
        await connection.greet()
        await connection.grant(5)
        upstream.is_down = False
        await connection.expect_silence()
        assert bench.client.upstream == "second"
        assert upstream.dialled.empty()


async def test_channels_move_when_they_are_open_at_the_better_one_and_not_before(
    upstream: Upstream, backup: Upstream, eventually: Eventually
) -> None:
    upstream.is_down = True
    bench = Bench(upstream, server(backup), timing=timing())
    owners = [Owner(), Owner()]
    channels = [bench.client.open(owner) for owner in owners]
    async with bench.running():
        old = await backup.accept()
        await old.greet()
        await old.grant(5)
        await old.grant(6)
        upstream.is_down = False
        new = await upstream.accept()
        await new.greet()
        requests = [await new.expect(OpenExtendedMiningChannel) for _ in range(2)]
        verdicts: list[Verdict] = []
        submit(channels[0], verdicts)
        old.say(SubmitSharesSuccess(5, 1, 1, 1))
        await eventually(lambda: verdicts == [ACCEPTED])
        submit(channels[0], verdicts)
        late = bench.client.open(Owner())
        for request, channel_id in zip(requests, (7, 8), strict=True):
            new.say(success(request, channel_id))
        await eventually(lambda: all(channel.id > 6 for channel in channels))
        assert bench.client.upstream == "second"
        tip = SetNewPrevHash(1, 1, bytes(32), 0, 0)
        new.say(tip)
        await eventually(lambda: bench.client.upstream == "127.0.0.1:34254")
        assert verdicts == [ACCEPTED, LOST]
        assert [channel.id for channel in channels] == [7, 8]
        assert [owner.heard for owner in owners] == [[("opened", ())] * 2 + [tip]] * 2
        await eventually(lambda: old.is_closed)
        await new.grant(9)
        await eventually(lambda: late.is_open and late.id == 9)
        assert bench.count("connected") == 1
        await eventually(lambda: bench.count("channels") == 3)


async def test_a_better_one_that_is_lost_again_gives_the_channels_back(
    upstream: Upstream, backup: Upstream, eventually: Eventually
) -> None:
    upstream.is_down = True
    bench = Bench(upstream, server(backup), timing=timing())
    owners = [Owner(), Owner()]
    channels = [bench.client.open(owner) for owner in owners]
    async with bench.running():
        old = await backup.accept()
        await old.greet()
        await old.grant(5)
        await old.grant(6)
        upstream.is_down = False
        new = await upstream.accept()
        await new.greet()
        new.say(success(await new.expect(OpenExtendedMiningChannel), 7))
        await eventually(lambda: channels[0].id == 7)
        upstream.is_down = True
        new.hang_up()
        await old.expect(CloseChannel)
        await old.grant(8)
        await eventually(lambda: channels[0].id == 8)
        assert channels[1].id == 6
        assert owners[1].heard == [("opened", ())]
        assert bench.client.upstream == "second"


async def test_the_better_one_is_taken_at_once_where_the_other_is_lost_meanwhile(
    upstream: Upstream, backup: Upstream, eventually: Eventually
) -> None:
    upstream.is_down = True
    bench = Bench(upstream, server(backup), timing=timing())
    channel = bench.client.open(Owner())
    async with bench.running():
        old = await backup.accept()
        await old.greet()
        await old.grant(5)
        upstream.is_down = False
        new = await upstream.accept()
        await new.greet()
        request = await new.expect(OpenExtendedMiningChannel)
        backup.is_down = True
        old.hang_up()
        new.say(success(request, 7))
        await eventually(lambda: channel.id == 7 and channel.is_open)
        assert bench.client.upstream == "127.0.0.1:34254"
