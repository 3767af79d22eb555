"""Whatever a pool says, the proxy lives, and serves its miners again when the pool makes sense."""

import asyncio
import os
from random import Random
from typing import Any, Final

import pytest

from protocols.sv2.frame import Frame
from protocols.sv2.mining import (
    NewExtendedMiningJob,
    OpenExtendedMiningChannel,
    OpenExtendedMiningChannelSuccess,
    SubmitSharesExtended,
    SubmitSharesSuccess,
)
from roles.runtime.backoff import Backoff
from roles.runtime.errors import ConnectFailed, ConnectionLost
from tests.fuzz.odd_messages import odd_frame
from tests.roles.proxy.conftest import House, Start, until
from tests.roles.proxy.scripted_miner import ALL_FF
from tests.roles.proxy.scripted_pool import ScriptedPool

ROUNDS: Final = 5_000 if os.environ.get("HASHPOOL_TEST_LONG") else 100
SEED: Final = int(os.environ.get("HASHPOOL_TEST_SEED") or 20_261_122)


HEARD: Final = "upstream_messages_ignored_total"
UNKNOWN: Final = Frame(0x7ABC, False, 0x77, b"")
"""The proxy counts it, and by that tells that it has heard what came before."""


def what_means_something(pool: ScriptedPool) -> dict[str, list[Any]]:
    """Values of fields that the proxy knows from this pool, and some that it should not take."""
    active = [granted.jobs.active for granted in pool.channels.values()]
    work = pool.work()
    return {
        "channel_id": [0, 1, *pool.channels],
        "group_channel_id": [1, *pool.channels],
        "channel_ids": [tuple(pool.channels)],
        "job_id": [0, 1, *(job.job_id for job in active if job)],
        "request_id": [1, 2, 3],
        "sequence_number": [1, 2],
        "last_sequence_number": [1, 2],
        "coinbase_tx_prefix": [work.prefix],
        "coinbase_tx_suffix": [work.suffix],
        "extranonce_size": [0, 16, 0xFFFF],
        "min_ntime": [0, 1_700_000_000, 0xFFFFFFFF],
    }


async def say_something(house: House, pool: ScriptedPool, chance: Random) -> None:
    """Send a few odd messages, and wait until the proxy has heard them or has hung up."""
    connection, heard, likely = pool.connection, house.metric(HEARD), what_means_something(pool)
    try:
        connection.send(*(odd_frame(chance, likely) for _ in range(chance.randint(1, 6))), UNKNOWN)
    except ConnectionLost:
        pass
    await until(lambda: pool.connection is not connection or house.metric(HEARD) > heard)


async def mine_through_everything(house: House, chance: Random) -> None:
    """A miner that comes back whenever it is cut off, and submits something for every job."""
    while True:
        try:
            miner = await house.miner()
            miner.send(OpenExtendedMiningChannel(1, "rig", 1e12, ALL_FF, 2))
            while True:
                message = await miner.hear()
                if isinstance(message, OpenExtendedMiningChannelSuccess):
                    miner.channel_id, miner.size = message.channel_id, message.extranonce_size
                elif isinstance(message, NewExtendedMiningJob):
                    miner.sequence += 1
                    time, nonce = message.min_ntime or 1_700_000_000, chance.getrandbits(32)
                    share = (miner.channel_id, miner.sequence, message.job_id, nonce, time, message.version)
                    miner.send(SubmitSharesExtended(*share, bytes(miner.size)))
        except (ConnectionLost, ConnectFailed, TimeoutError):
            while house.miners:
                house.miners.pop().connection.close()


@pytest.mark.timeout(60 + ROUNDS)
async def test_a_proxy_outlives_a_pool_that_says_anything(
    start: Start, pool: ScriptedPool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    print(f"seed {SEED}: {ROUNDS} rounds")
    monkeypatch.setattr(Backoff, "next", lambda _: 0.001)
    chance = Random(SEED)
    house = await start()
    miners = [asyncio.create_task(mine_through_everything(house, Random(number))) for number in range(2)]
    for _ in range(ROUNDS):
        await say_something(house, pool, chance)
    for each in miners:
        assert not each.done(), each
        each.cancel()
    assert pool.opens > ROUNDS // 20
    faults = [each for each in caplog.records if each.exc_info and each.name.startswith("roles.")]
    assert not faults
    await pool.stop()
    await pool.start()
    miner = await house.miner()
    await miner.open_extended()
    job, tip = await miner.first_work()
    miner.send(miner.mine(job, tip))
    await miner.expect(SubmitSharesSuccess)
