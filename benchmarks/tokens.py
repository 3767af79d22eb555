"""`tokens`: from a share in the pool's ledger to its token in the wallet, through the whole system at a rate.

Every daemon of `hashpool up` but the CPU miner, on the real disk; scripted SV1 miners at the translator, each
with a key of its own, submit real shares at random moments, at a given rate on average. Blocks are found on
the way, so that tips change.
"""

import argparse
import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.closed_loop import percentile
from benchmarks.errors import SharesLost
from benchmarks.machine import cpu_seconds, file_system
from benchmarks.paced_miner import PacedMiner, connect
from benchmarks.site import Site, open_site
from protocols.bitcoin.target import DIFFICULTY_ONE, work
from roles.cli.auditing.sides import audit
from roles.cli.run_report import Baseline, settled
from roles.cli.stores import MintStore, PoolStore, WalletStore, open_store

RATE: Final = 200.0
SECONDS: Final = 60.0
MINERS: Final = 20
WARM_S: Final = 5.0
SETTLE_S: Final = 60.0
LOOK_S: Final = 0.1
HASHES: Final = 256
"""Of a share: one ehash, and cheap to find."""

_ROLES: Final = ("regtest_node", "mint", "template_provider", "pool", "proxy", "translator")


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is done: shares a second of all miners together, for how long after the warm-up."""

    rate: float = RATE
    seconds: float = SECONDS
    miners: int = MINERS
    warm_s: float = WARM_S
    seed: int = 0
    state: Path | None = None

    def settings(self) -> Mapping[str, Mapping[str, object]]:
        """What differs from the development configuration: shares that Python can find so many of."""
        difficulty = HASHES / work(DIFFICULTY_ONE)
        return {
            "pool": {
                "vardiff.floor_hashes": HASHES,
                "vardiff.shares_per_minute": min(6_000, max(6, 60 * self.rate / self.miners)),
            },
            "translator": {"start_difficulty": f"{difficulty:.12f}"},
        }


@dataclass(frozen=True, slots=True)
class Stages:
    """Milliseconds from the ledger's commit to the token, and of that until the wallet heard of the quote."""

    to_token: list[int]
    to_notice: list[int]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--rate", type=float, default=RATE, metavar="N", help=f"shares a second ({RATE:g})")
    parser.add_argument("--seconds", type=float, default=SECONDS, metavar="N", help=f"({SECONDS:g})")
    parser.add_argument("--miners", type=int, default=MINERS, metavar="N", help=f"miners ({MINERS})")
    parser.add_argument("--seed", type=int, metavar="N", help="of the moments at which shares are found")


def run(options: argparse.Namespace) -> dict[str, object]:
    """Measure; raises DaemonFailed, EdgeRefused and SharesLost."""
    seed = int.from_bytes(os.urandom(4), "big") if options.seed is None else options.seed
    plan = Plan(options.rate, options.seconds, options.miners, WARM_S, seed, options.state)
    return asyncio.run(measure(plan))


