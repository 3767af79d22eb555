"""`mint`: what minting and swapping eight tokens costs a real mint process, for one client and for many.

mint8: a quote made by work over the issuance link, looked at and minted. swap8: eight tokens for eight. All
of a round's quotes are made in its beginning, in its time. What clients compute is prepared before a round,
and their answers are opened after it.
"""

import argparse
import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.closed_loop import Round, summary
from benchmarks.curve import curve_limit_ms, curve_us
from benchmarks.machine import file_system
from benchmarks.site import open_site
from benchmarks.till import DENOMINATIONS, Till, open_till

MIN_OPERATIONS: Final = 100
OPERATIONS_EACH: Final = 20


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is done: clients side by side, operations and rounds at each, seconds after which no further
    round begins.
    """

    clients: tuple[int, ...] = (1, 16)
    operations: int | None = None
    rounds: int = 3
    budget_s: float = 40.0
    state: Path | None = None

    def size(self, clients: int) -> int:
        """Operations of a round."""
        return self.operations or max(MIN_OPERATIONS, OPERATIONS_EACH * clients)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--clients", default="1,16", metavar="N,N", help="clients side by side (1,16)")
    parser.add_argument("--operations", type=int, metavar="N", help="operations of a round (20 a client)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="rounds, of which medians (3)")


def run(options: argparse.Namespace) -> dict[str, object]:
    """Measure; raises DaemonFailed when the mint does not run."""
    clients = tuple(int(number) for number in options.clients.split(","))
    return asyncio.run(measure(Plan(clients, options.operations, options.rounds, state=options.state)))


async def measure(plan: Plan) -> dict[str, object]:
    """The figures of a mint that is started for it."""
    primitives = curve_us()
    async with open_site(plan.state) as site:
        mint = await site.start("mint", {"http.requests_per_s": 0})
        figures: dict[str, dict[str, float]] = {}
        async with open_till(site, mint) as till:
            for clients in plan.clients:
                figures[str(clients)] = await _measure_clients(till, clients, plan)
        return {
            "clients": figures,
            "loop": mint.loop,
            "disk": file_system(site.state),
            "curve_us": primitives,
            "swap8_curve_limit_ms": curve_limit_ms(primitives, len(DENOMINATIONS)),
        }


async def _measure_clients(till: Till, clients: int, plan: Plan) -> dict[str, float]:
    operations = plan.size(clients)
    await _round(till, clients, max(1, operations // 4))
    ends = time.monotonic() + plan.budget_s / len(plan.clients)
    rounds: list[tuple[Round, Round]] = []
    while len(rounds) < plan.rounds and (not rounds or time.monotonic() < ends):
        rounds.append(await _round(till, clients, operations))
    minted, swapped = (summary(each) for each in zip(*rounds, strict=True))
    return {
        "mint8_per_s": round(minted.per_second, 1),
        "mint8_cpu_ms": round(minted.cpu_ms, 3),
        "swap8_per_s": round(swapped.per_second, 1),
        "swap8_cpu_ms": round(swapped.cpu_ms, 3),
        "p99_ms": round(max(minted.p99_ms, swapped.p99_ms), 1),
        "failed": minted.failed + swapped.failed,
        "operations": minted.succeeded + swapped.succeeded,
    }


async def _round(till: Till, clients: int, operations: int) -> tuple[Round, Round]:
    minting, baskets = await till.mint_round(clients, operations)
    return minting, await till.swap_round(clients, baskets)
