"""What a mint's requests cost in a store of years, against an empty one: SQLite, on the disk of --state.

At --scale 1 the store has 10 million quotes, 20 million signatures and 100 million quotes that are compacted.
Times are medians of single requests, from the call of the teller to its answer, so each write has a commit of
its own.
"""

import argparse
import asyncio
import secrets
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry

from benchmarks.errors import BenchmarkFailed
from benchmarks.machine import file_system
from protocols.bitcoin.hashing import sha256
from protocols.bitcoin.secp256k1 import public_key
from protocols.ehash.shift import Unit
from roles.mint import compaction, keyset_rows, ledger_rows, quote_rows, transaction
from roles.mint.schema import MIGRATIONS
from roles.mint.seed import MintSeed
from roles.runtime.storage import Connection, Database

QUOTES: Final = 10_000_000
SIGNATURES: Final = 20_000_000
COMPACTED: Final = 100_000_000
PORTION: Final = 20_000
REPEATS: Final = 400
NOW: Final = 1_800_000_000
_ISSUER: Final = public_key(sha256(b"issuer"))
_KEY: Final = public_key(sha256(b"miner"))

Job = Callable[[int], Awaitable[object]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--scale", type=float, default=0.01, help="of the full store (default 0.01)")


def run(options: argparse.Namespace) -> dict[str, object]:
    """Measure; raises BenchmarkFailed when no store could be made."""
    with tempfile.TemporaryDirectory(dir=options.state) as directory:
        return asyncio.run(measure(Path(directory), options.scale))


async def measure(directory: Path, scale: float) -> dict[str, object]:
    """The figures of an empty store and of one of this scale."""
    empty = await _times(directory / "empty.sqlite", 0.0)
    full = await _times(directory / "full.sqlite", scale)
    ratios = {name: round(full[name] / empty[name], 2) for name in empty}
    return {
        "scale": scale,
        "empty_us": {name: round(value) for name, value in empty.items()},
        "full_us": {name: round(value) for name, value in full.items()},
        "ratio": ratios,
        "worst_ratio": max(ratios.values()),
        "store_mib": (directory / "full.sqlite").stat().st_size >> 20,
        "disk": file_system(directory),
    }


async def _times(path: Path, scale: float) -> dict[str, float]:
    """Median time of each kind of request, in microseconds, in a store of this scale."""
    seed = MintSeed(sha256(b"a benchmark's seed"))
    async with Database.open(path, MIGRATIONS, metrics=CollectorRegistry()) as database:
        book = await database.read(lambda c: keyset_rows.load(c, seed))
        made = await database.write(lambda c: ledger_rows.register(c, [_ISSUER], seed, book, NOW))
        await database.write(_begin)
        for fill in _portions(scale):
            await database.write(fill)
        # A few quotes more, known by number, which are asked for.
        names = [secrets.token_hex(18) for _ in range(2 * REPEATS)]
        await database.write(lambda c: _add_quotes(c, names))
        if not made:
            raise BenchmarkFailed("no keyset was made")
        return {name: await _median(job) for name, job in _jobs(database, names).items()}


def _jobs(database: Database, names: list[str]) -> dict[str, Job]:
    def look(number: int) -> Awaitable[object]:
        return database.read(lambda c: quote_rows.find(c, "ehash", [names[number]]))

    def look_up(_: int) -> Awaitable[object]:
        return database.read(
            lambda c: quote_rows.page(c, "ehash", [_KEY], after="", limit=100, only_mintable=True)
        )

    def states(_: int) -> Awaitable[object]:
        points = [b"\x02" + secrets.token_bytes(32) for _ in range(8)]
        return database.read(lambda c: transaction.spent_witnesses(c, points))

    def restore(_: int) -> Awaitable[object]:
        points = [b"\x02" + secrets.token_bytes(32) for _ in range(100)]
        return database.read(lambda c: transaction.restore(c, points))

    def compacted(_: int) -> Awaitable[object]:
        hashes = [secrets.token_bytes(32) for _ in range(8)]
        return database.read(lambda c: compaction.known(c, hashes))

    def issue(number: int) -> Awaitable[object]:
        return database.write(lambda c: _issue(c, names[REPEATS + number]))

    def credit(_: int) -> Awaitable[object]:
        return database.write(lambda c: _add_quotes(c, [secrets.token_hex(18) for _ in range(8)]))

    return {
        "quote": look,
        "look_up": look_up,
        "checkstate8": states,
        "restore100": restore,
        "share_known8": compacted,
        "mint8": issue,
        "credit8": credit,
    }


async def _median(job: Job) -> float:
    took = []
    for number in range(REPEATS):
        start = time.perf_counter()
        await job(number)
        took.append(time.perf_counter() - start)
    return statistics.median(took) * 1e6


def _begin(connection: Connection) -> None:
    connection.execute(
        "INSERT INTO ledger (issuer_no, store_id, first_shift, shift) VALUES (1, ?, 0, 0)", (bytes(16),)
    )
    connection.execute("INSERT INTO request (digest, kind, created_at) VALUES (?, 'mint', 1)", (bytes(32),))


def _portions(scale: float) -> Iterator[Callable[[Connection], object]]:
    """Writes that fill a store, a few thousand rows each."""
    kinds = ((QUOTES, _old_quotes), (SIGNATURES, _old_signatures), (COMPACTED, _old_compacted))
    for total, fill in kinds:
        count = int(total * scale)
        for start in range(0, count, PORTION):
            size = min(PORTION, count - start)
            yield lambda c, fill=fill, start=start, size=size: fill(c, start, size)  # type: ignore[misc]


def _old_quotes(connection: Connection, start: int, size: int) -> None:
    keys = [b"\x02" + secrets.token_bytes(32) for _ in range(max(1, size // 100))]
    rows = [
        (secrets.token_hex(18), 1, 1, seq % 2, keys[seq % len(keys)], secrets.token_bytes(32), seq)
        for seq in range(start, start + size)
    ]
    connection.executemany(_QUOTE, rows)


def _old_signatures(connection: Connection, _: int, size: int) -> None:
    tail = bytes(33), bytes(32), bytes(32)
    connection.executemany(_PROMISE, [(b"\x02" + secrets.token_bytes(32), *tail) for _ in range(size)])
    connection.executemany(
        "INSERT INTO spent (y, keyset_no, amount, request_no) VALUES (?, 1, 1, 1)",
        [(b"\x02" + secrets.token_bytes(32),) for _ in range(size // 2)],
    )


def _old_compacted(connection: Connection, start: int, size: int) -> None:
    # Numbers of their own, far beyond those of quotes that are there.
    connection.executemany(
        "INSERT INTO compacted (quote_no, share_hash, quote_id, amount, updated_at, ledger_no, seq)"
        " VALUES (?, ?, ?, 1, 1, 1, ?)",
        [
            ((1 << 40) + number, secrets.token_bytes(32), secrets.token_bytes(16), number)
            for number in range(start, start + size)
        ],
    )


def _add_quotes(connection: Connection, names: list[str]) -> None:
    hashes = [secrets.token_bytes(32) for _ in names]
    rows = [(name, 8, 8, 0, _KEY, each, 1 << 40) for name, each in zip(names, hashes, strict=True)]
    connection.executemany(_QUOTE, rows)
    compaction.known(connection, hashes)


def _issue(connection: Connection, name: str) -> None:
    connection.execute("UPDATE quote SET amount_issued = amount_paid WHERE quote_id = ?", (name,))
    _old_signatures(connection, 0, 8)


_UNIT = Unit(_ISSUER, 0).name
_QUOTE = (
    "INSERT INTO quote (quote_id, method, unit, amount, amount_paid, amount_issued, updated_at, created_at,"
    f" pubkey, share_hash, ledger_no, seq) VALUES (?, 'ehash', '{_UNIT}', ?, ?, ?, 1, 1, ?, ?, 1, ?)"
)
_PROMISE = (
    "INSERT INTO promise (blinded, keyset_no, amount, signature, dleq_e, dleq_s, request_no)"
    " VALUES (?, 1, 1, ?, ?, ?, 1)"
)
