"""The SV2 mining client at upstreams that break, fall silent or grant too little."""

import asyncio

import pytest

from protocols.sv2.connection import Reconnect
from protocols.sv2.frame import Frame
from protocols.sv2.mining import (
    OpenExtendedMiningChannel,
    OpenMiningChannelError,
)
from roles.stratum.errors import ChannelsFull
from roles.stratum.submissions import LOST, Verdict
from roles.stratum.upstream_channel import OpenTerms
from tests.roles.stratum.mining_bench import Bench, Eventually, Owner, Upstream, short, submit


async def test_a_broken_message_ends_the_connection(upstream: Upstream) -> None:
    bench = Bench(upstream)
    async with bench.running():
        connection = await upstream.accept()
        await connection.greet()
        connection.to_client.put_nowait([Frame(0, True, 0x21, b"\x01")])
        await upstream.accept()
        assert bench.count("failures_total", cause="MalformedMessage") == 1


async def test_an_upstream_that_asks_for_it_is_connected_anew(upstream: Upstream) -> None:
    bench = Bench(upstream)
    async with bench.running():
        connection = await upstream.accept()
        await connection.greet()
        connection.say(Reconnect("", 0))
        await upstream.accept()


async def test_a_channel_id_given_twice_ends_the_connection(upstream: Upstream) -> None:
    bench = Bench(upstream)
    bench.client.open(Owner())
    bench.client.open(Owner())
    async with bench.running():
        connection = await upstream.accept()
        await connection.greet()
        await connection.grant(5)
        await connection.grant(5)
        await upstream.accept()
        assert "twice" in bench.client.failure


async def test_an_upstream_that_answers_no_open_request_is_left(upstream: Upstream) -> None:
    bench = Bench(upstream, timing=short(opening=0.02))
    bench.client.open(Owner())
    async with bench.running():
        connection = await upstream.accept()
        await connection.greet()
        await connection.expect(OpenExtendedMiningChannel)
        await upstream.accept()
        assert bench.client.failure == "the upstream does not answer a request for a channel"


async def test_an_upstream_that_is_silent_while_shares_wait_is_left(upstream: Upstream) -> None:
    bench = Bench(upstream, timing=short(silence=0.03))
    channel = bench.client.open(Owner())
    async with bench.running():
        connection = await upstream.accept()
        await connection.greet()
        await connection.grant(5)
        await connection.expect_silence()
        verdicts: list[Verdict] = []
        submit(channel, verdicts)
        await upstream.accept()
        assert bench.client.failure == "the upstream does not answer shares"
        assert verdicts == [LOST]


async def test_a_share_that_is_never_answered_is_settled_in_the_end(
    upstream: Upstream, eventually: Eventually
) -> None:
    bench = Bench(upstream, timing=short(verdict=0.02))
    channel = bench.client.open(Owner())
    async with bench.running():
        connection = await upstream.accept()
        await connection.greet()
        await connection.grant(5)
        await connection.expect_silence()
        verdicts: list[Verdict] = []
        submit(channel, verdicts)
        await eventually(lambda: verdicts == [LOST])
        assert bench.client.is_connected
        assert bench.count("verdict_mismatches_total") == 1


async def test_an_identity_that_does_not_fit_the_wire_is_refused_without_harm(upstream: Upstream) -> None:
    bench = Bench(upstream)
    bad, good = Owner(OpenTerms("x" * 256, 1.0, 1, 12)), Owner()
    bench.client.open(bad)
    bench.client.open(good)
    async with bench.running():
        connection = await upstream.accept()
        await connection.greet()
        await connection.grant(5)
        assert bad.heard == [("refused", "encode-error")]


async def test_no_more_channels_than_the_limit_are_wanted(upstream: Upstream) -> None:
    bench = Bench(upstream, channel_limit=1)
    channel = bench.client.open(Owner())
    with pytest.raises(ChannelsFull):
        bench.client.open(Owner())
    channel.close("x")
    bench.client.open(Owner())


async def test_many_channels_are_asked_for_a_few_at_a_time(upstream: Upstream) -> None:
    bench = Bench(upstream)
    for _ in range(100):
        bench.client.open(Owner())
    async with bench.running():
        connection = await upstream.accept()
        await connection.greet()
        await connection.expect(OpenExtendedMiningChannel)
        await asyncio.sleep(0)
        assert connection.from_client.qsize() == 63
        connection.from_client = asyncio.Queue()
        for request_id in range(1, 65):
            connection.say(OpenMiningChannelError(request_id, "full"))
        for _ in range(36):
            await connection.expect(OpenExtendedMiningChannel)
        await connection.expect_silence()
