"""`sv1_proxy`: what SV1 miners cost each instance of sv1_proxy, chained, at a scripted SV1 pool.

Every miner finds a share in each period, and each goes all the way: the miner side sends it to the pool
side, which credits it in its ledger and sends it to the pool, which accepts it at once. That is the dearest
that a share can be; what meets no upstream's difficulty ends earlier. The CPU time of each daemon over the
time that counts, wallet, ledger and the look-ups of its mint included, is what the shares cost; what is left
with `--unminted`, by which the wallet asks for nothing, is what they cost on their way.
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
from benchmarks.yes_sv1_pool import HASHES, yes_sv1_pool
from roles.cli.fleet import SV1
from roles.runtime.process import harden

MINERS: Final = 2_000
ALL_MINERS: Final = 5_000
TIPS: Final = 5
CKPOOL_US: Final = "40 to 56"
CKPOOL_KIB: Final = "24 to 27"
"""What a share and a client cost ckpool, in C, on a quiet machine like the one that ours were told of."""

EHASH: Final[dict[str, object]] = {
    # Each share is worth a unit, so that it has a row and a quote of its own, as in earnest.
    "shared.ehash.minimum_difficulty": HASHES.bit_length() - 1,
    "shared.regtest.block_difficulty": 1 << 60,
}
POOL_SIDE: Final[dict[str, object]] = (
    LIMITS
    | EHASH
    | {
        "vardiff.floor_hashes": HASHES,
        "limits.shares_per_s": 100_000,
        "limits.workers": 100_000,
    }
)
MINER_SIDE: Final[dict[str, object]] = LIMITS | {
    "shown_shares_per_minute": 0,
    # Thousands that come at once on a busy machine wait for the store.
    "verdict_s": 30,
    "upstream_limits.names": 100_000,
}
UNMINTED: Final[dict[str, object]] = {"news_s": 3_600, "wallet.recovery_s": 86_400}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    load_arguments(parser, MINERS, ALL_MINERS)
    parser.add_argument("--unminted", action="store_true", help="leave what is earned at the mint")


def run(options: argparse.Namespace) -> dict[str, object]:
    """Measure; raises DaemonFailed, EdgeRefused and SharesLost."""
    return asyncio.run(measure(plan_of(options, MINERS, ALL_MINERS), mints=not options.unminted))


async def measure(plan: Plan, *, mints: bool = True) -> dict[str, object]:
    """The figures of two instances that are started for it; `mints`: whether the wallet looks for tokens."""
    harden()
    async with open_site(plan.state, SV1) as site:
        async with yes_sv1_pool(site.address("solo_pool", "listen_address")) as pool:
            await site.start("mint", EHASH)
            chain = [
                await site.start("sv1_proxy_pool", POOL_SIDE),
                await site.start("sv1_proxy_miner", MINER_SIDE | ({} if mints else UNMINTED)),
            ]
            address = site.address("sv1_proxy_miner", "listen_address")
            warm = await open_miners(address, 0, WARM)
            before = [resident_kib(daemon.pid) for daemon in chain]
            started = time.perf_counter()
            miners = await open_miners(address, WARM, plan.miners)
            opening = time.perf_counter() - started
            gc.collect()
            gc.freeze()
            steadily = await steady(chain, pool, miners, plan)
            pids = [daemon.pid for daemon in chain]
            cpu = cpu_seconds(pids)
            spread = [await fanout(pool, [*warm, *miners]) for _ in range(TIPS)]
            cpu = (cpu_seconds(pids) - cpu) / (TIPS * (WARM + plan.miners))
            grown = [resident_kib(daemon.pid) - first for daemon, first in zip(chain, before, strict=True)]
            account(pool, [*warm, *miners])
            for miner in (*miners, *warm):
                miner.close()
        pool_us, home_us = (each / max(1, steadily.shares) * 1e6 for each in steadily.cpu)
        return {
            "miners": plan.miners,
            "miner_side_us_per_share": round(home_us, 1),
            "pool_side_us_per_share": round(pool_us, 1),
            "miner_side_kib_per_miner": round(grown[1] / plan.miners, 1),
            "pool_side_kib_per_miner": round(grown[0] / plan.miners, 1),
            "ckpool_us_per_share": CKPOOL_US,
            "ckpool_kib_per_client": CKPOOL_KIB,
            "latency_ms": milliseconds(median(steadily.latencies)),
            "latency_p99_ms": milliseconds(percentile(steadily.latencies, 99)),
            "job_fanout_ms": round(max(spread) * 1e3, 1),
            "new_block_us_per_miner": round(cpu * 1e6, 1),
            "renewals": steadily.renewals,
            "opened_per_s": round(plan.miners / opening),
            "shares": steadily.shares,
            "period_s": plan.period,
            "mints": mints,
            "hashes_per_share": HASHES,
            "rejected": 0,
            "dropped": 0,
            "seed": plan.seed,
            "pool": "scripted",
            "loop": chain[0].loop,
            "disk": file_system(site.state),
        }
