"""A solo pool on a real port over a fake node, and the fake miners that connect to it."""

import asyncio
from typing import Any

from prometheus_client import CollectorRegistry

from protocols.bitcoin.networks import Network
from protocols.translation.extranonce import Layout
from roles.node_client.answers import NodeTemplate
from roles.runtime.ban_list import BanList
from roles.runtime.line_connection import serve
from roles.runtime.peer_server import ServerLimits
from roles.runtime.readiness import Readiness
from roles.solo_pool.api import Overview
from roles.solo_pool.metrics import SoloPoolMetrics
from roles.solo_pool.miner import Terms
from roles.solo_pool.reward import Rewards
from roles.solo_pool.solo_pool import SoloPool
from roles.solo_pool.workshop import Workshop
from roles.stratum.miner_session import SessionLimits
from roles.templates.draft import Draft
from roles.templates.meters import NodeMeters
from roles.templates.selection import Constraints
from roles.templates.submission import Submitter
from shared_config.address import Address
from tests.roles.templates.fake_node import FakeNode, make_template
from tests.roles.translator.fake_miners import FakeMiner

OURS = b"\x00\x14" + bytes(20)
ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
BLOCK_HASHES = 1 << 11
START = 2.0**-27
"""SV1 difficulty of some 32 hashes."""


class House:
    """All parts but the daemon; the test brings the templates."""

    def __init__(self, node: FakeNode, *, block_hashes: int | None = BLOCK_HASHES) -> None:
        self.node = node
        self.registry = CollectorRegistry()
        self.readiness = Readiness()
        self.is_away = False
        self.bans = BanList(CollectorRegistry())
        self.layout = Layout(8)
        self.submitter = Submitter(node, NodeMeters(self.registry, "solo_pool"), lambda _: None)
        self.workshop = Workshop("test", self.layout, block_hashes=block_hashes, fee_gain=1_000)
        self.pool = SoloPool(
            self.workshop,
            Rewards(Network.REGTEST, OURS),
            self.submitter,
            layout=self.layout,
            terms=Terms(START, 60.0),
            limits=SessionLimits(verdict_s=1.0, own_shares_per_minute=60.0),
            bans=self.bans,
            is_away=lambda: self.is_away,
            remembered=10,
        )
        self.registry.register(SoloPoolMetrics(self.pool))
        self.overview = Overview(self.pool, self.readiness, lambda peer: peer, node="http://node")
        self.server = serve(
            Address("127.0.0.1", 0),
            self.pool.serve,
            setting="listen_address",
            server_limits=ServerLimits(begin_s=1.0),
        )
        self.miners: list[FakeMiner] = []
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        self._task = asyncio.create_task(self.server.run())

    async def close(self) -> None:
        for miner in self.miners:
            await miner.close()
        await self.pool.drain()
        await self.submitter.close()
        assert self._task is not None
        assert not self._task.done()
        self._task.cancel()
        await asyncio.wait({self._task})

    async def offer(self, template: NodeTemplate | None = None, **changes: Any) -> Draft:
        """Give the pool a template of the node."""
        draft = Draft.make(template or make_template(**changes), Constraints(43, 1))
        await self.pool.take(draft)
        return draft

    async def connect(self, kind: type[FakeMiner] = FakeMiner, **attributes: Any) -> Any:
        """A miner with its socket connected, and nothing said."""
        miner = kind()
        for name, value in attributes.items():
            setattr(miner, name, value)
        self.miners.append(miner)
        return await miner.connect(self.server.address.port)

    async def miner(self, kind: type[FakeMiner] = FakeMiner, **attributes: Any) -> Any:
        """A miner at work."""
        miner = await self.connect(kind, **attributes)
        await miner.start()
        return miner

    def count(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"hashpool_solo_pool_{name}", labels) or 0.0
