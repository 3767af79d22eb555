"""`connections`: what connections and channels cost a pool process, and how soon all have a new block's work.

Every connection is encrypted, comes from one of many loopback addresses under the pool's ordinary limits, and
has one channel. The time of a job is from the moment at which the template provider writes the new tip, until
the kernel has the last connection's job and SetNewPrevHash at the miners' end.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.errors import PoolRefused
from benchmarks.machine import cpu_seconds, file_system, resident_kib
from benchmarks.site import DaemonProcess, Site, open_site
from benchmarks.template_server import TemplateServer, template_server
from protocols.noise.authority import public_of
from roles.cli.checkout import home
from roles.runtime.authority import authority_secret
from roles.runtime.process import harden
from roles.runtime.state import role_state

CONNECTIONS: Final = 1_000
ALL_CONNECTIONS: Final = 10_000
WARM: Final = 32
"""Connections that are there before memory is looked at."""
TIPS: Final = 6
"""The first warms up, the others are the figures."""
PAUSE_S: Final = 0.5
ORDER_S: Final = 300.0

POOL: Final[dict[str, object]] = {"shared.regtest.block_difficulty": 1 << 60}


@dataclass(frozen=True, slots=True)
class Plan:
    """How many connections there are."""

    connections: int = CONNECTIONS
    state: Path | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--full", action="store_true", help=f"{ALL_CONNECTIONS} connections")
    parser.add_argument("--connections", type=int, metavar="N", help=f"miners ({CONNECTIONS})")


def run(options: argparse.Namespace) -> dict[str, object]:
    """Measure; raises DaemonFailed and PoolRefused."""
    connections = ALL_CONNECTIONS if options.full else CONNECTIONS
    return asyncio.run(
        measure(Plan(connections if options.connections is None else options.connections, options.state))
    )


@dataclass(slots=True)
class Crowd:
    """The process that plays the miners."""

    process: asyncio.subprocess.Process
    cpu_s: float = 0.0
    """What it has used for orders."""

    async def do(self, order: str, number: int = 0) -> dict[str, float]:
        """Have an order carried out; raises PoolRefused."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.process.stdin.write(json.dumps((order, number)).encode() + b"\n")
        async with asyncio.timeout(ORDER_S):
            line = await self.process.stdout.readline()
        if not line:
            story = (await self.process.stderr.read()).decode().strip().rpartition("\n")[2]
            raise PoolRefused(f"the miners gave up: {story}")
        told: dict[str, float] = json.loads(line)
        self.cpu_s += told["cpu_s"]
        return told


@dataclass(frozen=True, slots=True)
class Phase:
    """What an order took: seconds by the clock and of CPU, and how many KiB the pool grew."""

    wall_s: float
    cpu_s: float
    crowd_cpu_s: float
    kib: int


async def measure(plan: Plan) -> dict[str, object]:
    """The figures of a pool that is started for it."""
    harden()
    settings = POOL | {"limits.connections": plan.connections + WARM}
    async with open_site(plan.state) as site, template_server(site) as templates:
        pool = await site.start("pool", settings)
        async with _crowd(site) as warm, _crowd(site) as crowd:
            await warm.do("connect", WARM)
            await warm.do("open")
            opening = await _phase(pool, crowd, "connect", plan.connections)
            granting = await _phase(pool, crowd, "open")
            tips = [await _tip(pool, templates, crowd) for _ in range(TIPS)][1:]
            idle = await _resting_us(pool)
        each = plan.connections
        return {
            "connections": each,
            "open_per_s": round(each / opening.wall_s),
            "open_cpu_us": round(opening.cpu_s / each * 1e6, 1),
            "channel_cpu_us": round(granting.cpu_s / each * 1e6, 1),
            "job_fanout_ms": round(median(tip.last_ms for tip in tips), 1),
            "job_fanout_worst_ms": round(max(tip.last_ms for tip in tips), 1),
            "job_fanout_half_ms": round(median(tip.half_ms for tip in tips), 1),
            "job_cpu_us": round(median(tip.cpu_s for tip in tips) / each * 1e6, 1),
            "resting_cpu_us_per_s": round(idle / each, 2),
            "kib_per_connection": round(opening.kib / each, 2),
            "kib_per_channel": round(granting.kib / each, 2),
            "client_open_cpu_us": round(opening.crowd_cpu_s / each * 1e6, 1),
            "client_job_cpu_us": round(median(tip.crowd_cpu_s for tip in tips) / each * 1e6, 1),
            "template_provider": "scripted",
            "loop": pool.loop,
            "disk": file_system(site.state),
        }


async def _phase(pool: DaemonProcess, crowd: Crowd, order: str, number: int = 0) -> Phase:
    pool.check()
    before, cpu, crowd_cpu = resident_kib(pool.pid), cpu_seconds([pool.pid]), crowd.cpu_s
    started = time.perf_counter()
    await crowd.do(order, number)
    wall = time.perf_counter() - started
    return Phase(
        wall,
        cpu_seconds([pool.pid]) - cpu,
        crowd.cpu_s - crowd_cpu,
        resident_kib(pool.pid) - before,
    )


@dataclass(frozen=True, slots=True)
class Tip:
    """When half of the miners and the last one had a new block's work, and seconds of CPU."""

    half_ms: float
    last_ms: float
    cpu_s: float
    crowd_cpu_s: float


async def _tip(pool: DaemonProcess, templates: TemplateServer, crowd: Crowd) -> Tip:
    await asyncio.sleep(PAUSE_S)
    pool.check()
    cpu = cpu_seconds([pool.pid])
    # The kernel's clock of arrivals is this one.
    began = time.time()
    templates.move_tip()
    told = await crowd.do("wait")
    spent = cpu_seconds([pool.pid]) - cpu
    return Tip((told["half"] - began) * 1e3, (told["last"] - began) * 1e3, spent, told["cpu_s"])


async def _resting_us(pool: DaemonProcess) -> float:
    """CPU of the pool in a second in which nobody says anything, in microseconds."""
    cpu, started = cpu_seconds([pool.pid]), time.perf_counter()
    await asyncio.sleep(4 * PAUSE_S)
    return (cpu_seconds([pool.pid]) - cpu) / (time.perf_counter() - started) * 1e6


@asynccontextmanager
async def _crowd(site: Site) -> AsyncIterator[Crowd]:
    address = site.address("pool", "listen_address")
    authority = public_of(authority_secret(role_state(site.state, "pool")))
    command = [sys.executable, "-m", "benchmarks.crowd", address.host, str(address.port), authority.hex()]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe, cwd=home())
    try:
        yield Crowd(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
