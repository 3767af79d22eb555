"""`shares`: what a share costs a real pool process, from the segment that carries it to the durable answer.

Every share is valid, with an extranonce of its own behind a merkle path of twelve. They are mined and sealed
before they are timed, at a target so easy that this is cheap; a share costs the pool the same at any target.
The template provider is scripted. The mint is away while shares are timed; what the handover of the ledger
costs is told apart, as `handover_us`.

With `--peer sri` the pool of the Stratum V2 reference implementation is given the same shares in the same
run: as encrypted as ours, it keeps no ledger and answers before anything is durable.
"""

import argparse
import asyncio
import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final, Protocol

from benchmarks.closed_loop import percentile
from benchmarks.credit_sink import credit_sink
from benchmarks.machine import cpu_seconds, file_system, resident_kib
from benchmarks.miner_link import MinerLink, connect
from benchmarks.share_maker import MinerWork
from benchmarks.site import DaemonProcess, Site, open_site
from benchmarks.sri_pool import running_sri_pool
from benchmarks.template_server import template_server
from protocols.bitcoin.secp256k1 import public_key
from protocols.ehash.key_text import encode_key
from protocols.noise.authority import public_of
from roles.runtime.authority import authority_secret
from roles.runtime.process import harden
from roles.runtime.state import role_state
from shared_config.address import Address

CONNECTIONS: Final = 64
SHARES: Final = 128_000
SCALED_SHARES: Final = 19_200
IDLE: Final = 10_000
SCALED_IDLE: Final = 1_000
ROUNDS: Final = 4
"""The first warms up, the others are the figures."""
OPENING: Final = 32
"""Connections that shake hands side by side."""
BATCH: Final = 10
"""Shares of one answer in bulk."""
HASHES: Final = 16
"""Expected hashes of a share."""
SHARES_PER_MINUTE: Final = 6_000
HANDOVER_S: Final = 120.0
BITS: Final = 0x1D00FFFF
"""Of the template's blocks: harder than any share here is."""

POOL: Final[dict[str, object]] = {
    "shared.ehash.minimum_difficulty": 0,
    "shared.regtest.block_difficulty": 1 << 60,
    "vardiff.floor_hashes": HASHES,
    "vardiff.shares_per_minute": SHARES_PER_MINUTE,
    "limits.connections": 100_000,
    "limits.connections_per_host": 100_000,
    "limits.connections_per_subnet": 100_000,
    "limits.shares_per_s": 1_000_000,
    "limits.channel_shares_per_s": 1_000_000,
}


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is done: connections, shares of each way of sending, idle connections."""

    connections: int = CONNECTIONS
    shares: int = SCALED_SHARES
    idle: int = SCALED_IDLE
    state: Path | None = None
    has_peer: bool = False

    @property
    def each(self) -> int:
        """Shares of one connection in one round: whole batches, as the peer answers no others."""
        batches = self.shares // self.connections // (ROUNDS - 1) // BATCH
        return BATCH * max(1, batches)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--full", action="store_true", help=f"{SHARES} shares and {IDLE} idle connections")
    parser.add_argument("--shares", type=int, metavar="N", help=f"shares each way ({SCALED_SHARES})")
    parser.add_argument("--connections", type=int, default=CONNECTIONS, metavar="N", help="miners (64)")
    parser.add_argument("--idle", type=int, metavar="N", help=f"idle connections ({SCALED_IDLE})")
    parser.add_argument("--peer", choices=["sri"], help="measure the reference implementation's pool, too")


def run(options: argparse.Namespace) -> dict[str, object]:
    """Measure; raises DaemonFailed and PoolRefused."""
    shares, idle = (SHARES, IDLE) if options.full else (SCALED_SHARES, SCALED_IDLE)
    plan = Plan(
        options.connections,
        shares if options.shares is None else options.shares,
        idle if options.idle is None else options.idle,
        options.state,
        options.peer is not None,
    )
    return asyncio.run(measure(plan))


async def measure(plan: Plan) -> dict[str, object]:
    """The figures of pools that are started for it."""
    harden()
    async with open_site(plan.state) as site, template_server(site, bits=BITS):
        pool = await site.start("pool", POOL | {"acknowledgement.shares": 1})
        ours = Server.of(site, pool)
        idle = await _idle_kib(ours, plan.idle)
        single = await _shares(ours, plan, lockstep=True)
        await site.stop(pool)
        pool = await site.start("pool", POOL | {"acknowledgement.shares": BATCH})
        bulk = await _shares(Server.of(site, pool), plan, lockstep=False)
        handover = await _handover_us(site, pool, single.shares + bulk.shares)
        peer = await _peer(site, plan, single, bulk) if plan.has_peer else {}
        return peer | {
            "one_per_segment_us": round(single.cpu_us, 1),
            "bulk_us": round(bulk.cpu_us, 1),
            "durable_per_s": round(bulk.per_second),
            "idle_connection_kib": round(idle, 2),
            "one_per_segment_per_s": round(single.per_second),
            "one_per_segment_p99_ms": round(single.p99_ms, 1),
            "handover_us": round(handover, 1),
            "shares_each_way": plan.each * plan.connections * (ROUNDS - 1),
            "connections": plan.connections,
            "idle_connections": plan.idle,
            "merkle_nodes": single.work.merkle_nodes,
            "extranonce_bytes": single.work.channel.extranonce_size,
            "hashes_per_share": HASHES,
            "template_provider": "scripted",
            "loop": pool.loop,
            "kernel": pool.kernel,
            "disk": file_system(site.state),
        }


class Program(Protocol):
    """A pool that runs, ours or another."""

    @property
    def pid(self) -> int:
        """Its process."""
        ...

    def check(self) -> None:
        """Raise DaemonFailed when it has ended."""


@dataclass(frozen=True, slots=True)
class Server:
    """A pool, where miners find it, and the x-only key that vouches for it."""

    program: Program
    address: Address
    authority: bytes

    @classmethod
    def of(cls, site: Site, pool: DaemonProcess) -> "Server":
        """The pool of a site."""
        authority = public_of(authority_secret(role_state(site.state, "pool")))
        return cls(pool, site.address("pool", "listen_address"), authority)


@dataclass(frozen=True, slots=True)
class Figures:
    """Medians of the timed rounds, p99 over all; `shares` counts the warm-up, too."""

    cpu_us: float
    per_second: float
    p99_ms: float
    shares: int
    work: MinerWork


async def _peer(site: Site, plan: Plan, single: Figures, bulk: Figures) -> dict[str, object]:
    """The same of the reference implementation's pool, and ours as parts of that."""
    found: dict[str, Figures] = {}
    for name, batch in (("one_per_segment", 1), ("bulk", BATCH)):
        async with running_sri_pool(site, batch=batch, shares_per_minute=SHARES_PER_MINUTE) as made:
            pool, authority = made
            server = Server(pool, pool.address, authority)
            found[name] = await _shares(server, plan, lockstep=batch == 1)
    theirs, theirs_bulk = found["one_per_segment"], found["bulk"]
    return {
        "sri": {
            "one_per_segment_us": round(theirs.cpu_us, 1),
            "bulk_us": round(theirs_bulk.cpu_us, 1),
            "one_per_segment_per_s": round(theirs.per_second),
            "bulk_per_s": round(theirs_bulk.per_second),
            "one_per_segment_p99_ms": round(theirs.p99_ms, 1),
            "merkle_nodes": theirs.work.merkle_nodes,
        },
        "one_per_segment_of_sri": round(single.cpu_us / theirs.cpu_us, 3),
        "bulk_of_sri": round(bulk.cpu_us / theirs_bulk.cpu_us, 3),
    }


