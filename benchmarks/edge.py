"""`edge`: what SV1 miners cost translator and proxy together, both real, at a scripted pool.

The pool accepts every share at once, so that the answer takes what the edge takes; the wallet has nothing to
mint. Shares are mined before they are timed, at a target so easy that this is cheap.
"""

import argparse
import asyncio
import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.closed_loop import percentile
from benchmarks.errors import SharesLost
from benchmarks.machine import cpu_seconds, file_system, resident_kib
from benchmarks.site import DaemonProcess, Site, open_site
from benchmarks.sv1_miner import Sv1Miner, connect
from benchmarks.yes_pool import HASHES, YesPool, yes_pool
from roles.runtime.process import harden

MINERS: Final = 500
ALL_MINERS: Final = 5_000
WARM: Final = 16
"""Miners that are there before memory is looked at."""
SHARES_EACH: Final = 20
ROUNDS: Final = 4
"""The first warms up, the others are the figures."""
SINGLE_SHARES: Final = 200
TIPS: Final = 5
OPENING: Final = 32

LIMITS: Final[dict[str, object]] = {
    "limits.connections": 100_000,
    "limits.connections_per_host": 100_000,
    "limits.connections_per_subnet": 100_000,
    "limits.shares_per_s": 1_000_000,
}
PROXY: Final[dict[str, object]] = LIMITS | {
    "limits.channels_per_connection": 65_535,
    "limits.channel_shares_per_s": 1_000_000,
}


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is done: miners, shares of each in a round, and of one that mines alone."""

    miners: int = MINERS
    each: int = SHARES_EACH
    single: int = SINGLE_SHARES
    state: Path | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--full", action="store_true", help=f"{ALL_MINERS} miners")
    parser.add_argument("--miners", type=int, metavar="N", help=f"miners ({MINERS})")
    parser.add_argument(
        "--each", type=int, default=SHARES_EACH, metavar="N", help="shares of each in a round"
    )


def run(options: argparse.Namespace) -> dict[str, object]:
    """Measure; raises DaemonFailed, EdgeRefused and SharesLost."""
    miners = ALL_MINERS if options.full else MINERS
    plan = Plan(miners if options.miners is None else options.miners, options.each, state=options.state)
    return asyncio.run(measure(plan))


async def measure(plan: Plan) -> dict[str, object]:
    """The figures of a proxy and a translator that are started for it."""
    harden()
    async with open_site(plan.state) as site, yes_pool(site) as pool:
        await site.start("mint")
        edge = [await site.start("proxy", PROXY), await site.start("translator", LIMITS)]
        warm = await _open(site, WARM)
        before = sum(resident_kib(daemon.pid) for daemon in edge)
        miners = await _open(site, plan.miners)
        grown = sum(resident_kib(daemon.pid) for daemon in edge) - before
        cpu = await _share_us(edge, miners, plan.each)
        alone = await _alone(warm[0], plan.single)
        told = sum(len(miner.latencies) for miner in (*miners, *warm))
        if told != pool.accepted:
            raise SharesLost(f"{told} shares are told to be accepted, the pool has seen {pool.accepted}")
        fanout = [await _fanout(pool, [*warm, *miners]) for _ in range(TIPS)]
        for miner in (*miners, *warm):
            miner.close()
        return {
            "miners": plan.miners,
            "cpu_us_per_share": round(cpu, 1),
            "added_latency_ms": round(median(alone) * 1e3, 3),
            "kib_per_miner": round(grown / plan.miners, 1),
            "job_fanout_ms": round(median(fanout) * 1e3, 1),
            "added_latency_p99_ms": round(percentile(alone, 99) * 1e3, 3),
            "shares": pool.accepted,
            "hashes_per_share": HASHES,
            "pool": "scripted",
            "loop": edge[0].loop,
            "disk": file_system(site.state),
        }


async def _share_us(edge: Sequence[DaemonProcess], miners: Sequence[Sv1Miner], each: int) -> float:
    """CPU microseconds of a share while every miner has one under way; the median of the timed rounds."""
    for miner in miners:
        miner.prepare(each * ROUNDS)
    gc.collect()
    pids = [daemon.pid for daemon in edge]
    costs = []
    for _ in range(ROUNDS):
        before = cpu_seconds(pids)
        await asyncio.gather(*(miner.submit(each) for miner in miners))
        costs.append((cpu_seconds(pids) - before) / (each * len(miners)))
    return median(costs[1:]) * 1e6


async def _alone(miner: Sv1Miner, shares: int) -> list[float]:
    """Seconds to the answer of each share when nobody else sends any."""
    miner.prepare(shares)
    await miner.submit(shares)
    return miner.latencies


async def _fanout(pool: YesPool, miners: Sequence[Sv1Miner]) -> float:
    """Seconds from the pool's write of a new tip until the last miner has its job."""
    heard = [asyncio.ensure_future(miner.until_other_work()) for miner in miners]
    await asyncio.sleep(0)
    pool.move_tip()
    started = time.perf_counter()
    await asyncio.gather(*heard)
    return max(miner.noticed_at for miner in miners) - started


async def _open(site: Site, miners: int) -> list[Sv1Miner]:
    address = site.address("translator", "listen_address")
    room = asyncio.Semaphore(OPENING)

    async def one() -> Sv1Miner:
        async with room:
            return await connect(address, "bench")

    return list(await asyncio.gather(*(one() for _ in range(miners))))
