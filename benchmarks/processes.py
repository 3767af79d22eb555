"""`processes`: what a share costs a pool that serves miners in several processes, against one that has one.

Both pools run side by side, each with a disk, a template provider and miners of its own, and are timed in
turns, so that whatever else the machine does meets both. CPU time is that of all processes of a pool; what a
share costs stands in the medians of many short rounds.
"""

import argparse
import asyncio
import gc
import time
from collections.abc import Sequence
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
CONNECTIONS: Final = 64
ROUNDS: Final = 24
"""The first two warm up, the others are the figures."""
WARM: Final = 2
EACH: Final = 40
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
    parser.add_argument("--connections", type=int, default=CONNECTIONS, metavar="N", help="miners (64)")
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
        "disk": single.disk,
        "audit_ok": single.is_sound and bulk.is_sound,
    }


@dataclass(frozen=True, slots=True)
class Comparison:
    """Medians of both pools, and the median of the ratios of rounds that came one after the other."""

    one_us: float
    several_us: float
    ratio: float
    one_per_s: float
    several_per_s: float
    one_p99_ms: float
    several_p99_ms: float
    spread: list[int]
    loop: str
    disk: str
    is_sound: bool

    def told(self) -> dict[str, float]:
        """The figures, rounded."""
        return {
            "one_us": round(self.one_us, 1),
            "several_us": round(self.several_us, 1),
            "ratio": round(self.ratio, 3),
            "one_per_s": round(self.one_per_s),
            "several_per_s": round(self.several_per_s),
            "one_p99_ms": round(self.one_p99_ms, 1),
            "several_p99_ms": round(self.several_p99_ms, 1),
        }


async def _compare(plan: Plan, *, lockstep: bool) -> Comparison:
    async with open_site(plan.state) as first, template_server(first):
        one = await _crew(first, plan, 1, lockstep=lockstep)
        async with open_site(plan.state) as second, template_server(second):
            several = await _crew(second, plan, plan.processes, lockstep=lockstep)
            gc.collect()
            for number in range(plan.rounds):
                # Neither always comes behind the other.
                for crew in (one, several) if number % 2 else (several, one):
                    await crew.round(plan.each, lockstep=lockstep)
            spread = [_connections(pid, second) for pid in several.pids]
            await several.close()
            await one.close()
            sound = all(audit(site.state, ("pool",), required=True).ok for site in (first, second))
            return Comparison(
                median(one.cpu_us[WARM:]),
                median(several.cpu_us[WARM:]),
                median(b / a for a, b in zip(one.cpu_us[WARM:], several.cpu_us[WARM:], strict=True)),
                median(one.per_s[WARM:]),
                median(several.per_s[WARM:]),
                _p99_ms(one.links, plan),
                _p99_ms(several.links, plan),
                spread,
                one.pool.loop,
                file_system(first.state),
                sound,
            )


async def _crew(site: Site, plan: Plan, processes: int, *, lockstep: bool) -> Crew:
    # In lockstep a miner waits for the answer to one share before it sends the next.
    acknowledged = {"acknowledgement.shares": 1} if lockstep else {}
    pool = await site.start("pool", POOL | acknowledged | {"processes": processes})
    links = await _open(site, plan.connections)
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


def _p99_ms(links: Sequence[MinerLink], plan: Plan) -> float:
    latencies = [each for link in links for each in link.latencies[plan.each * WARM :]]
    return percentile(latencies, 99) * 1e3 if latencies else 0.0


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
