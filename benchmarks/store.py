"""`store`: what requests cost a mint whose store has years in it, against one whose store is empty.

Two real mint processes serve the same requests over HTTP and the issuance link in turns, one client at a
time, so that each write has a commit of its own. At --scale 1 the store of the one has 10 million quotes, 20
million signatures and 100 million quotes that are compacted: 22 GB, and half an hour to fill, which --keep
spares the next time. SQLite, on the disk of --state. The watchdog, which reads all rows at leisure, is off.
"""

import argparse
import asyncio
import os
import secrets
import statistics
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry

from benchmarks.desk import Desk, open_desk
from benchmarks.issuer import ONE_SHIFT
from benchmarks.machine import cpu_seconds, file_system, resident_kib
from benchmarks.site import DaemonProcess, Site, open_site
from benchmarks.store_years import NOW, fill, sample
from roles.mint import keyset_rows, ledger_rows
from roles.mint.schema import MIGRATIONS
from roles.mint.seed import SEED_SIZE, MintSeed
from roles.mint.store import SEED_NAME, STORE_NAME
from roles.runtime.secret import SecretFile
from roles.runtime.state import role_state
from roles.runtime.storage import Database

ROUNDS: Final = 5
EACH: Final = 30
"""Requests of a kind in a round."""
STARTS: Final = 3
SETTINGS: Final[Mapping[str, object]] = {
    "bolt11.backend": "fake",
    "http.requests_per_s": 0,
    "http.quotes_per_s": 0,
    "http.exchanges_per_s": 0,
    "http.checks_per_s": 0,
    "watchdog.every_s": 0,
    "end_after_s": 0,
    **ONE_SHIFT,
}


@dataclass(slots=True)
class Times:
    """Seconds of requests of one kind at one mint, and its CPU seconds for each in a round."""

    latencies: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def told(self) -> tuple[float, float]:
        """Medians: milliseconds of latency, microseconds of CPU time."""
        return statistics.median(self.latencies) * 1e3, statistics.median(self.cpu) * 1e6


@dataclass(slots=True)
class Mint:
    """A mint under measurement."""

    site: Site
    process: DaemonProcess
    desk: Desk
    times: dict[str, Times] = field(default_factory=dict)

    @property
    def store(self) -> Path:
        """Its file."""
        return role_state(self.site.state, "mint") / STORE_NAME

    async def play(self, name: str, each: int, times: dict[str, Times]) -> None:
        """A round of one kind of request."""
        found = times.setdefault(name, Times())
        self.process.check()
        acts = self.desk.prepared(name, each)
        cpu = cpu_seconds([self.process.pid])
        for act in acts:
            started = time.perf_counter()
            await act()
            found.latencies.append(time.perf_counter() - started)
        found.cpu.append((cpu_seconds([self.process.pid]) - cpu) / len(acts))

    def forget(self) -> None:
        """Have the kernel forget what it has read of the store."""
        with self.store.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--scale", type=float, default=0.01, help="of the full store (default 0.01)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help=f"of each kind ({ROUNDS})")
    parser.add_argument("--each", type=int, default=EACH, metavar="N", help=f"requests a round ({EACH})")
    parser.add_argument(
        "--keep",
        type=lambda text: Path(text).absolute(),
        metavar="DIR",
        help="have the filled store here, and leave it",
    )


def run(options: argparse.Namespace) -> dict[str, object]:
    """Measure; raises DaemonFailed."""
    return asyncio.run(measure(options))


async def measure(options: argparse.Namespace) -> dict[str, object]:
    """The figures of an empty store and of one of this scale."""
    rounds, each = options.rounds, options.each
    async with AsyncExitStack() as stack:
        mints, starts = [], []
        for scale, keep in ((0.0, None), (options.scale, options.keep)):
            # Opened when the first one runs, so that each has ports of its own.
            site = await stack.enter_async_context(open_site(options.state, keep=keep))
            archived = await _filled(site, scale) if scale else []
            starts.append(await _start_ms(site))
            process = await site.start("mint", SETTINGS)
            count = each * (rounds + 1)
            desk = await stack.enter_async_context(open_desk(site, count, archived))
            mints.append(Mint(site, process, desk))
        for name in mints[0].desk.kinds:
            for number in range(rounds):
                for mint in mints if number % 2 else reversed(mints):
                    await mint.play(name, each, mint.times)
        cold: dict[str, Times] = {}
        for name in mints[1].desk.kinds:
            mints[1].forget()
            await mints[1].play(name, each, cold)
        return _told(mints, cold) | {
            "scale": options.scale,
            "start_ms": dict(zip(("empty", "full"), starts, strict=True)),
            "memory_mib": [resident_kib(mint.process.pid) >> 10 for mint in mints],
            "store_mib": mints[1].store.stat().st_size >> 20,
            "disk": file_system(mints[1].store.parent),
        }


def _told(mints: list[Mint], cold: dict[str, Times]) -> dict[str, object]:
    figures: dict[str, dict[str, float]] = {}
    for name, old in mints[0].times.items():
        (empty_ms, empty_us), (full_ms, full_us) = old.told(), mints[1].times[name].told()
        figures[name] = {
            "empty_ms": round(empty_ms, 2),
            "full_ms": round(full_ms, 2),
            "cold_ms": round(cold[name].told()[0], 2),
            "empty_us": round(empty_us),
            "full_us": round(full_us),
            "ratio_ms": round(full_ms / empty_ms, 2),
            "ratio_us": round(full_us / empty_us, 2),
        }
    worst = max(max(each["ratio_ms"], each["ratio_us"]) for each in figures.values())
    return {"requests": figures, "worst_ratio": worst}


async def _start_ms(site: Site) -> float:
    """From the start of a mint until it is ready, the shortest of some."""
    took = []
    for _ in range(STARTS):
        started = time.perf_counter()
        process = await site.start("mint", SETTINGS)
        took.append(time.perf_counter() - started)
        await site.stop(process)
    return round(min(took) * 1e3)


async def _filled(site: Site, scale: float) -> list[str]:
    """Have the store of a site filled if it is not; gives ids of quotes that are compacted."""
    state = role_state(site.state, "mint")
    file = SecretFile(state / SEED_NAME, store=state / STORE_NAME)
    seed = MintSeed(file.load_or_create_bytes(SEED_SIZE, lambda: secrets.token_bytes(SEED_SIZE)))
    issuer = bytes.fromhex(site.issuer)
    async with Database.open(state / STORE_NAME, MIGRATIONS, metrics=CollectorRegistry()) as database:
        await database.write(lambda c: keyset_rows.claim(c, seed))
        book = await database.read(lambda c: keyset_rows.load(c, seed))
        if not len(book):
            await database.write(lambda c: ledger_rows.register(c, [issuer], seed, book, NOW))
            await fill(database, issuer, scale)
        return await database.write(sample)
