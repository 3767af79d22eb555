"""A miner that does nothing wrong, as a process of its own, so that no test can slow it but by the daemons.

It mines a share every 20 ms, and ends with an error when one is refused or waits too long for its answer.
For each line on stdin it prints the round trips since the line before, in ms; at the end of stdin it ends.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable

from protocols.sv2.limits import FrameLimits
from protocols.sv2.mining import SubmitSharesError, SubmitSharesSuccess
from roles.runtime.sv2_connection import connect
from shared_config.address import Address
from tests.roles.pool.house import Miner
from tests.roles.pool.neighbours import ON_MINING_LINK
from tests.roles.translator.fake_miners import FakeMiner

ANSWER_S = 5.0 if os.environ.get("HASHPOOL_TEST_LONG") else 30.0
PAUSE_S = 0.02

Mine = Callable[[], Awaitable[None]]


async def by_sv2(host: str, port: str, authority: str) -> Mine:
    """Mines on an extended channel of its own."""
    limit = FrameLimits(ON_MINING_LINK)
    miner = Miner(await connect(Address(host, int(port)), bytes.fromhex(authority), limit=limit))
    await miner.set_up()
    channel = await miner.open(user="good")

    async def mine() -> None:
        share = channel.mine()
        channel.submit(share)
        while True:
            answer = await miner.hear(SubmitSharesSuccess, SubmitSharesError)
            assert isinstance(answer, SubmitSharesSuccess), f"refused: {answer}"
            if answer.last_sequence_number == share.sequence_number:
                miner.unheard.clear()
                return

    return mine


async def by_sv1(_host: str, port: str) -> Mine:
    """Mines as ordinary firmware does."""
    miner = await FakeMiner().connect(int(port))
    await miner.start()

    async def mine() -> None:
        answer = await miner.mine()
        assert answer["result"] is True, f"refused: {answer}"
        # It keeps every line for the tests that it was written for.
        del miner.lines[:], miner.raw[:]

    return mine


async def main(protocol: str, *where: str) -> None:
    """Mine until stdin ends."""
    mine = await (by_sv2 if protocol == "sv2" else by_sv1)(*where)
    trips: list[float] = []
    asked: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def ask() -> None:
        asked.put_nowait(sys.stdin.readline())

    loop.add_reader(sys.stdin.fileno(), ask)
    while True:
        began = time.perf_counter()
        async with asyncio.timeout(ANSWER_S):
            await mine()
        trips.append((time.perf_counter() - began) * 1000)
        await asyncio.sleep(PAUSE_S)
        while not asked.empty():
            if not asked.get_nowait():
                return
            print(json.dumps(trips), flush=True)
            trips = []


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
