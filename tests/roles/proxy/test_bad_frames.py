"""Whatever a miner sends, its connection ends by the protocol's own errors or goes on."""

import asyncio
import contextlib
from unittest.mock import MagicMock

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from protocols.sv2.codec import encode
from protocols.sv2.errors import Sv2Error
from protocols.sv2.frame import Frame
from roles.proxy.downstream import CATALOGUE, Downstream
from roles.proxy.downstream_bounds import DownstreamBounds
from roles.proxy.downstream_channel import Edge
from roles.proxy.meters import Meters
from roles.proxy.modes import PerMiner
from roles.proxy.slices import Slices
from tests.roles.proxy.scripted_miner import setup_message

NUMBERS = st.sampled_from(sorted(CATALOGUE.messages)) | st.tuples(st.integers(0, 0x7FFF), st.integers(0, 255))
FRAMES = st.builds(
    lambda number, channel, payload: Frame(number[0], channel, number[1], payload),
    NUMBERS,
    st.booleans(),
    st.binary(max_size=120),
)


def downstream() -> Downstream:
    edge = Edge(MagicMock(), Meters(CollectorRegistry()), lambda: 1.0, None, MagicMock())
    watch = MagicMock(is_released=False)
    return Downstream(
        MagicMock(unsent=0),
        edge=edge,
        mode=lambda line, new_id: PerMiner(edge, line),
        registrar=MagicMock(),
        slices=Slices(0),
        watch=watch,
        bounds=DownstreamBounds(channels=0),
    )


@given(frames=st.lists(FRAMES, max_size=5), begun=st.booleans())
@settings(max_examples=200, deadline=None)
def test_no_frame_raises_anything_but_the_protocols_errors(frames: list[Frame], begun: bool) -> None:
    async def feed() -> None:
        served = downstream()
        with contextlib.suppress(Sv2Error):
            for frame in [encode(setup_message())] * begun + frames:
                served._receive(frame)
        for task in served._openings:
            task.cancel()
        await asyncio.sleep(0)

    asyncio.run(feed())
