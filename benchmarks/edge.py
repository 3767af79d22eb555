"""`edge`: what SV1 miners cost translator and proxy together, both real, at a scripted pool.

Every miner finds a share in each period, at a random moment of its own, and the pool gives other work now
and then, as pools do; the CPU time of both daemons over that time is what the shares cost. The pool accepts
every share after the wait of ours, which is no part of what the edge adds; the wallet has nothing to mint.
Shares are mined before they are timed, at a target so easy that this is cheap.
"""

import argparse
import asyncio
import gc
import os
import random
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.closed_loop import percentile
from benchmarks.errors import EdgeRefused, SharesLost
from benchmarks.machine import cpu_seconds, file_system, resident_kib
from benchmarks.site import DaemonProcess, Site, open_site
from benchmarks.sv1_miner import Sv1Miner, connect
from benchmarks.yes_pool import HASHES, YesPool, yes_pool
from roles.runtime.process import harden

MINERS: Final = 500
ALL_MINERS: Final = 5_000
PERIOD_S: Final = 10.0
"""A share of each miner."""
SECONDS: Final = 30.0
ALL_SECONDS: Final = 60.0
WARM: Final = 16
"""Miners that are there before memory is looked at."""
RENEWAL_S: Final = 30.0
TIPS: Final = 5
OPENING: Final = 32
ANSWER_S: Final = 10.0
LOOK_S: Final = 0.02
TIP_S: Final = 1.0
"""What comes on a new tip is left to the kernel for so long."""
TURNS: Final = 30

