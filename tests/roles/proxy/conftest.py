import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from protocols.bitcoin.secp256k1 import public_key
from roles.proxy.service import service
from roles.runtime.authority import authority_secret
from roles.runtime.daemon import Daemon
from shared_config.address import Address
from shared_config.miner_side import (
    MinerSide,
    MintUrlSettings,
    PoolPeerSettings,
    ProxyPeerSettings,
    UpstreamSettings,
)
from shared_config.proxy import ProxySettings, WalletSettings
from tests.roles.proxy.scripted_miner import ScriptedMiner
from tests.roles.proxy.scripted_pool import AUTHORITY, ScriptedPool

NOWHERE = "http://127.0.0.1:1"
PATIENCE = 30.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.005)


@dataclass
class House:
    """A proxy of the real composition root, on loopback."""

    daemon: Daemon[ProxySettings, MinerSide]
    address: Address
    miners: list[ScriptedMiner] = field(default_factory=list)

    @property
    def authority(self) -> bytes:
        return public_key(authority_secret(self.daemon.state))[1:]

    async def miner(self, *, flags: int = 0, extensions: tuple[int, ...] = ()) -> ScriptedMiner:
        miner = await ScriptedMiner.connect(self.address, self.authority, flags=flags, extensions=extensions)
        self.miners.append(miner)
        return miner

    def metric(self, name: str, **labels: str) -> float:
        return self.daemon.metrics.get_sample_value(f"hashpool_{name}", labels) or 0.0


Start = Callable[..., Awaitable[House]]


@pytest.fixture
async def pool() -> AsyncIterator[ScriptedPool]:
    pool = ScriptedPool()
    await pool.start()
    yield pool
    await pool.stop()


@pytest.fixture
async def start(tmp_path: Path, pool: ScriptedPool) -> AsyncIterator[Start]:
    running: list[tuple[House, asyncio.Task[None]]] = []

    async def start(
        *,
        hold_s: float | None = 60.0,
        mint: str = NOWHERE,
        connected: bool = True,
        others: tuple[UpstreamSettings, ...] = (),
        **config: object,
    ) -> House:
        address = Address("127.0.0.1", free_port())
        settings = ProxySettings(
            listen_address=address,
            health_address=Address("127.0.0.1", 0),
            wallet=WalletSettings(batch_delay_ms=10),
            **config,  # type: ignore[arg-type]
        )
        shared = MinerSide(
            hold_s=hold_s,
            pool=PoolPeerSettings(address=pool.address, authority_key=AUTHORITY),
            upstreams=others,
            mint=MintUrlSettings(url=mint),
            proxy=ProxyPeerSettings(address=address),
        )
        state = tmp_path / "proxy"
        state.mkdir(mode=0o700, exist_ok=True)
        house = House(Daemon("proxy", settings, shared, state), address)
        task = asyncio.ensure_future(service(house.daemon))
        running.append((house, task))
        if connected:
            await until(lambda: task.done() or house.metric("upstream_connected") == 1)
        else:
            failures = partial(house.metric, "upstream_failures_total", cause="ConnectFailed")
            await until(lambda: task.done() or failures() > 0)
        return house

    yield start
    for house, task in running:
        for miner in house.miners:
            miner.connection.close()
        house.daemon.stopping.set()
        await task


@pytest.fixture
async def proxy(start: Start) -> House:
    return await start()
