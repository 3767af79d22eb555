"""`store`: what requests cost a mint whose store has years in it, against one whose store is empty.

Two real mint processes serve the same requests over HTTP and the issuance link in turns, one client at a
time, so that each write has a commit of its own. At --scale 1 the store of the one has 10 million quotes, 20
million signatures and 100 million quotes that are compacted: 22 GB, and a quarter of an hour to fill, which
--keep spares the next time. SQLite, on the disk of --state. The watchdog, which reads all rows at leisure, is
off. The store is read once before, so that what there is memory for is there; what requests still read from
the disk is told, and at last one round of each kind goes to a store of which nothing is in memory. Ratios are
medians of rounds, each of two that followed each other.
"""

import argparse
import asyncio
import os
import secrets
import statistics
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry

from benchmarks.desk import Desk, open_desk
from benchmarks.issuer import ONE_SHIFT
from benchmarks.machine import cpu_seconds, file_system, read_bytes, resident_kib
from benchmarks.site import DaemonProcess, Site, open_site
from benchmarks.store_years import NOW, fill, sample, stir
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
STRETCH: Final = 1 << 23
"""Bytes read at a time."""
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
    """Of one kind of request at one mint, by rounds: seconds that most took, CPU seconds for each, and bytes
    read from the disk for each.
    """

    latencies: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    read: list[float] = field(default_factory=list)

    def told(self) -> tuple[float, float]:
        """Medians: milliseconds of latency, microseconds of CPU time."""
        return statistics.median(self.latencies) * 1e3, statistics.median(self.cpu) * 1e6

    def over(self, other: "Times") -> tuple[float, float]:
        """How many times the latency and the CPU time of another: medians of rounds."""
        return _ratio(self.latencies, other.latencies), _ratio(self.cpu, other.cpu)


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
        latencies = []
        read, cpu = read_bytes(self.process.pid), cpu_seconds([self.process.pid])
        for act in acts:
            started = time.perf_counter()
            await act()
            latencies.append(time.perf_counter() - started)
        found.cpu.append((cpu_seconds([self.process.pid]) - cpu) / len(acts))
        found.read.append((read_bytes(self.process.pid) - read) / len(acts))
        found.latencies.append(statistics.median(latencies))

    def recall(self) -> None:
        """Have the kernel read the store, as far as there is memory."""
        with self.store.open("rb", buffering=0) as file:
            while file.read(STRETCH):
                pass
        stir(self.store)

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
        await asyncio.to_thread(mints[1].recall)
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
        full = mints[1].times[name]
        (empty_ms, empty_us), (full_ms, full_us), (ratio_ms, ratio_us) = (
            old.told(),
            full.told(),
            full.over(old),
        )
        figures[name] = {
            "empty_ms": round(empty_ms, 2),
            "full_ms": round(full_ms, 2),
            "cold_ms": round(cold[name].told()[0], 2),
            "empty_us": round(empty_us),
            "full_us": round(full_us),
            "ratio_ms": round(ratio_ms, 2),
            "ratio_us": round(ratio_us, 2),
            "full_read_kib": round(statistics.fmean(full.read) / 1024, 1),
            "cold_read_kib": round(statistics.fmean(cold[name].read) / 1024, 1),
        }
    worst = max(max(each["ratio_ms"], each["ratio_us"]) for each in figures.values())
    return {"requests": figures, "worst_ratio": worst}


def _ratio(some: Sequence[float], others: Sequence[float]) -> float:
    return statistics.median(each / other for each, other in zip(some, others, strict=True))


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
    path, issuer = state / STORE_NAME, bytes.fromhex(site.issuer)
    async with Database.open(path, MIGRATIONS, metrics=CollectorRegistry()) as database:
        await database.write(lambda c: keyset_rows.claim(c, seed))
        book = await database.read(lambda c: keyset_rows.load(c, seed))
        is_new = not len(book)
        if is_new:
            await database.write(lambda c: ledger_rows.register(c, [issuer], seed, book, NOW))
    if is_new:
        try:
            await asyncio.to_thread(fill, path, issuer, scale)
        except BaseException:
            path.unlink()
            raise
    async with Database.open(path, MIGRATIONS, metrics=CollectorRegistry()) as database:
        return await database.write(sample)
