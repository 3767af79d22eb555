"""A crowd that leaves, or changes its mind, in one moment is heard upstream bit by bit."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from protocols.sv2.codec import MINING
from protocols.sv2.frame import Frame
from protocols.sv2.layout import Message
from protocols.sv2.mining import CloseChannel, OpenExtendedMiningChannel, SubmitSharesExtended, UpdateChannel
from roles.stratum.upstream_requests import CLOSINGS, SPACING_S, UPDATES, UpstreamRequests
from tests.roles.stratum.mining_bench import Bench, Eventually, Owner, Upstream, submit

Act = Callable[[], None]


class Loop:
    """A clock that is turned by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[tuple[float, Act]] = []

    def time(self) -> float:
        """Monotonic seconds."""
        return self.now

    def call_later(self, delay: float, act: Act) -> Any:
        """Keep what is to be done."""
        entry = (delay, act)
        self.timers.append(entry)

        class Handle:
            def cancel(handle) -> None:
                self.timers.remove(entry)

        return Handle()

    def turn(self) -> None:
        """Do what is due next, which is the only thing that is."""
        [(delay, act)] = self.timers
        self.now += delay
        self.timers.clear()
        act()


class Wire:
    """Requests with nobody behind them."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.sent: list[Message] = []
        self.times_closed = 0
        self.requests = UpstreamRequests(
            cast(asyncio.AbstractEventLoop, self.loop), self._transmit, self._closed
        )

    def _transmit(self, frame: Frame) -> None:
        self.sent.append(MINING.decode(frame)[0])

    def _closed(self) -> None:
        self.times_closed += 1

    def heard(self) -> list[Message]:
        """What has been sent since the last time."""
        sent, self.sent = self.sent, []
        return sent


@pytest.fixture
def wire() -> Wire:
    return Wire()


def test_who_leaves_alone_is_heard_at_once(wire: Wire) -> None:
    wire.requests.close(7, "enough")
    assert wire.heard() == [CloseChannel(7, "enough")]
    assert not wire.requests.is_closing
    wire.loop.turn()
    assert not wire.loop.timers
    wire.requests.update(8, 5.0, 9)
    assert wire.heard() == [UpdateChannel(8, 5.0, 9)]


def test_a_crowd_that_leaves_is_heard_bit_by_bit_and_in_order(wire: Wire) -> None:
    count = 2 * CLOSINGS + 1
    for channel_id in range(count):
        wire.requests.close(channel_id, "")
    assert len(wire.heard()) == 1
    closed = []
    for still_to_come in (CLOSINGS, 0):
        assert wire.requests.is_closing
        wire.loop.turn()
        heard = wire.heard()
        closed += heard
        assert len(heard) == CLOSINGS
        assert len(closed) == 2 * CLOSINGS - still_to_come
    assert closed == [CloseChannel(channel_id, "") for channel_id in range(1, count)]
    assert not wire.requests.is_closing
    # Once for the first of them, which nobody else was with, and once for all others.
    assert wire.times_closed == 2


def test_updates_are_heard_bit_by_bit_and_of_each_channel_the_last(wire: Wire) -> None:
    wire.requests.update(9, 1.0, 1)
    for hash_rate in (1.0, 2.0):
        for channel_id in range(UPDATES + 1):
            wire.requests.update(channel_id, hash_rate, 1)
    assert wire.heard() == [UpdateChannel(9, 1.0, 1)]
    wire.loop.turn()
    assert wire.heard() == [UpdateChannel(channel_id, 2.0, 1) for channel_id in range(UPDATES)]
    wire.loop.turn()
    assert wire.heard() == [UpdateChannel(UPDATES, 2.0, 1)]


def test_a_channel_is_changed_once_a_second_and_others_need_not_wait_for_it(wire: Wire) -> None:
    for hash_rate in (1.0, 2.0, 3.0):
        wire.requests.update(1, hash_rate, 1)
    wire.requests.update(2, 1.0, 1)
    wire.loop.turn()
    assert wire.heard() == [UpdateChannel(1, 1.0, 1), UpdateChannel(2, 1.0, 1)]
    while not (heard := wire.heard()):
        wire.loop.turn()
    assert heard == [UpdateChannel(1, 3.0, 1)]
    assert wire.loop.now == pytest.approx(SPACING_S)


def test_what_is_closed_is_not_changed_any_more(wire: Wire) -> None:
    wire.requests.close(1, "")
    for channel_id in (2, 3, 4):
        wire.requests.update(channel_id, 1.0, 1)
    wire.requests.close(2, "")
    wire.requests.forget(3)
    wire.heard()
    wire.loop.turn()
    assert wire.heard() == [UpdateChannel(4, 1.0, 1), CloseChannel(2, "")]


def test_nothing_is_sent_after_the_end(wire: Wire) -> None:
    for channel_id in (1, 2):
        wire.requests.close(channel_id, "")
    wire.requests.end()
    assert wire.heard() == [CloseChannel(1, "")]
    assert not wire.loop.timers


async def test_shares_pass_a_crowd_that_leaves_and_whoever_comes_is_behind_it(
    upstream: Upstream, eventually: Eventually
) -> None:
    bench, count = Bench(upstream), 10 * CLOSINGS
    owners = [Owner() for _ in range(count + 1)]
    channels = [bench.client.open(owner) for owner in owners]
    async with bench.running():
        connection = await upstream.accept()
        await connection.greet()
        for number in range(count + 1):
            await connection.grant(10 + number)
        await eventually(lambda: all(owner.heard for owner in owners))
        stays = channels.pop()
        for channel in channels:
            channel.close("")
        bench.client.open(Owner())
        submit(stays, [])
        kinds = [(await connection.from_client.get()).msg_type for _ in range(count + 2)]
        assert kinds.index(SubmitSharesExtended.msg_type) <= CLOSINGS
        assert kinds[-1] == OpenExtendedMiningChannel.msg_type
        assert kinds.count(CloseChannel.msg_type) == count
