"""Miners that leave are gone at once, with all that was theirs, and not when the collector comes."""

from protocols.sv2.mining import CloseChannel, SubmitSharesSuccess
from roles.pool.miner_channel import MinerChannel
from roles.pool.session import Session
from roles.runtime.sv2_connection import ServedConnection
from tests.roles.collector import alive, no_collector
from tests.roles.pool.house import Channel, House, Miner
from tests.roles.pool.neighbours import soon

CROWD = 8


async def mined(house: House) -> tuple[Miner, Channel]:
    """A miner whose share has been accepted."""
    miner = await house.miner()
    channel = await miner.open()
    channel.submit(channel.mine())
    await miner.hear(SubmitSharesSuccess)
    return miner, channel


async def test_channels_that_end_are_gone_at_once_but_for_the_one_of_the_last_share(house: House) -> None:
    await house.start()
    with no_collector():
        for miner, channel in [await mined(house) for _ in range(CROWD)]:
            miner.say(CloseChannel(channel.id, "enough"))
        await soon(lambda: alive(MinerChannel) == 1)


async def test_connections_that_end_are_gone_at_once_but_for_the_one_of_the_last_share(house: House) -> None:
    await house.start()
    with no_collector():
        before = alive(ServedConnection)
        for miner, _ in [await mined(house) for _ in range(CROWD)]:
            miner.link.close()
        await soon(lambda: alive(Session) == 0 and alive(ServedConnection) == before + 1)