async def measure(plan: Plan) -> dict[str, object]:
    """The figures of a system that is started for it."""
    settings = plan.settings()
    async with open_site(plan.state) as site:
        daemons = {role: await site.start(role, settings.get(role)) for role in _ROLES}
        pids = {role: daemon.pid for role, daemon in daemons.items()}
        miners = await _miners(site, plan)
        mining = [asyncio.create_task(miner.mine(plan.rate / plan.miners)) for miner in miners]
        try:
            await _wait(mining, plan.warm_s)
            begun, cpu = Baseline.take(site.state), {role: cpu_seconds([pid]) for role, pid in pids.items()}
            own, started = time.process_time(), time.perf_counter()
            await _wait(mining, plan.seconds)
            elapsed = time.perf_counter() - started
            spent = {role: cpu_seconds([pid]) - cpu[role] for role, pid in pids.items()}
            own = time.process_time() - own
        finally:
            for task in mining:
                task.cancel()
            await asyncio.gather(*mining, return_exceptions=True)
        last, pending = _place(site.state), _pending(site.state)
        await _settle(site.state, miners)
        figures = _figures(site.state, begun.seq, last)
        for miner in miners:
            miner.close()
        loop, disk = daemons["pool"].loop, file_system(site.state)
        for daemon in [*site.running][::-1]:
            await site.stop(daemon)
        findings = audit(site.state)
    shares = len(figures.to_token)
    if shares != last - begun.seq:
        raise SharesLost(f"{last - begun.seq - shares} of {last - begun.seq} shares have become no token")
    refused = sum((miner.refused for miner in miners), Counter[str]())
    return {
        "rate_per_s": plan.rate,
        "shares_per_s": round(shares / elapsed, 1),
        "shares": shares,
        "share_to_token_ms": _percentiles(figures.to_token),
        "share_to_notice_ms": _percentiles(figures.to_notice),
        "cpu_us_per_share": {role: round(each / shares * 1e6) for role, each in spent.items()}
        | {"miners": round(own / shares * 1e6)},
        "cores_busy": round((sum(spent.values()) + own) / elapsed, 2),
        "pending_at_the_end": pending,
        "refused": dict(refused),
        "unanswered": sum(miner.unanswered for miner in miners),
        "audit": {"ok": findings.ok, "detail": findings.detail()},
        "miners": plan.miners,
        "seed": plan.seed,
        "loop": loop,
        "disk": disk,
    }


async def _miners(site: Site, plan: Plan) -> list[PacedMiner]:
    address = site.address("translator", "listen_address")
    chance = random.Random(plan.seed)
    return [
        await connect(address, f"bench{number}", random.Random(chance.getrandbits(64)))
        for number in range(plan.miners)
    ]


async def _wait(mining: list[asyncio.Task[None]], seconds: float) -> None:
    """Let the miners mine; raises what ends one of them."""
    done, _ = await asyncio.wait(mining, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()


async def _settle(state: Path, miners: list[PacedMiner]) -> None:
    """Wait until every share is answered and every one accepted is a token; raises SharesLost."""
    for _ in range(round(SETTLE_S / LOOK_S)):
        if not any(miner.unanswered for miner in miners) and settled(state):
            return
        await asyncio.sleep(LOOK_S)
    raise SharesLost(f"shares are not minted {SETTLE_S:g} s after the last one")


def _place(state: Path) -> int:
    connection = open_store(state, "pool", PoolStore.FILE)
    assert connection is not None
    with connection:
        return PoolStore(connection).last_seq()


def _pending(state: Path) -> dict[str, int]:
    """Shares in the ledger that have no quote yet, and quotes that are no token yet."""
    # In this order no store is seen ahead of the one before it on a share's way.
    wallet = open_store(state, "proxy", WalletStore.FILE)
    mint = open_store(state, "mint", MintStore.FILE)
    pool = open_store(state, "pool", PoolStore.FILE)
    assert pool is not None
    assert mint is not None
    assert wallet is not None
    with wallet, mint, pool:
        quotes = MintStore(mint).quote_count()
        minted = WalletStore(wallet).minted_count()
        return {"shares": PoolStore(pool).last_seq() - quotes, "quotes": quotes - minted}


def _figures(state: Path, first: int, last: int) -> Stages:
    """How long the shares from one place of the ledger to another took."""
    pool = open_store(state, "pool", PoolStore.FILE)
    wallet = open_store(state, "proxy", WalletStore.FILE)
    assert pool is not None
    assert wallet is not None
    with pool, wallet:
        shares: dict[bytes, int] = dict(
            tuple(row)
            for row in pool.execute("SELECT hash, time FROM share WHERE seq > ? AND seq <= ?", (first, last))
        )
        quotes = wallet.execute("SELECT share_hash, noticed_ms, minted_ms FROM quote WHERE state = 'minted'")
        known = {row[0]: (row[1], row[2]) for row in quotes if row[0] in shares}
    times = [(shares[name], heard, minted) for name, (heard, minted) in known.items()]
    return Stages([minted - at for at, _, minted in times], [heard - at for at, heard, _ in times])


def _percentiles(values: list[int]) -> dict[str, Any]:
    return {f"p{percent}": round(percentile(values, percent), 1) for percent in (50, 99)} | {
        "max": max(values, default=0)
    }
