"""`processes`: what a share costs a pool that serves miners in several processes, against one that has one.

Three pools run side by side, each with a ledger, a template provider and miners of its own: `one` process
with all miners, `several` with as many, and for comparison one process that has only its `part` of them,
because the less a process has to do the less of it is done at once. They are timed in turns, so that whatever
else the machine does meets them all. CPU time is that of all processes of a pool.
"""

import argparse
import asyncio
import gc
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.closed_loop import percentile
from benchmarks.machine import cpu_seconds, file_system
from benchmarks.miner_link import MinerLink, connect
from benchmarks.shares import HASHES, POOL, SHARES_PER_MINUTE
from benchmarks.site import DaemonProcess, Site, open_site
from benchmarks.template_server import template_server
from protocols.bitcoin.secp256k1 import public_key
from protocols.ehash.key_text import encode_key
from protocols.noise.authority import public_of
from roles.cli.auditing.sides import audit
from roles.runtime.authority import authority_secret
from roles.runtime.process import harden
from roles.runtime.state import role_state

PROCESSES: Final = 2
CONNECTIONS: Final = 512
ROUNDS: Final = 20
"""The first two warm up, the others are the figures."""
WARM: Final = 2
EACH: Final = 8
"""Shares of one connection in one round."""
OPENING: Final = 32


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is done: processes of the second pool, connections, shares of one of them in a round."""

    processes: int = PROCESSES
    connections: int = CONNECTIONS
    rounds: int = ROUNDS
    each: int = EACH
    state: Path | None = None


@dataclass(slots=True)
class Crew:
    """A pool and its miners."""

    site: Site
    pool: DaemonProcess
    pids: list[int]
    links: list[MinerLink]
    cpu_us: list[float] = field(default_factory=list)
    per_s: list[float] = field(default_factory=list)

    async def round(self, each: int, *, lockstep: bool) -> None:
        """Have every miner submit so many shares."""
        self.pool.check()
        shares = each * len(self.links)
        cpu, started = cpu_seconds(self.pids), time.perf_counter()
        await asyncio.gather(*(link.submit(each, lockstep=lockstep) for link in self.links))
        wall = time.perf_counter() - started
        self.cpu_us.append((cpu_seconds(self.pids) - cpu) / shares * 1e6)
        self.per_s.append(shares / wall)

    async def close(self) -> None:
        """Hang up and stop the pool."""
        for link in self.links:
            link.close()
        await self.site.stop(self.pool)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--processes", type=int, default=PROCESSES, metavar="N", help="of the pool (2)")
    parser.add_argument("--connections", type=int, default=CONNECTIONS, metavar="N", help="miners (512)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help=f"of each way ({ROUNDS})")
    parser.add_argument("--each", type=int, default=EACH, metavar="N", help=f"shares a round ({EACH})")


def run(options: argparse.Namespace) -> dict[str, object]:
    """Measure; raises DaemonFailed and PoolRefused."""
    plan = Plan(options.processes, options.connections, options.rounds, options.each, options.state)
    return asyncio.run(measure(plan))


async def measure(plan: Plan) -> dict[str, object]:
    """The figures of pools that are started for it."""
    harden()
    single = await _compare(plan, lockstep=True)
    bulk = await _compare(plan, lockstep=False)
    return {
        "processes": plan.processes,
        "one_per_segment": single.told(),
        "bulk": bulk.told(),
        "connections": plan.connections,
        "spread": single.spread,
        "shares_each_way": plan.each * plan.connections * (plan.rounds - WARM),
        "loop": single.loop,
        "kernel": single.kernel,
        "disk": single.disk,
        "audit_ok": single.is_sound and bulk.is_sound,
    }


@dataclass(frozen=True, slots=True)
class Comparison:
    """The crews in the order one, several, part, after the last round."""

    crews: tuple[Crew, Crew, Crew]
    spread: list[int]
    loop: str
    kernel: str
    disk: str
    is_sound: bool

    def told(self) -> dict[str, float]:
        """Medians of the rounds, and of the ratios of rounds that came one after the other."""
        one, several, part = (crew.cpu_us[WARM:] for crew in self.crews)
        figures = {
            "one_us": round(median(one), 1),
            "several_us": round(median(several), 1),
            "part_us": round(median(part), 1),
            "ratio": round(_ratio(several, one), 3),
            "ratio_to_part": round(_ratio(several, part), 3),
        }
        for name, crew in zip(("one", "several"), self.crews, strict=False):
            figures[f"{name}_per_s"] = round(median(crew.per_s[WARM:]))
            latencies = [each for link in crew.links for each in link.latencies]
            figures[f"{name}_p99_ms"] = round(percentile(latencies, 99) * 1e3, 1) if latencies else 0.0
        return figures


def _ratio(dividend: Sequence[float], divisor: Sequence[float]) -> float:
    return median(a / b for a, b in zip(dividend, divisor, strict=True))


async def _compare(plan: Plan, *, lockstep: bool) -> Comparison:
    part = plan.connections // plan.processes
    sizes = ((1, plan.connections), (plan.processes, plan.connections), (1, part))
    async with AsyncExitStack() as stack:
        crews: list[Crew] = []
        for processes, connections in sizes:
            site = await stack.enter_async_context(open_site(plan.state))
            await stack.enter_async_context(template_server(site))
            crews.append(await _crew(site, plan, processes, connections, lockstep=lockstep))
        gc.collect()
        for number in range(plan.rounds):
            # None always comes behind another.
            for crew in crews if number % 2 else reversed(crews):
                await crew.round(plan.each, lockstep=lockstep)
        one, several, fewer = crews
        spread = [_connections(pid, several.site) for pid in several.pids]
        for crew in crews:
            await crew.close()
        sound = all(audit(crew.site.state, ("pool",), required=True).ok for crew in crews)
        disk = file_system(one.site.state)
        return Comparison((one, several, fewer), spread, one.pool.loop, one.pool.kernel, disk, sound)


async def _crew(site: Site, plan: Plan, processes: int, connections: int, *, lockstep: bool) -> Crew:
    # In lockstep a miner waits for the answer to one share before it sends the next.
    acknowledged = {"acknowledgement.shares": 1} if lockstep else {}
    pool = await site.start("pool", POOL | acknowledged | {"processes": processes})
    links = await _open(site, connections)
    for number, link in enumerate(links, 1):
        user = encode_key(public_key(number.to_bytes(32, "big")))
        work = await link.open_channel(user, HASHES * SHARES_PER_MINUTE / 60)
        link.seal(work.mine(plan.each * plan.rounds))
    pids = [pool.pid, *children(pool.pid)]
    assert len(pids) == processes
    return Crew(site, pool, pids, links)


async def _open(site: Site, connections: int) -> list[MinerLink]:
    address = site.address("pool", "listen_address")
    authority = public_of(authority_secret(role_state(site.state, "pool")))
    room = asyncio.Semaphore(OPENING)

    async def one() -> MinerLink:
        async with room:
            return await connect(address, authority)

    return list(await asyncio.gather(*(one() for _ in range(connections))))


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    files = Path(f"/proc/{pid}/task").glob("*/children")
    return sorted(int(child) for file in files for child in file.read_text().split())


def _connections(pid: int, site: Site) -> int:
    """How many miners a process serves."""
    port = f":{site.address('pool', 'listen_address').port:04X}"
    established = "01"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inodes = {line[9] for line in lines if line[1].endswith(port) and line[3] == established}
    held = 0
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            held += str(descriptor.readlink()).removeprefix("socket:[").removesuffix("]") in inodes
        except OSError:
            continue
    return held
