"""A pool that grants every channel and accepts every share at once, so that only the edge is measured."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Final

from benchmarks.site import Site
from benchmarks.template_server import REGTEST_BITS, REWARD, new_template
from protocols.bitcoin.hashing import sha256
from protocols.bitcoin.target import from_bits, from_work
from protocols.bitcoin.transaction import TxOut
from protocols.ehash.messages import EXTENSION, MINING_MESSAGES
from protocols.mining.channel import ExtendedChannel
from protocols.mining.job import Tip, build_work
from protocols.sv2.codec import MINING, encode
from protocols.sv2.connection import PROTOCOL_MINING
from protocols.sv2.frame import Frame
from protocols.sv2.layout import Message
from protocols.sv2.limits import FrameLimits
from protocols.sv2.mining import OpenExtendedMiningChannel, SubmitSharesExtended, SubmitSharesSuccess
from protocols.sv2.setup import REQUIRES_STANDARD_JOBS, REQUIRES_VERSION_ROLLING, ServerSetup
from roles.pool.workshop import template_of
from roles.runtime.authority import authority_secret
from roles.runtime.state import role_state
from roles.runtime.sv2_connection import Sv2Connection, serve

HASHES: Final = 16
"""Expected hashes of a share."""
GROUP: Final = 1
SCRIPT: Final = b"\x00\x14" + bytes(20)

_CATALOGUE = MINING.with_messages(*MINING_MESSAGES)


class YesPool:
    """Serves one proxy; `accepted` counts its shares."""

    def __init__(self) -> None:
        self.accepted = 0
        self._tip = 0
        self._prefixes = count(1)
        self._connection: Sv2Connection | None = None
        self._channels: dict[int, ExtendedChannel] = {}

    def move_tip(self) -> None:
        """Give every channel work on another tip, in one write."""
        self._tip += 1
        if self._connection is not None:
            messages = [message for channel in self._channels.values() for message in self._begin(channel)]
            self._connection.send(*map(encode, messages))

    async def serve(self, connection: Sv2Connection) -> None:
        """Talk to the proxy until it goes; raises ConnectionLost and Sv2Error."""
        self._connection = connection
        flags = REQUIRES_STANDARD_JOBS | REQUIRES_VERSION_ROLLING
        setup = ServerSetup(PROTOCOL_MINING, supported_flags=flags, extensions=(EXTENSION,))
        while True:
            answers: list[Frame] = []
            for frame in await connection.receive_batch():
                answer = setup.receive(frame)
                answers += [answer] if answer else map(encode, self._answer(_CATALOGUE.decode(frame)[0]))
            if answers:
                connection.send(*answers)

    def _answer(self, message: Message) -> list[Message]:
        if isinstance(message, SubmitSharesExtended):
            self.accepted += 1
            return [SubmitSharesSuccess(message.channel_id, message.sequence_number, 1, 0)]
        if isinstance(message, OpenExtendedMiningChannel):
            number = next(self._prefixes)
            channel = ExtendedChannel(
                GROUP + number,
                number.to_bytes(4, "big"),
                target=from_work(HASHES),
                max_target=message.max_target,
            )
            self._channels[channel.channel_id] = channel
            return [channel.open_success(message.request_id, GROUP), *self._begin(channel)]
        return []

    def _begin(self, channel: ExtendedChannel) -> tuple[Message, ...]:
        template = template_of(new_template(self._tip + 1), (1, self._tip + 1))
        work = build_work(template, [TxOut(REWARD, SCRIPT)], pool="benchmark", revision=0)
        now = int(time.time())
        previous = sha256(b"tip" + self._tip.to_bytes(4, "little"))
        return channel.begin(work, Tip(previous, now, REGTEST_BITS, from_bits(REGTEST_BITS), now))


@asynccontextmanager
async def yes_pool(site: Site) -> AsyncIterator[YesPool]:
    """Such a pool where the proxy of a site looks for its pool, with the key it expects."""
    pool = YesPool()
    server = serve(
        site.shared_address("miner", "pool.address"),
        authority_secret(role_state(site.state, "pool")),
        pool.serve,
        limit=FrameLimits(_CATALOGUE),
        setting="pool.address",
    )
    task = asyncio.create_task(server.run())
    try:
        yield pool
    finally:
        task.cancel()
        await asyncio.wait({task})