LIMITS: Final[dict[str, object]] = {
    "limits.connections": 100_000,
    "limits.connections_per_host": 100_000,
    "limits.connections_per_subnet": 100_000,
}
PROXY: Final[dict[str, object]] = LIMITS | {"limits.channels_per_connection": 65_535}


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is done: miners, seconds that count, and seconds from one share of a miner to its next."""

    miners: int = MINERS
    seconds: float = SECONDS
    period: float = PERIOD_S
    seed: int = 0
    state: Path | None = None


@dataclass(frozen=True, slots=True)
class Steady:
    """CPU seconds of each daemon, shares answered meanwhile, the seconds that the edge has added to each
    answer, and how often all miners were given other work.
    """

    cpu: Sequence[float]
    shares: int
    latencies: Sequence[float]
    renewals: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--full", action="store_true", help=f"{ALL_MINERS} miners, {ALL_SECONDS:g} s")
    parser.add_argument("--miners", type=int, metavar="N", help=f"miners ({MINERS})")
    parser.add_argument("--seconds", type=float, metavar="N", help=f"that count ({SECONDS:g})")
    parser.add_argument(
        "--period", type=float, default=PERIOD_S, metavar="N", help=f"seconds for a share ({PERIOD_S:g})"
    )
    parser.add_argument("--seed", type=int, metavar="N", help="of the moments at which shares are found")


def run(options: argparse.Namespace) -> dict[str, object]:
    """Measure; raises DaemonFailed, EdgeRefused and SharesLost."""
    miners, seconds = (ALL_MINERS, ALL_SECONDS) if options.full else (MINERS, SECONDS)
    plan = Plan(
        miners if options.miners is None else options.miners,
        seconds if options.seconds is None else options.seconds,
        options.period,
        int.from_bytes(os.urandom(4), "big") if options.seed is None else options.seed,
        options.state,
    )
    return asyncio.run(measure(plan))


async def measure(plan: Plan) -> dict[str, object]:
    """The figures of a proxy and a translator that are started for it."""
    harden()
    async with open_site(plan.state) as site, yes_pool(site) as pool:
        await site.start("mint")
        edge = [await site.start("proxy", PROXY), await site.start("translator", LIMITS)]
        warm = await _open(site, 0, WARM)
        before = [resident_kib(daemon.pid) for daemon in edge]
        started = time.perf_counter()
        miners = await _open(site, WARM, plan.miners)
        opening = time.perf_counter() - started
        gc.collect()
        gc.freeze()
        steady = await _steady(edge, pool, miners, plan)
        pids = [daemon.pid for daemon in edge]
        cpu = cpu_seconds(pids)
        fanout = [await _fanout(pool, [*warm, *miners]) for _ in range(TIPS)]
        cpu = (cpu_seconds(pids) - cpu) / (TIPS * (WARM + plan.miners))
        grown = [resident_kib(daemon.pid) - first for daemon, first in zip(edge, before, strict=True)]
        _account(pool, [*warm, *miners])
        for miner in (*miners, *warm):
            miner.close()
        per_share = [each / max(1, steady.shares) * 1e6 for each in steady.cpu]
        return {
            "miners": plan.miners,
            "cpu_us_per_share": round(sum(per_share), 1),
            "added_latency_ms": _milliseconds(median(steady.latencies)),
            "kib_per_miner": round(sum(grown) / plan.miners, 1),
            "job_fanout_ms": round(max(fanout) * 1e3, 1),
            "added_latency_p99_ms": _milliseconds(percentile(steady.latencies, 99)),
            "added_latency_max_ms": _milliseconds(max(steady.latencies)),
            "job_fanout_median_ms": round(median(fanout) * 1e3, 1),
            "new_block_us_per_miner": round(cpu * 1e6, 1),
            "renewals": steady.renewals,
            "proxy_us": round(per_share[0], 1),
            "translator_us": round(per_share[1], 1),
            "proxy_kib": round(grown[0] / plan.miners, 1),
            "translator_kib": round(grown[1] / plan.miners, 1),
            "opened_per_s": round(plan.miners / opening),
            "shares": steady.shares,
            "period_s": plan.period,
            "hashes_per_share": HASHES,
            "rejected": 0,
            "dropped": 0,
            "seed": plan.seed,
            "pool": "scripted",
            "loop": edge[0].loop,
            "disk": file_system(site.state),
        }


async def _steady(
    edge: Sequence[DaemonProcess], pool: YesPool, miners: Sequence[Sv1Miner], plan: Plan
) -> Steady:
    """Shares at their pace: a period that warms up, and the time that counts."""
    chance = random.Random(plan.seed)
    length = plan.period + plan.seconds
    for miner in miners:
        miner.prepare(int(length / plan.period) + 1)
    due = sorted(_moments(miners, plan.period, length, chance), key=lambda entry: entry[0])
    begun = time.monotonic()
    await _submit((entry for entry in due if entry[0] < plan.period), begun)
    pids = [daemon.pid for daemon in edge]
    cpu, told = [cpu_seconds([pid]) for pid in pids], [len(miner.latencies) for miner in miners]
    renewing = asyncio.create_task(_renew(pool, plan.seconds))
    await _submit((entry for entry in due if entry[0] >= plan.period), begun)
    await asyncio.sleep(begun + length - time.monotonic())
    for _ in range(round(ANSWER_S / LOOK_S)):
        if not any(miner.unanswered for miner in miners):
            break
        await asyncio.sleep(LOOK_S)
    cpu = [cpu_seconds([pid]) - before for pid, before in zip(pids, cpu, strict=True)]
    renewals = await renewing
    _account(pool, miners)
    latencies = [
        latency - wait
        for miner, before in zip(miners, told, strict=True)
        for latency, wait in list(zip(miner.latencies, pool.waits(miner.user), strict=True))[before:]
    ]
    return Steady(cpu, len(latencies), latencies, renewals)


def _moments(
    miners: Sequence[Sv1Miner], period: float, length: float, chance: random.Random
) -> Iterator[tuple[float, Sv1Miner]]:
    """When each miner submits."""
    for miner in miners:
        moment = chance.uniform(0, period)
        while moment < length:
            yield moment, miner
            moment += period


async def _submit(due: Iterable[tuple[float, Sv1Miner]], begun: float) -> None:
    for moment, miner in due:
        wait = begun + moment - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
        miner.send()


async def _renew(pool: YesPool, seconds: float) -> int:
    """Other work every while, first after half of it; returns how often."""
    waits = [RENEWAL_S / 2, *[RENEWAL_S] * int(max(0.0, seconds / RENEWAL_S - 0.5))]
    for wait in waits if seconds > RENEWAL_S / 2 else ():
        await asyncio.sleep(wait)
        pool.renew()
    return len(waits) if seconds > RENEWAL_S / 2 else 0


async def _fanout(pool: YesPool, miners: Sequence[Sv1Miner]) -> float:
    """Seconds from the pool's write of a new tip until the last miner has its job, as the kernel has it."""
    for miner in miners:
        miner.pause()
    begun = pool.move_tip()
    await asyncio.sleep(TIP_S)
    for miner in miners:
        miner.listen()
    for _ in range(TURNS):
        await asyncio.sleep(TIP_S / TURNS)
        if all(miner.told_at > begun for miner in miners):
            return max(miner.told_at for miner in miners) - begun
    raise EdgeRefused("miners have not heard of a new tip")


def _account(pool: YesPool, miners: Sequence[Sv1Miner]) -> None:
    """Raise what is wrong with a miner or a share."""
    for miner in miners:
        if miner.failure is not None:
            raise miner.failure
    rejected, unanswered = sum(len(m.refusals) for m in miners), sum(m.unanswered for m in miners)
    if rejected or unanswered:
        texts = ", ".join(sorted({text for miner in miners for text in miner.refusals}))
        raise SharesLost(f"{rejected} shares are rejected ({texts}), {unanswered} not answered")
    told = sum(miner.answered for miner in miners)
    if told != pool.accepted:
        raise SharesLost(f"{told} shares are told to be accepted, the pool has seen {pool.accepted}")


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1e3, 3)


async def _open(site: Site, first: int, miners: int) -> list[Sv1Miner]:
    address = site.address("translator", "listen_address")
    room = asyncio.Semaphore(OPENING)

    async def one(number: int) -> Sv1Miner:
        async with room:
            return await connect(address, f"rig.{number}")

    return list(await asyncio.gather(*(one(number) for number in range(first, first + miners))))