async def _shares(server: Server, plan: Plan, *, lockstep: bool) -> Figures:
    links = await _open(server, plan.connections)
    works = []
    for number, link in enumerate(links, 1):
        user = encode_key(public_key(number.to_bytes(32, "big")))
        works.append(await link.open_channel(user, HASHES * SHARES_PER_MINUTE / 60))
    for link, work in zip(links, works, strict=True):
        link.seal(work.mine(plan.each * ROUNDS))
    gc.collect()
    rounds = []
    for _ in range(ROUNDS):
        rounds.append(await _round(server.program, links, plan.each, lockstep=lockstep))
    timed = rounds[1:]
    latencies = [each for link in links for each in link.latencies[plan.each :]]
    for link in links:
        link.close()
    return Figures(
        median(cpu for cpu, _ in timed) * 1e6,
        median(per_second for _, per_second in timed),
        percentile(latencies, 99) * 1e3,
        plan.each * plan.connections * ROUNDS,
        works[0],
    )


async def _round(
    pool: Program, links: Sequence[MinerLink], each: int, *, lockstep: bool
) -> tuple[float, float]:
    """CPU seconds of a share, and shares a second."""
    pool.check()
    shares = each * len(links)
    cpu, started = cpu_seconds([pool.pid]), time.perf_counter()
    await asyncio.gather(*(link.submit(each, lockstep=lockstep) for link in links))
    wall = time.perf_counter() - started
    return (cpu_seconds([pool.pid]) - cpu) / shares, shares / wall


async def _idle_kib(server: Server, connections: int) -> float:
    """Memory of a connection that is encrypted and set up and does nothing."""
    first = await _open(server, OPENING)
    before = resident_kib(server.program.pid)
    links = await _open(server, connections)
    grown = resident_kib(server.program.pid) - before
    for link in [*first, *links]:
        link.close()
    return grown / max(1, connections)


async def _open(server: Server, connections: int) -> list[MinerLink]:
    room = asyncio.Semaphore(OPENING)

    async def one() -> MinerLink:
        async with room:
            return await connect(server.address, server.authority)

    return list(await asyncio.gather(*(one() for _ in range(connections))))


async def _handover_us(site: Site, pool: DaemonProcess, rows: int) -> float:
    """CPU of the pool for each row that it hands to a mint which has just come."""
    async with credit_sink(site) as sink, asyncio.timeout(HANDOVER_S):
        before = cpu_seconds([pool.pid])
        await sink.wait_for(rows)
        return (cpu_seconds([pool.pid]) - before) / rows * 1e6
