"""`mint`: what minting and swapping eight tokens costs a real mint process, for one client and for many.

mint8: a bolt11 quote in sat on the fake backend, which pays itself, made, looked at and minted. swap8: eight
tokens for eight. What clients compute is prepared before a round, and their answers are opened after it. With
`--peer nutshell`, nutshell's mint does the same beside ours, a round of the one after a round of the other.
Shares that become quotes while all clients mint earlier ones are measured at the end.
"""

import argparse
import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.closed_loop import Round, summary
from benchmarks.counter import DENOMINATIONS, Counter, open_counter
from benchmarks.curve import curve_limit_ms, curve_us
from benchmarks.issuer import ONE_SHIFT
from benchmarks.machine import file_system
from benchmarks.nutshell import nutshell_mint
from benchmarks.site import Site, open_site
from benchmarks.till import measure_flow
from roles.runtime.daemon import loop_factory

MIN_OPERATIONS: Final = 100
OPERATIONS_EACH: Final = 40
PEER_SHARE: Final = 8
"""A peer does this part of our operations: it takes longer over each."""
SHARES: Final = 6_000
PEERS: Final = ("none", "nutshell")

SETTINGS: Final[Mapping[str, object]] = {
    "bolt11.backend": "fake",
    "http.requests_per_s": 0,
    **ONE_SHIFT,
    "http.quotes_per_s": 0,
    "http.exchanges_per_s": 0,
    "http.checks_per_s": 0,
}
"""No bounds on one address, from which all clients come."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is done: clients side by side, operations and rounds at each, seconds after which no further
    round begins, shares for the flow.
    """

    clients: tuple[int, ...] = (1, 16)
    operations: int | None = None
    rounds: int = 3
    shares: int = SHARES
    peer: str = "none"
    budget_s: float = 120.0
    state: Path | None = None

    def size(self, clients: int) -> int:
        """Operations of a round."""
        return self.operations or max(MIN_OPERATIONS, OPERATIONS_EACH * clients)


@dataclass(slots=True)
class Contestant:
    """A mint and its rounds; it does the `part`-th part of the operations."""

    counter: Counter
    part: int = 1
    rounds: list[tuple[Round, Round]] = field(default_factory=list)

    async def play(self, clients: int, operations: int) -> tuple[Round, Round]:
        """A round of either kind."""
        minting, baskets = await self.counter.mint_round(clients, max(clients, operations // self.part))
        return minting, await self.counter.swap_round(clients, baskets)

    def figures(self) -> dict[str, float]:
        """Of all rounds; then they are forgotten."""
        minted, swapped = (summary(each) for each in zip(*self.rounds, strict=True))
        self.rounds = []
        return {
            "mint8_per_s": round(minted.per_second, 1),
            "mint8_cpu_ms": round(minted.cpu_ms, 3),
            "swap8_per_s": round(swapped.per_second, 1),
            "swap8_cpu_ms": round(swapped.cpu_ms, 3),
            "p99_ms": round(max(minted.p99_ms, swapped.p99_ms), 1),
            "mint8_p99_ms": round(minted.p99_ms, 1),
            "swap8_p99_ms": round(swapped.p99_ms, 1),
            "failed": minted.failed + swapped.failed,
            "operations": minted.succeeded + swapped.succeeded,
        }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--clients", default="1,16", metavar="N,N", help="clients side by side (1,16)")
    parser.add_argument("--operations", type=int, metavar="N", help="operations of a round (40 a client)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="rounds, of which medians (3)")
    parser.add_argument("--shares", type=int, default=SHARES, metavar="N", help=f"shares credited ({SHARES})")
    parser.add_argument("--peer", choices=PEERS, default="none", help="a mint of others beside ours (none)")


def run(options: argparse.Namespace) -> dict[str, object]:
    """Measure; raises DaemonFailed when a mint does not run."""
    clients = tuple(int(number) for number in options.clients.split(","))
    plan = Plan(
        clients, options.operations, options.rounds, options.shares, options.peer, state=options.state
    )
    # The driver shares the machine with the mints: what it saves, whoever is measured has.
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(measure(plan))


async def measure(plan: Plan) -> dict[str, object]:
    """The figures of a mint that is started for it."""
    async with open_site(plan.state) as site:
        mint = await site.start("mint", SETTINGS)
        ours = Contestant(await open_counter(mint.pid, site.address("mint", "http_address")))
        async with _peer(site, plan) as theirs:
            figures, other, primitives = await _compare(plan, ours, theirs)
        limit = curve_limit_ms(primitives, len(DENOMINATIONS))
        flow = await measure_flow(site, mint, max(plan.clients), plan.shares)
        return {
            "clients": figures,
            **other,
            "ehash": {
                "credited_per_s": round(flow.credited_per_s, 1),
                "batch_minted_per_s": round(flow.minted_per_s, 1),
                "cpu_us": round(flow.cpu_us, 1),
                "failed": flow.failed,
            },
            "loop": mint.loop,
            "kernel": mint.kernel,
            "disk": file_system(site.state),
            "curve_us": primitives,
            "swap8_curve_limit_ms": limit,
            "swap8_outside_ms": {
                clients: round(each["swap8_cpu_ms"] - limit, 3) for clients, each in figures.items()
            },
        }


@asynccontextmanager
async def _peer(site: Site, plan: Plan) -> AsyncIterator[Contestant | None]:
    if plan.peer == "none":
        yield None
        return
    async with nutshell_mint(site.state) as (pid, address):
        yield Contestant(await open_counter(pid, address), PEER_SHARE)


async def _compare(
    plan: Plan, ours: Contestant, theirs: Contestant | None
) -> tuple[dict[str, dict[str, float]], dict[str, object], dict[str, float]]:
    """Our figures, those of others, and what the curve took meanwhile."""
    figures: dict[str, dict[str, float]] = {}
    others: dict[str, dict[str, float]] = {}
    curve = [curve_us()]
    for clients in plan.clients:
        contestants = [each for each in (ours, theirs) if each is not None]
        for each in contestants:
            await each.play(clients, max(1, plan.size(clients) // 4))
        ends = time.monotonic() + plan.budget_s / len(plan.clients)
        while len(ours.rounds) < plan.rounds and (not ours.rounds or time.monotonic() < ends):
            for each in contestants:
                each.rounds.append(await each.play(clients, plan.size(clients)))
                # The machine's speed drifts: what the curve takes is measured where the swaps are.
                curve.append(curve_us())
        figures[str(clients)] = ours.figures()
        if theirs is not None:
            others[str(clients)] = theirs.figures()
    primitives = {name: round(median(each[name] for each in curve), 2) for name in curve[0]}
    if theirs is None:
        return figures, {}, primitives
    ratios = {clients: _ratios(figures[clients], others[clients]) for clients in figures}
    return figures, {plan.peer: others, "ratios": ratios}, primitives


def _ratios(ours: Mapping[str, float], theirs: Mapping[str, float]) -> dict[str, float]:
    """How many times better ours is: more a second, less time for each."""
    better = {name: ours[name] / theirs[name] for name in ("mint8_per_s", "swap8_per_s") if theirs[name]}
    for name in ("mint8_cpu_ms", "swap8_cpu_ms", "mint8_p99_ms", "swap8_p99_ms"):
        better[name] = theirs[name] / ours[name] if ours[name] else 0.0
    return {name: round(value, 1) for name, value in better.items()}
