"""A translator's connection with very many channels, all of which get work at once."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import cast
from unittest.mock import MagicMock

import pytest
from prometheus_client import CollectorRegistry

from protocols.sv2.codec import encode
from protocols.sv2.mining import CloseChannel, NewExtendedMiningJob, SetNewPrevHash
from roles.proxy import downstream
from roles.proxy.downstream import PIECE, UNSENT, Downstream
from roles.proxy.downstream_bounds import DownstreamBounds
from roles.proxy.downstream_channel import Edge
from roles.proxy.meters import Meters
from roles.proxy.modes import PerMiner
from roles.proxy.slices import Slices
from roles.runtime.sv2_connection import Sv2Connection
from shared_config.proxy import AggregateSettings
from tests.roles.proxy.conftest import House, Start, until
from tests.roles.proxy.scripted_miner import ScriptedMiner
from tests.roles.proxy.scripted_pool import ScriptedPool

CROWD = 150


@pytest.fixture(params=["per_miner", "aggregated"])
async def house(start: Start, request: pytest.FixtureRequest) -> House:
    return await start(mode=request.param, aggregate=AggregateSettings(shares_per_minute=0.1), hold_s=0.3)


async def crowded(house: House, count: int = CROWD) -> ScriptedMiner:
    miner = await house.miner()
    for _ in range(count):
        await miner.open_extended("alice")
        await miner.first_work()
    return miner


def renew(pool: ScriptedPool) -> None:
    """New work on a new tip, sent to the group where every miner has a channel."""
    if len(pool.channels) == 1:
        pool.next_tip(pool.channel)
        return
    pool.previous = bytes([pool.previous[0] + 1]) * 32
    work = pool.work()
    pool.send(
        NewExtendedMiningJob(1, 77, None, work.version, True, work.merkle_path, work.prefix, work.suffix),
        SetNewPrevHash(1, 77, pool.previous, 1_700_000_000, 0x1D00FFFF),
    )


async def tips(miner: ScriptedMiner, pool: ScriptedPool, count: int) -> list[int]:
    """The channels that are told of the present tip, each after a job."""
    told: list[int] = []
    jobs: set[tuple[int, int]] = set()
    while len(told) < count:
        message = await miner.hear()
        if isinstance(message, NewExtendedMiningJob):
            jobs.add((message.channel_id, message.job_id))
        elif isinstance(message, SetNewPrevHash) and message.prev_hash == pool.previous:
            assert (message.channel_id, message.job_id) in jobs
            told.append(message.channel_id)
    return told


async def test_a_new_tip_reaches_every_channel_once(
    house: House, pool: ScriptedPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downstream, "PIECE", 16)
    miner = await crowded(house)
    renew(pool)
    if house.daemon.config.mode == "aggregated":
        assert await tips(miner, pool, 1) == [1]
    else:
        told = await tips(miner, pool, CROWD)
        assert sorted(told) == list(range(2, CROWD + 2))


async def test_all_channels_are_given_up_after_the_hold_and_the_connection_ends(
    house: House, pool: ScriptedPool
) -> None:
    miner = await crowded(house)
    await pool.stop()
    closed = [each for each in await miner.hear_the_end() if isinstance(each, CloseChannel)]
    assert sorted(each.channel_id for each in closed) == list(range(2, CROWD + 2))
    assert house.metric("proxy_channels", kind="extended") == 0


class SlowReader:
    """A miner's connection that takes what was sent when it is told to."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.taken = asyncio.Event()
        self.code = ""
        self.unsent = 1 << 20

    def outlet(self) -> None:
        """Nothing is sent elsewhere."""

    def send_plain(self, frames: Sequence[tuple[bytes, bytes]]) -> None:
        self.sent += [payload for _, payload in frames]

    async def drain(self) -> None:
        await self.taken.wait()
        self.taken.clear()

    def abort(self, _text: str, *, code: str) -> None:
        self.code = code


@pytest.fixture
async def slow() -> tuple[SlowReader, Downstream]:
    connection = SlowReader()
    edge = Edge(MagicMock(), Meters(CollectorRegistry()), lambda: 1.0, None, MagicMock())
    served = Downstream(
        cast("Sv2Connection", connection),
        edge=edge,
        mode=lambda line, _: PerMiner(edge, line),
        registrar=MagicMock(),
        slices=Slices(0),
        watch=MagicMock(),
        bounds=DownstreamBounds(),
    )
    return connection, served


def sent(connection: SlowReader, count: int) -> bool:
    return len(connection.sent) >= count


async def test_very_much_at_once_is_sent_in_pieces_as_the_miner_takes_it(
    slow: tuple[SlowReader, Downstream],
) -> None:
    connection, served = slow
    closings = [CloseChannel(number, "x") for number in range(3 * PIECE)]
    for each in closings[:-1]:
        served.transmit(each)
    for pieces in range(4):
        await until(partial(sent, connection, pieces * PIECE))
        if pieces == 1:
            served.transmit(closings[-1])
        assert len(connection.sent) == pieces * PIECE
        connection.taken.set()
    connection.taken.clear()
    connection.unsent = 0
    assert connection.sent == [encode(each).payload for each in closings]
    served.transmit(CloseChannel(0, "alone"))
    await until(lambda: len(connection.sent) == len(closings) + 1)
    assert not connection.code


async def test_a_miner_that_takes_nothing_of_ever_more_is_cut_off(
    slow: tuple[SlowReader, Downstream],
) -> None:
    connection, served = slow
    for _ in range(UNSENT // PIECE + 3):
        for number in range(PIECE):
            served.transmit(CloseChannel(number, "x"))
        await asyncio.sleep(0)
    await until(lambda: connection.code == "not-reading")
    assert connection.sent == []
    connection.taken.set()
