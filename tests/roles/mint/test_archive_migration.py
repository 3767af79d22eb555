"""A store of the time when compacted quotes stood in one table goes on, and they are compacted anew."""

import asyncio
from pathlib import Path
from uuid import UUID

import pytest

from protocols.bitcoin.hashing import sha256d
from protocols.ehash.messages import CreditResults, Credits
from protocols.ehash.quote_id import quote_id, shared_secret
from protocols.ehash.shift import METHOD, Unit
from roles.mint import compaction
from roles.mint.schema import MIGRATIONS
from roles.mint.seed import MintSeed
from roles.runtime.storage import Connection, Database, Server
from tests.postgres_server import PostgresServer
from tests.roles.mint.house import ISSUER, NOW, STORE, mine, open_house

BEFORE = 9
"""The last version of the schema with one table for all."""
ROWS = [mine(4, nonce=900), mine(4, nonce=1900)]
SEED = MintSeed(b"\x44" * 32)


def _name(number: int) -> str:
    row = ROWS[number]
    return quote_id(shared_secret(SEED.quote_secret, row.locking_key), sha256d(row.header))


def _fill(connection: Connection) -> None:
    connection.execute("INSERT INTO issuer (issuer_no, identity, created_at) VALUES (1, ?, 1)", (ISSUER,))
    connection.execute(
        "INSERT INTO ledger (ledger_no, issuer_no, store_id, first_shift, shift, acked_seq, last_time)"
        " VALUES (1, 1, ?, 0, 1, 2, ?)",
        (STORE, NOW * 1000),
    )
    for shift, row in enumerate(ROWS):
        connection.execute(
            "INSERT INTO shift (issuer_no, shift, unit, minimum, valuation, credited, rows, full_at,"
            " first_time, closed_at, ledger_no, last_seq) VALUES (1, ?, ?, 0, 0, 4, 1, '1', ?, ?, ?, ?)",
            (
                shift,
                Unit(ISSUER, shift).name,
                NOW * 1000,
                None if shift else NOW,
                None if shift else 1,
                None if shift else 1,
            ),
        )
        connection.execute(
            "INSERT INTO credit (ledger_no, seq, shift, code, share_hash, header, target, time, flags,"
            " pubkey) VALUES (1, ?, ?, 0, ?, ?, ?, ?, 0, ?)",
            (
                shift + 1,
                shift,
                sha256d(row.header),
                row.header,
                row.target.to_bytes(32, "little"),
                row.time,
                row.locking_key,
            ),
        )
    connection.execute(
        "INSERT INTO compacted (quote_no, share_hash, quote_id, amount, updated_at, ledger_no, seq)"
        " VALUES (1, ?, ?, 4, ?, 1, 1)",
        (sha256d(ROWS[0].header), UUID(_name(0)).bytes, NOW),
    )
    connection.execute(
        "INSERT INTO quote (quote_no, quote_id, method, unit, amount, amount_paid, updated_at, created_at,"
        " pubkey, share_hash, ledger_no, seq) VALUES (2, ?, 'ehash', ?, 4, 4, 1, 1, ?, ?, 1, 2)",
        (_name(1), Unit(ISSUER, 1).name, ROWS[1].locking_key, sha256d(ROWS[1].header)),
    )


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
async def test_what_was_compacted_is_what_it_was_and_is_compacted_anew(
    request: pytest.FixtureRequest, tmp_path: Path, engine: str
) -> None:
    server = None
    if engine == "postgresql":
        running: PostgresServer = request.getfixturevalue("postgres")
        server = Server(running.create_schema(), writers=2, readers=1)
    async with Database.open(server or tmp_path / "mint.sqlite", MIGRATIONS[:BEFORE]) as database:
        await database.write(_fill)
    house = await open_house(tmp_path, server=server)
    try:
        before = await house.teller.quote(_name(0), METHOD)
        assert (before.state, before.amount, before.pubkey) == ("ISSUED", 4, ROWS[0].locking_key)
        assert await house.database.write(lambda c: compaction.compact(c, NOW, NOW)) == 1
        after = await house.teller.quote(_name(0), METHOD)
        assert (after.state, after.amount, after.pubkey) == ("ISSUED", 4, None)
        for seq, row in enumerate(ROWS, 1):
            again = Credits(seq, seq - 1, 0, 0, (row,))
            assert await house.settle(again) == CreditResults(seq, ())
    finally:
        house.signatory.close()
        await asyncio.to_thread(house.database.close)
