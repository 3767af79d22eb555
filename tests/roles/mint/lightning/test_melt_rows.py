"""A store from before there were melts, and what its rows may never say afterwards."""

from pathlib import Path

import pytest

from roles.mint.schema import MIGRATIONS
from roles.runtime.storage import Connection, Database, IntegrityError, Row

BEFORE = next(version for version, name, _ in MIGRATIONS if name == "melts") - 1
OLD = (
    (
        "INSERT INTO keyset (keyset_id, unit, seed_fingerprint, derivation_index, denominations, created_at,"
        " issued, redeemed) VALUES ('k', 'sat', :sixteen, 0, 53, 1, 10, 4)"
    ),
    "INSERT INTO request (digest, kind, created_at) VALUES (:hash, 'swap', 1)",
    "INSERT INTO spent (y, keyset_no, amount, request_no) VALUES (:point, 1, 4, 1)",
)
VALUES = {"sixteen": bytes(16), "hash": bytes(32), "point": b"\x02" + bytes(32)}


def make(connection: Connection, *statements: str) -> None:
    for statement in statements:
        names = {name: value for name, value in VALUES.items() if f":{name}" in statement}
        connection.execute(statement, names)


def total(connection: Connection) -> Row:
    row: Row = connection.execute("SELECT spent, counted_redeemed FROM keyset_total").fetchone()
    return row


async def test_what_was_spent_before_there_were_melts_stays_spent(tmp_path: Path) -> None:
    async with Database.open(tmp_path / "mint.sqlite", MIGRATIONS[:BEFORE]) as old:
        await old.write(lambda c: make(c, *OLD))
    async with Database.open(tmp_path / "mint.sqlite", MIGRATIONS) as new:
        assert tuple(await new.read(total)) == (4, 4)
        row = await new.read(lambda c: c.execute("SELECT pending FROM spent").fetchone())
        assert row["pending"] == 0


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE keyset SET pending = 7",
        "UPDATE keyset SET pending = -1",
        "UPDATE keyset SET redeemed = 11",
        "UPDATE spent SET pending = 2",
        (
            "INSERT INTO melt (quote_id, method, unit, request, payment_hash, amount, amount_msat,"
            " fee_reserve, expires_at, updated_at, created_at, state)"
            " VALUES ('q', 'bolt11', 'sat', 'r', :hash, 1, 1, 0, 1, 1, 1, 1)"
        ),
    ],
)
async def test_the_store_itself_refuses_what_would_redeem_more_than_was_issued(
    tmp_path: Path, statement: str
) -> None:
    async with Database.open(tmp_path / "mint.sqlite", MIGRATIONS) as database:
        await database.write(lambda c: make(c, *OLD))
        with pytest.raises(IntegrityError):
            await database.write(lambda c: make(c, statement))
