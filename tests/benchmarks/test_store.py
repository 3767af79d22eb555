import argparse
from pathlib import Path

from prometheus_client import CollectorRegistry

from benchmarks import store
from benchmarks.store_years import NOW, fill, sample
from protocols.bitcoin.secp256k1 import public_key
from roles.mint import keyset_rows, ledger_rows, quote_rows
from roles.mint.accounts import ACCOUNTS, AUDITS, Inspection, Tally
from roles.mint.schema import MIGRATIONS
from roles.mint.seed import SEED_SIZE, MintSeed
from roles.runtime.storage import Connection, Database

ISSUER = public_key(bytes(31) + b"\x07")


async def test_a_store_of_years_is_compared_with_an_empty_one(tmp_path: Path) -> None:
    options = argparse.Namespace(state=tmp_path, scale=0.0001, rounds=1, each=2, keep=None)
    figures = await store.measure(options)
    requests = figures["requests"]
    assert isinstance(requests, dict)
    assert {"quote", "look_issued", "look_nowhere", "mint8", "swap8", "credit100"} <= set(requests)
    worst = max(max(each["ratio_ms"], each["ratio_us"]) for each in requests.values())
    assert figures["worst_ratio"] == worst


async def test_what_a_store_is_filled_with_agrees_with_its_counters(tmp_path: Path) -> None:
    path = tmp_path / "mint.sqlite"
    seed = MintSeed(bytes(SEED_SIZE))
    async with Database.open(path, MIGRATIONS, metrics=CollectorRegistry()) as database:
        await database.write(lambda c: keyset_rows.claim(c, seed))
        book = await database.read(lambda c: keyset_rows.load(c, seed))
        await database.write(lambda c: ledger_rows.register(c, [ISSUER], seed, book, NOW))
    fill(path, ISSUER, 0.0005)
    async with Database.open(path, MIGRATIONS, metrics=CollectorRegistry()) as database:
        assert await database.read(_faults) == []
        archived = await database.write(sample)
        found = await database.read(lambda c: quote_rows.known(c, "ehash", archived))
        assert [quote.quote_id for quote in found] == archived
        counts = await database.read(_counts)
    assert counts == {"quote": 5_000, "promise": 10_000, "spent": 5_000, "archive_100": 500}


def _faults(connection: Connection) -> list[object]:
    found: list[object] = []
    for account in ACCOUNTS:
        tally = Tally(account)
        while tally.advance(connection):
            pass
        found += tally.differences(connection) or []
    for audit in AUDITS:
        inspection, passed = Inspection(audit), 1
        while passed:
            passed, faults = inspection.advance(connection)
            found += faults
    return found


def _counts(connection: Connection) -> dict[str, int]:
    tables = ("quote", "promise", "spent", "archive_100")
    return {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}
