"""`edge`: what SV1 miners cost translator and proxy together, both real, at a scripted pool.

Every miner finds a share in each period, at a random moment of its own, and the pool gives other work now
and then, as pools do; the CPU time of both daemons over that time is what the shares cost. The pool accepts
every share after the wait of ours, which is no part of what the edge adds; the wallet has nothing to mint.
Shares are mined before they are timed, at a target so easy that this is cheap.

With `--peer sri` the translator of the Stratum V2 reference implementation serves as many miners at such a
pool in the same run. It answers miners before the pool does, so its latencies are no such figures.
"""

import argparse
import asyncio
import gc
import time
from statistics import median
from typing import Final

from benchmarks.closed_loop import percentile
from benchmarks.machine import cpu_seconds, file_system, resident_kib
from benchmarks.miner_load import (
    LIMITS,
    WARM,
    Plan,
    account,
    fanout,
    load_arguments,
    milliseconds,
    open_miners,
    plan_of,
    steady,
)
from benchmarks.site import open_site
from benchmarks.sri_translator import running_sri_translator
from benchmarks.yes_pool import HASHES, yes_pool
from roles.runtime.process import harden

MINERS: Final = 500
ALL_MINERS: Final = 5_000
TIPS: Final = 5
PROXY: Final[dict[str, object]] = LIMITS | {"limits.channels_per_connection": 65_535}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    load_arguments(parser, MINERS, ALL_MINERS)
    parser.add_argument("--peer", choices=["sri"], help="measure the reference implementation's, too")


def run(options: argparse.Namespace) -> dict[str, object]:
    """Measure; raises DaemonFailed, EdgeRefused and SharesLost."""
    plan = plan_of(options, MINERS, ALL_MINERS)
    harden()
    ours = asyncio.run(measure(plan))
    return ours if options.peer is None else ours | {"sri": asyncio.run(_peer(plan))}


async def measure(plan: Plan) -> dict[str, object]:
    """The figures of a proxy and a translator that are started for it."""
    async with open_site(plan.state) as site, yes_pool(site) as pool:
        await site.start("mint")
        edge = [await site.start("proxy", PROXY), await site.start("translator", LIMITS)]
        address = site.address("translator", "listen_address")
        warm = await open_miners(address, 0, WARM)
        before = [resident_kib(daemon.pid) for daemon in edge]
        started = time.perf_counter()
        miners = await open_miners(address, WARM, plan.miners)
        opening = time.perf_counter() - started
        gc.collect()
        gc.freeze()
        steadily = await steady(edge, pool, miners, plan)
        pids = [daemon.pid for daemon in edge]
        cpu = cpu_seconds(pids)
        spread = [await fanout(pool, [*warm, *miners]) for _ in range(TIPS)]
        cpu = (cpu_seconds(pids) - cpu) / (TIPS * (WARM + plan.miners))
        grown = [resident_kib(daemon.pid) - first for daemon, first in zip(edge, before, strict=True)]
        account(pool, [*warm, *miners])
        for miner in (*miners, *warm):
            miner.close()
        per_share = [each / max(1, steadily.shares) * 1e6 for each in steadily.cpu]
        return {
            "miners": plan.miners,
            "cpu_us_per_share": round(sum(per_share), 1),
            "added_latency_ms": milliseconds(median(steadily.latencies)),
            "kib_per_miner": round(sum(grown) / plan.miners, 1),
            "job_fanout_ms": round(max(spread) * 1e3, 1),
            "added_latency_p99_ms": milliseconds(percentile(steadily.latencies, 99)),
            "added_latency_max_ms": milliseconds(max(steadily.latencies)),
            "job_fanout_median_ms": round(median(spread) * 1e3, 1),
            "new_block_us_per_miner": round(cpu * 1e6, 1),
            "renewals": steadily.renewals,
            "proxy_us": round(per_share[0], 1),
            "translator_us": round(per_share[1], 1),
            "proxy_kib": round(grown[0] / plan.miners, 1),
            "translator_kib": round(grown[1] / plan.miners, 1),
            "opened_per_s": round(plan.miners / opening),
            "shares": steadily.shares,
            "period_s": plan.period,
            "hashes_per_share": HASHES,
            "rejected": 0,
            "dropped": 0,
            "seed": plan.seed,
            "pool": "scripted",
            "loop": edge[0].loop,
            "disk": file_system(site.state),
        }


async def _peer(plan: Plan) -> dict[str, object]:
    """The same of the reference implementation's translator, which is one process."""
    # Its targets are rounded: harder by more than that than what the pool asks for.
    hashrate = 2 * HASHES / 10
    async with (
        open_site(plan.state) as site,
        yes_pool(site) as pool,
        running_sri_translator(site, hashrate=hashrate) as translator,
    ):
        warm = await open_miners(translator.address, 0, WARM)
        before = resident_kib(translator.pid)
        miners = await open_miners(translator.address, WARM, plan.miners)
        gc.collect()
        gc.freeze()
        steadily = await steady([translator], pool, miners, plan)
        cpu = cpu_seconds([translator.pid])
        spread = [await fanout(pool, [*warm, *miners]) for _ in range(TIPS)]
        cpu = (cpu_seconds([translator.pid]) - cpu) / (TIPS * (WARM + plan.miners))
        grown = resident_kib(translator.pid) - before
        account(pool, [*warm, *miners])
        for miner in (*miners, *warm):
            miner.close()
        return {
            "cpu_us_per_share": round(sum(steadily.cpu) / max(1, steadily.shares) * 1e6, 1),
            "kib_per_miner": round(grown / plan.miners, 1),
            "job_fanout_ms": round(max(spread) * 1e3, 1),
            "new_block_us_per_miner": round(cpu * 1e6, 1),
            "shares": steadily.shares,
        }
