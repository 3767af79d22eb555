"""Miners that leave are gone at once, with all that was theirs, and not when the collector comes."""

from typing import Any

import pytest

from protocols.sv2.mining import CloseChannel, SubmitSharesSuccess, UpdateChannel
from roles.proxy.downstream import Downstream
from roles.proxy.downstream_channel import DownstreamChannel
from roles.runtime.sv2_connection import ServedConnection
from roles.stratum.upstream_channel import UpstreamChannel
from tests.roles.collector import alive, no_collector
from tests.roles.proxy.conftest import House, Start, until
from tests.roles.proxy.scripted_miner import ALL_FF, ScriptedMiner
from tests.roles.proxy.test_aggregate import SLOW

MODES: dict[str, dict[str, Any]] = {"per_miner": {}, "aggregated": {"mode": "aggregated", "aggregate": SLOW}}


async def at_work(house: House, kind: str) -> ScriptedMiner:
    """A miner that has work; where it has an upstream channel of its own it has a share accepted, too."""
    miner = await house.miner()
    await (miner.open_standard() if kind == "standard" else miner.open_extended())
    job, tip = await miner.first_work()
    if house.daemon.config.mode == "per_miner":
        miner.send(miner.mine(job, tip))
        await miner.expect(SubmitSharesSuccess)
    return miner


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["standard", "extended"])
async def test_a_channel_that_ends_is_gone_at_once(start: Start, mode: str, kind: str) -> None:
    house = await start(**MODES[mode])
    stays = await at_work(house, kind)
    with no_collector():
        before = alive(DownstreamChannel, UpstreamChannel)
        goes = await at_work(house, kind)
        goes.send(UpdateChannel(goes.channel_id, 1.0, ALL_FF))
        assert alive(DownstreamChannel, UpstreamChannel) > before
        goes.send(CloseChannel(goes.channel_id, "enough"))
        await until(lambda: alive(DownstreamChannel, UpstreamChannel) == before)
        assert stays.connection.is_open


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["standard", "extended"])
async def test_a_connection_that_ends_is_gone_at_once(start: Start, mode: str, kind: str) -> None:
    house = await start(**MODES[mode])
    with no_collector():
        before = alive(Downstream, ServedConnection, DownstreamChannel)
        miners = [await at_work(house, kind) for _ in range(2)]
        assert alive(Downstream, ServedConnection, DownstreamChannel) == before + 6
        for miner in miners:
            miner.connection.close()
        await until(lambda: alive(Downstream, ServedConnection, DownstreamChannel) == before)
