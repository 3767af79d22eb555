"""Whatever a template provider says, the pool lives, and gives work again when the provider makes sense."""

import asyncio
import os
from random import Random
from typing import Any, Final

import pytest

from protocols.sv2.codec import TEMPLATE_DISTRIBUTION
from protocols.sv2.frame import Frame
from protocols.sv2.mining import (
    NewExtendedMiningJob,
    NewMiningJob,
    OpenExtendedMiningChannel,
    OpenStandardMiningChannel,
    SubmitSharesExtended,
    SubmitSharesStandard,
    SubmitSharesSuccess,
)
from roles.runtime.backoff import Backoff
from roles.runtime.errors import ConnectFailed, ConnectionLost
from tests.fuzz.odd_messages import odd_frame
from tests.roles.pool.house import House
from tests.roles.pool.neighbours import ANY_TARGET, KEY, ON_MINING_LINK, soon

ROUNDS: Final = 5_000 if os.environ.get("HASHPOOL_TEST_LONG") else 100
SEED: Final = int(os.environ.get("HASHPOOL_TEST_SEED") or 20_261_122)
HEARD: Final = "hashpool_pool_messages_ignored_total"
UNKNOWN: Final = Frame(0x7ABC, False, 0x77, b"")
"""The pool counts it, and by that tells that it has heard what came before."""


def what_means_something(house: House) -> dict[str, list[Any]]:
    """Values of fields that make a sound template or tip, and some that do not."""
    number = house.provider.next_id
    sound = house.provider.template()
    return {
        "template_id": [number, number, number - 1],
        "coinbase_prefix": [sound.coinbase_prefix, sound.coinbase_prefix, bytes(98)],
        "coinbase_tx_outputs_count": [0, 0, 1],
        "coinbase_tx_outputs": [b"", b"", b"\0" * 9],
        "coinbase_tx_value_remaining": [0, 5_000_000_000, (1 << 64) - 1],
        "nbits": [0x207FFFFF, 0, 0x01000000, 0xFFFFFFFF],
        "target": [0, 1, 0x7FFFFF << 8 * 29, (1 << 256) - 1],
        "header_timestamp": [0, 1_700_000_000, 0xFFFFFFFF],
    }


async def say_something(house: House, chance: Random) -> None:
    """Send a few odd messages, and wait until the pool has heard them or has hung up."""
    link, heard = house.provider.link, house.metric(HEARD)
    assert link
    likely = what_means_something(house)
    frames = [odd_frame(chance, likely, TEMPLATE_DISTRIBUTION) for _ in range(chance.randint(1, 6))]
    try:
        link.send(*frames, UNKNOWN)
    except ConnectionLost:
        pass
    await soon(lambda: house.provider.link is not link or house.metric(HEARD) > heard)


async def mine_through_everything(house: House, chance: Random) -> None:
    """A miner that comes back whenever it is cut off, and submits something for every job."""
    while True:
        try:
            miner = await house.miner()
            miner.say(OpenExtendedMiningChannel(1, "rig", 1e12, ANY_TARGET, 2))
            miner.say(OpenStandardMiningChannel(2, "rig", 1e12, ANY_TARGET))
            while True:
                message, _ = ON_MINING_LINK.decode(await miner.link.receive())
                number, nonce = chance.getrandbits(32), chance.getrandbits(32)
                if isinstance(message, NewExtendedMiningJob):
                    time = message.min_ntime or 1_700_000_000
                    share = (2, number, message.job_id, nonce, time, message.version)
                    miner.say(SubmitSharesExtended(*share, bytes(16)))
                elif isinstance(message, NewMiningJob):
                    time = message.min_ntime or 1_700_000_000
                    miner.say(SubmitSharesStandard(3, number, message.job_id, nonce, time, message.version))
        except (ConnectionLost, ConnectFailed, TimeoutError):
            continue


@pytest.mark.timeout(60 + ROUNDS)
async def test_a_pool_outlives_a_provider_that_says_anything(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    print(f"seed {SEED}: {ROUNDS} rounds")
    monkeypatch.setattr(Backoff, "next", lambda _: 0.001)
    await house.start()
    chance = Random(SEED)
    miners = [asyncio.create_task(mine_through_everything(house, Random(number))) for number in range(2)]
    for _ in range(ROUNDS):
        await say_something(house, chance)
    for each in miners:
        assert not each.done(), each
        each.cancel()
    faults = [each for each in caplog.records if each.exc_info and each.name.startswith("roles.")]
    assert not faults
    house.provider.drop()
    await asyncio.sleep(0)
    await house.ready()
    miner = await house.miner(extensions=True)
    channel = await miner.open(key=KEY)
    channel.submit(channel.mine())
    await miner.hear(SubmitSharesSuccess)
