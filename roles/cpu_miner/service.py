"""Builds the miner: a source of work, a crew that hashes, and what ties them."""

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from protocols.sv2.codec import MINING
from protocols.sv2.limits import FrameLimits
from protocols.sv2.setup import REQUIRES_STANDARD_JOBS
from roles.cpu_miner.crew import Crew
from roles.cpu_miner.sv1_source import Login, Sv1Source
from roles.cpu_miner.sv2_source import WORK, Sv2Source
from roles.cpu_miner.tally import Tally
from roles.cpu_miner.work import Candidate, Work
from roles.runtime import line_connection, sv2_connection
from roles.runtime.daemon import Daemon
from roles.runtime.sv2_connection import Sv2Connection
from roles.stratum.client_metrics import ClientMetrics
from roles.stratum.mining_client import MiningClient, Server
from roles.stratum.mining_setup import ClientIdentity
from shared_config.cpu_miner import CpuMinerSettings
from shared_config.miner_side import MinerSide

SETTLE_S = 3.0

_log = logging.getLogger(__name__)


Assign = Callable[[Work | None, bool], None]


class Source(Protocol):
    """Where work comes from and shares go."""

    async def run(self) -> None:
        """Keep the connection until cancelled."""

    def submit(self, candidate: Candidate) -> None:
        """Send a share."""


async def service(daemon: Daemon[CpuMinerSettings, MinerSide]) -> None:
    """Mine until the daemon stops; then let the last shares be answered."""
    settings = daemon.config
    tally = Tally(daemon.metrics)
    crew = Crew(settings.processes, settings.hashes_per_s, tally)
    make = sv1 if settings.protocol == "sv1" else sv2
    source: Source = make(daemon, tally, crew.work_on)
    _log.info(
        "mining",
        extra={"at": str(settings.address), "protocol": settings.protocol, "processes": settings.processes},
    )
    async with asyncio.TaskGroup() as group:
        hashing = group.create_task(crew.run(source.submit))
        following = group.create_task(source.run())
        await daemon.stopping.wait()
        hashing.cancel()
        await tally.settled(SETTLE_S)
        following.cancel()


def sv1(daemon: Daemon[CpuMinerSettings, MinerSide], tally: Tally, assign: Assign) -> Sv1Source:
    """Work from a translator or an SV1 pool."""
    settings = daemon.config

    async def dial() -> line_connection.LineConnection:
        return await line_connection.connect(settings.address)

    login = Login(settings.user, settings.password)
    return Sv1Source(dial, login, assign=assign, tally=tally, readiness=daemon.readiness)


def sv2(daemon: Daemon[CpuMinerSettings, MinerSide], tally: Tally, assign: Assign) -> Sv2Source:
    """Work from a proxy or an SV2 pool."""
    settings = daemon.config
    is_extended = settings.channel == "extended"
    proxy = daemon.shared.proxy
    authority = settings.authority_key
    if authority is None and proxy is not None and proxy.address == settings.address:
        authority = proxy.authority_key

    async def dial() -> Sv2Connection:
        return await sv2_connection.connect(
            settings.address,
            authority,
            limit=FrameLimits(MINING),
            allow_unauthenticated=settings.address.is_loopback,
        )

    def changed(connected: bool) -> None:
        if not connected:
            daemon.readiness.unmet(WORK, client.failure)

    client = MiningClient(
        Server(dial, ClientIdentity(settings.address.host, settings.address.port, device="cpu_miner")),
        flags=0 if is_extended else REQUIRES_STANDARD_JOBS,
        metrics=ClientMetrics(daemon.metrics),
        on_change=changed,
    )
    return Sv2Source(
        client,
        user=settings.user,
        is_extended=is_extended,
        hashes_per_s=settings.hashes_per_s,
        assign=assign,
        tally=tally,
        readiness=daemon.readiness,
    )
