"""Crowds of channels that hostile peers open, change or close at once, beside miners that mine on.

As for other hostile peers, the daemons do not grow, and the good miners' round trips stay short.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from protocols.sv2.mining import (
    CloseChannel,
    OpenExtendedMiningChannel,
    OpenExtendedMiningChannelSuccess,
    UpdateChannel,
)
from tests.functional.hostile_chain import (
    LONG,
    Chain,
    connected,
    open_channels,
    open_in_small_numbers,
    opened_chain,
)
from tests.functional.processes import PATIENCE_S, Site
from tests.roles.pool.house import Miner
from tests.roles.pool.neighbours import ANY_TARGET

pytest.importorskip("pbk", reason="needs py-bitcoinkernel, the node extra")
pytestmark = [
    pytest.mark.functional,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(900 if LONG else 180),
]

CHANNELS = 5_000 if LONG else 500
TURNS = 3
PEERS = 3
ROUND = 250
ROUNDS = 40 if LONG else 2

BOTH = pytest.mark.parametrize("where", ["pool", "proxy"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("hostile")) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chain(site: Site) -> AsyncIterator[Chain]:
    async with opened_chain(site, open_in_small_numbers) as made:
        yield made


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def the_good_miners_are_served(chain: Chain, request: pytest.FixtureRequest) -> AsyncIterator[None]:
    await chain.mark()
    yield
    await chain.check(request.node.name)


async def one_more(peer: Miner, request_id: int) -> None:
    """Open a channel, behind all that was asked for before, and leave."""
    peer.say(OpenExtendedMiningChannel(request_id, "last", 0.0, ANY_TARGET, 8))
    async with asyncio.timeout(PATIENCE_S):
        while (await peer.hear(OpenExtendedMiningChannelSuccess)).request_id != request_id:
            pass
    peer.link.close()
    await peer.link.wait_closed()


@BOTH
async def test_crowds_that_change_their_mind_and_leave_at_once_delay_nobody_else(
    chain: Chain, where: str
) -> None:
    peer = await connected(chain.servers[where])
    channels = await open_channels(peer, CHANNELS)
    assert len(channels) == CHANNELS
    for turn in range(TURNS):
        peer.say(*(UpdateChannel(channel_id, 1.0 + turn, ANY_TARGET) for channel_id in channels))
        with contextlib.suppress(TimeoutError):
            # The proxy passes them on once a second.
            async with asyncio.timeout(1.1):
                while True:
                    await peer.link.receive_batch()
    peer.say(*(CloseChannel(channel_id, "enough") for channel_id in channels))
    await one_more(peer, CHANNELS)


@BOTH
async def test_a_group_of_thousands_that_is_closed_by_one_message_delays_nobody_else(
    chain: Chain, where: str
) -> None:
    peer = await connected(chain.servers[where])
    channels = await open_channels(peer, CHANNELS)
    [group] = set(channels.values())
    peer.say(CloseChannel(group, "enough"))
    await one_more(peer, CHANNELS)


@BOTH
async def test_peers_that_open_and_close_without_end_delay_nobody_else(chain: Chain, where: str) -> None:
    peers = [await connected(chain.servers[where]) for _ in range(PEERS)]

    async def come_and_go(peer: Miner) -> None:
        for _ in range(ROUNDS):
            channels = await open_channels(peer, ROUND)
            assert len(channels) == ROUND
            peer.say(*(CloseChannel(channel_id, "enough") for channel_id in channels))
        peer.link.close()
        await peer.link.wait_closed()

    await asyncio.gather(*map(come_and_go, peers))
