"""Whatever an upstream says, the translator lives, and serves its miners again when it makes sense."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, Final

import pytest

from protocols.sv2.codec import encode
from protocols.sv2.frame import Frame
from protocols.sv2.mining import CloseChannel, OpenExtendedMiningChannel
from tests.fuzz.odd_messages import odd_frame
from tests.roles.translator.scripted_proxy import NTIME, PREFIX, SUFFIX, ScriptedProxy

House = Any
Eventually = Callable[[Callable[[], object]], Awaitable[None]]

ROUNDS: Final = 10_000 if os.environ.get("HASHPOOL_TEST_LONG") else 400
SEED: Final = int(os.environ.get("HASHPOOL_TEST_SEED") or 20_261_122)
HEARD: Final = "upstream_messages_ignored_total"
UNKNOWN: Final = Frame(0x7ABC, False, 0x77, b"")
"""The translator counts it, and by that tells that it has heard what came before."""


def take_nothing_but_opens(proxy: ScriptedProxy, message: object) -> None:
    """As a proxy that has lost its mind still does, so that there are channels to talk about."""
    if isinstance(message, OpenExtendedMiningChannel):
        proxy._open(message)


def what_means_something(proxy: ScriptedProxy) -> dict[str, list[Any]]:
    """Values of fields that the translator knows from this proxy, and some that it should not take."""
    newest = [channel.id for channel in proxy.opened[-3:]]
    return {
        "channel_id": [0, 1, *newest],
        "group_channel_id": [1, *newest],
        "channel_ids": [tuple(newest)],
        "job_id": [0, proxy.jobs, max(0, proxy.jobs - 1)],
        "request_id": [1, 2, 3],
        "sequence_number": [1, 2],
        "last_sequence_number": [1, 2],
        "coinbase_tx_prefix": [PREFIX],
        "coinbase_tx_suffix": [SUFFIX],
        "extranonce_size": [0, 12, 0xFFFF],
        "min_ntime": [0, NTIME, 0xFFFFFFFF],
        "maximum_target": [0, 1, (1 << 256) - 1],
    }


async def mine_through_everything(house: House, chance: Random) -> None:
    """A miner that comes back whenever it is cut off, and submits something for every job."""
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
        writer.write(b'{"id":1,"method":"mining.subscribe","params":["fake/1.0"]}\n')
        writer.write(b'{"id":2,"method":"mining.authorize","params":["rig","x"]}\n')
        try:
            while line := await reader.readline():
                message = json.loads(line)
                if message.get("method") == "mining.notify":
                    job, time, nonce = message["params"][0], message["params"][7], chance.getrandbits(32)
                    share = ["rig", job, "00" * 8, time, f"{nonce:08x}"]
                    writer.write(
                        json.dumps({"id": 3, "method": "mining.submit", "params": share}).encode() + b"\n"
                    )
        except ConnectionError:
            pass
        finally:
            writer.close()


@pytest.mark.timeout(60 + ROUNDS // 10)
async def test_a_translator_outlives_an_upstream_that_says_anything(
    build: Any, eventually: Eventually, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    print(f"seed {SEED}: {ROUNDS} rounds")
    house = await build(session_s=0.0)
    chance, proxy = Random(SEED), house.proxy
    miners = [asyncio.create_task(mine_through_everything(house, Random(number))) for number in range(2)]
    with monkeypatch.context() as patch:
        patch.setattr(ScriptedProxy, "_take", take_nothing_but_opens)
        for _ in range(ROUNDS):
            await eventually(lambda: house.client.is_connected)
            await say_something(house, eventually, chance)
    for miner in miners:
        assert not miner.done(), miner
        miner.cancel()
    assert len(proxy.opened) > ROUNDS // 20
    faults = [each for each in caplog.records if each.exc_info and each.name.startswith("roles.")]
    assert not faults
    proxy.restart()
    await eventually(lambda: len(proxy.channels) == 0 and house.client.is_connected)
    miner = await house.miner()
    assert (await miner.mine())["result"] is True


async def say_something(house: House, eventually: Eventually, chance: Random) -> None:
    """Send a few odd messages, and wait until the translator has heard them or has hung up."""
    connection, heard = house.proxy.connection, house.count(HEARD)
    likely = what_means_something(house.proxy)
    frames = [odd_frame(chance, likely) for _ in range(chance.randint(1, 6))]
    connection.to_client.put_nowait([*frames, UNKNOWN])
    await eventually(lambda: connection.is_closed or house.count(HEARD) > heard)
    if connection.is_closed:
        # The scripted proxy looks at its connection only when a frame comes.
        connection.from_client.put_nowait(encode(CloseChannel(0, "bye")))
