"""Fake miners, named after the firmware whose habits they have, and a scripted proxy, all hashing for
themselves.

Nothing of the code under test is used to mine or to judge: both sides follow what stands on the wire.
"""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from roles.runtime.backoff import Backoff
from roles.runtime.line_connection import serve
from roles.runtime.peer_server import ServerLimits
from roles.stratum.client_metrics import ClientMetrics
from roles.stratum.lodger import LodgingTerms
from roles.stratum.miner_session import SessionLimits
from roles.stratum.mining_client import MiningClient, Server
from roles.stratum.mining_setup import ClientIdentity
from roles.stratum.reception_metrics import ReceptionMetrics
from roles.stratum.worker_metrics import WorkerMetrics
from roles.translator.translator import Translator
from shared_config.address import Address
from tests.roles.translator.fake_miners import Bitaxe, Cgminer, FakeMiner, Minerd, NerdMiner
from tests.roles.translator.scripted_proxy import PATIENCE, VERDICT_S, ScriptedProxy


class House:
    """A translator on a real port, its scripted proxy, and the fake miners that connect to it."""

    def __init__(self, upstream: Any, **limits: Any) -> None:
        self.proxy = ScriptedProxy(upstream)
        self.registry = CollectorRegistry()
        self.client = MiningClient(
            Server(upstream.dial, ClientIdentity("127.0.0.1", 1, device="translator")),
            extensions=(0x4548,),
            metrics=ClientMetrics(self.registry),
            backoff=Backoff(0.001, 0.002),
        )
        hold = limits.pop("hold_s", 60.0)
        open_s = limits.pop("open_s", PATIENCE)
        size = limits.pop("extranonce2_size", 8)
        start = limits.pop("start_difficulty", 0.002)
        keeping = {name: limits.pop(name) for name in ("session_s", "parked_sessions") if name in limits}
        gather = limits.pop("gather", 0.0)
        self.translator = Translator(
            self.client,
            extranonce2_size=size,
            terms=LodgingTerms(start, open_s, hold),
            limits=SessionLimits(**{"verdict_s": VERDICT_S, **limits}),
            gather=gather,
            **keeping,
        )
        self.registry.register(ReceptionMetrics("hashpool_translator", self.translator))
        workers = WorkerMetrics("hashpool_translator", self.translator.workers, time.monotonic, 100)
        self.registry.register(workers)
        self.server = serve(
            Address("127.0.0.1", 0),
            self.translator.serve,
            setting="listen_address",
            server_limits=ServerLimits(begin_s=10.0),
        )
        self.port = self.server.address.port
        self.miners: list[FakeMiner] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        runs = (self.client.run(), self.server.run(), self.proxy.run())
        self._tasks = [asyncio.create_task(run) for run in runs]
        async with asyncio.timeout(PATIENCE):
            while not self.client.is_connected:
                await asyncio.sleep(0.001)

    async def close(self) -> None:
        for miner in self.miners:
            await miner.close()
        for task in self._tasks:
            assert not task.done(), task
            task.cancel()
            await asyncio.wait({task})

    async def connect(self, kind: type[FakeMiner] = FakeMiner, **attributes: Any) -> Any:
        """A miner with its socket connected, and nothing said."""
        miner = kind()
        for name, value in attributes.items():
            setattr(miner, name, value)
        self.miners.append(miner)
        return await miner.connect(self.port)

    async def miner(self, kind: type[FakeMiner] = FakeMiner, **attributes: Any) -> Any:
        """A miner at work."""
        miner = await self.connect(kind, **attributes)
        await miner.start()
        return miner

    def count(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"hashpool_{name}", labels) or 0.0


@pytest.fixture
async def build(upstream: Any) -> AsyncIterator[Callable[..., Any]]:
    """Makes houses with limits of one's own, and takes them down."""
    houses: list[House] = []

    async def make(**limits: Any) -> House:
        house = House(upstream, **limits)
        houses.append(house)
        await house.open()
        return house

    yield make
    for house in houses:
        await house.close()


@pytest.fixture
async def house(build: Callable[..., Any]) -> Any:
    return await build()


@pytest.fixture(params=[Bitaxe, Minerd, Cgminer, NerdMiner], ids=lambda kind: kind.__name__.lower())
def profile(request: pytest.FixtureRequest) -> type[FakeMiner]:
    kind: type[FakeMiner] = request.param
    return kind


@pytest.fixture
def bitaxe() -> type[FakeMiner]:
    return Bitaxe


@pytest.fixture
def minerd() -> type[FakeMiner]:
    return Minerd


@pytest.fixture
def fake_miner() -> type[FakeMiner]:
    return FakeMiner


@pytest.fixture
def scripted_proxy(upstream: Any) -> ScriptedProxy:
    return ScriptedProxy(upstream)


@pytest.fixture
def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
