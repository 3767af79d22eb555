"""Regtest chains in temporary directories, bare and behind their RPC."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import cast

import aiohttp
import pytest

from roles.runtime.daemon import Daemon
from shared_config.address import Address
from shared_config.pool_side import PoolSide
from shared_config.regtest_node import RegtestNodeSettings
from tests.roles.regtest_node.client import Client
from tests.roles.regtest_node.forge import Clock, Forge


@pytest.fixture
def clock() -> Clock:
    """Starts a day ago: the kernel looks at the machine's clock, and tests move this one on."""
    return Clock(float(int(time.time()) - 86_400))


@pytest.fixture
def forge(tmp_path: Path, clock: Clock) -> Iterator[Forge]:
    """A fresh chain."""
    made = Forge(tmp_path, clock)
    yield made
    made.state.close()


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return cast("int", probe.getsockname()[1])


@pytest.fixture
def settings() -> RegtestNodeSettings:
    """Bounds small enough to be reached."""
    return RegtestNodeSettings(
        rpc_address=Address("127.0.0.1", free_port()),
        health_address=Address("127.0.0.1", 0),
        body_bytes=1 << 20,
        body_s=1.0,
        connections=8,
        long_polls=2,
        work_queue=3,
    )


@pytest.fixture
async def daemon(
    tmp_path: Path, settings: RegtestNodeSettings
) -> AsyncIterator[Daemon[RegtestNodeSettings, PoolSide]]:
    """A node that serves; it is stopped at the end, and must end well."""
    from roles.regtest_node.service import service

    shared = cast("PoolSide", None)
    made = Daemon("regtest_node", settings, shared, tmp_path)
    serving = asyncio.ensure_future(service(made))
    ready = asyncio.ensure_future(made.readiness.wait())
    async with asyncio.timeout(30):
        await asyncio.wait({serving, ready}, return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        await serving
    yield made
    made.stopping.set()
    async with asyncio.timeout(30):
        await serving


@pytest.fixture
async def client(daemon: Daemon[RegtestNodeSettings, PoolSide]) -> AsyncIterator[Client]:
    """A client of that node."""
    async with aiohttp.ClientSession() as session:
        yield Client(daemon.config.rpc_address.port, daemon.state, session)
