"""What goes to a group of very many channels is done in turns with others."""

import asyncio

from protocols.sv2.mining import CloseChannel, SetTarget
from tests.roles.stratum.mining_bench import Bench, Eventually, Owner, Upstream

CROWD = 200
FIRST = 10


async def crowd(bench: Bench, upstream: Upstream) -> tuple[list[Owner], Upstream]:
    """Owners whose channels are all of group 1, and their connection."""
    owners = [Owner() for _ in range(CROWD)]
    for owner in owners:
        bench.client.open(owner)
    connection = await upstream.accept()
    await connection.greet()
    for number in range(CROWD):
        await connection.grant(FIRST + number)
    return owners, connection


async def test_each_member_hears_each_message_once_and_in_order(
    upstream: Upstream, eventually: Eventually
) -> None:
    bench = Bench(upstream)
    async with bench.running():
        owners, connection = await crowd(bench, upstream)
        single = SetTarget(FIRST + CROWD - 1, 3)
        connection.say(SetTarget(1, 1), SetTarget(1, 2), single)
        await eventually(lambda: single in owners[-1].heard)
        assert owners[-1].heard[1:] == [SetTarget(1, 1), SetTarget(1, 2), single]
        assert all(owner.heard[1:] == [SetTarget(1, 1), SetTarget(1, 2)] for owner in owners[:-1])


async def test_others_have_their_turn_before_the_last_member_hears(
    upstream: Upstream, eventually: Eventually
) -> None:
    bench = Bench(upstream)
    async with bench.running():
        owners, connection = await crowd(bench, upstream)
        await eventually(lambda: all(owner.heard for owner in owners))
        connection.say(SetTarget(1, 1))
        between = set()
        while len(owners[-1].heard) < 2:
            between.add(sum(len(owner.heard) > 1 for owner in owners))
            await asyncio.sleep(0)
        assert len(between - {0, CROWD}) >= 2


async def test_a_group_that_is_closed_is_lost_channel_by_channel_and_asked_for_again(
    upstream: Upstream, eventually: Eventually
) -> None:
    bench = Bench(upstream)
    async with bench.running():
        owners, connection = await crowd(bench, upstream)
        connection.say(CloseChannel(1, "enough"))
        lost = ("lost", "the upstream closed the channel: enough")
        await eventually(lambda: all(lost in owner.heard for owner in owners))
        assert bench.count("channels") == 0


async def test_a_connection_that_ends_meanwhile_is_lost_to_all(
    upstream: Upstream, eventually: Eventually
) -> None:
    bench = Bench(upstream)
    async with bench.running():
        owners, connection = await crowd(bench, upstream)
        await eventually(lambda: all(owner.heard for owner in owners))
        connection.say(SetTarget(1, 1))
        connection.hang_up()
        lost = ("lost", "the connection to the upstream was lost")
        await eventually(lambda: all(lost in owner.heard for owner in owners))
        assert bench.changes[:2] == [True, False]
