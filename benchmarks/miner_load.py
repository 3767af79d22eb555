"""SV1 miners that find a share in each period, and how those that serve them are looked at meanwhile."""

import argparse
import asyncio
import os
import random
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from benchmarks.errors import EdgeRefused, SharesLost
from benchmarks.machine import cpu_seconds
from benchmarks.sv1_miner import Sv1Miner, connect
from shared_config.address import Address

PERIOD_S: Final = 10.0
"""A share of each miner."""
SECONDS: Final = 30.0
ALL_SECONDS: Final = 60.0
WARM: Final = 16
"""Miners that are there before memory is looked at."""
RENEWAL_S: Final = 30.0
OPENING: Final = 32
ANSWER_S: Final = 10.0
LOOK_S: Final = 0.02
TIP_S: Final = 1.0
"""What comes on a new tip is left to the kernel for so long."""
TOLD_S: Final = 30.0
"""All have heard of it by then."""

LIMITS: Final[dict[str, object]] = {
    "limits.connections": 100_000,
    "limits.connections_per_host": 100_000,
    "limits.connections_per_subnet": 100_000,
}


class Process(Protocol):
    """A daemon, ours or another's."""

    @property
    def pid(self) -> int:
        """Its process."""
        ...


class Source(Protocol):
    """The pool at the far end, which accepts every share."""

    accepted: int

    def move_tip(self) -> float:
        """Give all miners work on another tip; returns when that began, in Unix seconds."""

    def renew(self) -> float:
        """Give all miners other work on the present tip."""

    def waits(self, user: str) -> Sequence[float]:
        """How long it has made each share of a user wait, in seconds; empty where it makes none wait."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is done: miners, seconds that count, and seconds from one share of a miner to its next."""

    miners: int
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


def load_arguments(parser: argparse.ArgumentParser, miners: int, all_miners: int) -> None:
    """The options of a benchmark with such miners."""
    parser.add_argument("--full", action="store_true", help=f"{all_miners} miners, {ALL_SECONDS:g} s")
    parser.add_argument("--miners", type=int, metavar="N", help=f"miners ({miners})")
    parser.add_argument("--seconds", type=float, metavar="N", help=f"that count ({SECONDS:g})")
    parser.add_argument(
        "--period", type=float, default=PERIOD_S, metavar="N", help=f"seconds for a share ({PERIOD_S:g})"
    )
    parser.add_argument("--seed", type=int, metavar="N", help="of the moments at which shares are found")


def plan_of(options: argparse.Namespace, miners: int, all_miners: int) -> Plan:
    """How much the options ask for."""
    wanted, seconds = (all_miners, ALL_SECONDS) if options.full else (miners, SECONDS)
    return Plan(
        wanted if options.miners is None else options.miners,
        seconds if options.seconds is None else options.seconds,
        options.period,
        int.from_bytes(os.urandom(4), "big") if options.seed is None else options.seed,
        options.state,
    )


async def steady(edge: Sequence[Process], pool: Source, miners: Sequence[Sv1Miner], plan: Plan) -> Steady:
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
        # A share may be answered before it has gone all the way.
        if not any(miner.unanswered for miner in miners) and pool.accepted >= sum(
            miner.answered for miner in miners
        ):
            break
        await asyncio.sleep(LOOK_S)
    cpu = [cpu_seconds([pid]) - before for pid, before in zip(pids, cpu, strict=True)]
    renewals = await renewing
    account(pool, miners)
    latencies = [
        latency - wait
        for miner, before in zip(miners, told, strict=True)
        for latency, wait in list(zip(miner.latencies, _waits(pool, miner), strict=True))[before:]
    ]
    return Steady(cpu, len(latencies), latencies, renewals)


def _waits(pool: Source, miner: Sv1Miner) -> Sequence[float]:
    return pool.waits(miner.user) or [0.0] * len(miner.latencies)


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


async def _renew(pool: Source, seconds: float) -> int:
    """Other work every while, first after half of it; returns how often."""
    waits = [RENEWAL_S / 2, *[RENEWAL_S] * int(max(0.0, seconds / RENEWAL_S - 0.5))]
    for wait in waits if seconds > RENEWAL_S / 2 else ():
        await asyncio.sleep(wait)
        pool.renew()
    return len(waits) if seconds > RENEWAL_S / 2 else 0


async def fanout(pool: Source, miners: Sequence[Sv1Miner]) -> float:
    """Seconds from the pool's write of a new tip until the last miner has its job, as the kernel has it."""
    for miner in miners:
        miner.pause()
    begun = pool.move_tip()
    await asyncio.sleep(TIP_S)
    for miner in miners:
        miner.listen()
    for _ in range(round(TOLD_S / LOOK_S)):
        await asyncio.sleep(LOOK_S)
        if all(miner.told_at > begun for miner in miners):
            return max(miner.told_at for miner in miners) - begun
    raise EdgeRefused("miners have not heard of a new tip")


def account(pool: Source, miners: Sequence[Sv1Miner]) -> None:
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


def milliseconds(seconds: float) -> float:
    """Seconds as figures tell them."""
    return round(seconds * 1e3, 3)


async def open_miners(address: Address, first: int, miners: int) -> list[Sv1Miner]:
    """Miners from a number on, with work each; raises EdgeRefused, TimeoutError and OSError."""
    room = asyncio.Semaphore(OPENING)

    async def one(number: int) -> Sv1Miner:
        async with room:
            return await connect(address, f"rig.{number}")

    return list(await asyncio.gather(*(one(number) for number in range(first, first + miners))))
