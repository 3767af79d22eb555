"""A store from the time when shift 0 stayed open goes on, and its next shift is opened by the rule."""

import asyncio
from pathlib import Path

import pytest

from protocols.bitcoin.hashing import sha256d
from protocols.ehash.messages import CreditResults, Credits
from protocols.ehash.shift import ShiftRule, Unit
from roles.credit.errors import ShiftRefused
from roles.mint.schema import MIGRATIONS
from roles.runtime.storage import Connection, Database
from tests.roles.mint.house import ISSUER, NOW, STORE, mine, open_house

BEFORE_SHIFTS = 4
"""The last version of the schema without them."""


def _fill(connection: Connection) -> None:
    connection.execute("INSERT INTO issuer (issuer_no, identity, created_at) VALUES (1, ?, 1)", (ISSUER,))
    connection.execute(
        "INSERT INTO shift (issuer_no, shift, unit, minimum, valuation, credited, rows)"
        " VALUES (1, 0, ?, 0, 0, 4, 1)",
        (Unit(ISSUER, 0).name,),
    )
    connection.execute(
        "INSERT INTO ledger (issuer_no, store_id, first_shift, shift, acked_seq, last_time)"
        " VALUES (1, ?, 0, 0, 1, ?)",
        (STORE, NOW * 1000),
    )
    row = mine(4, nonce=900)
    connection.execute(
        "INSERT INTO credit (ledger_no, seq, shift, code, share_hash, header, target, time, flags, pubkey)"
        " VALUES (1, 1, 0, 0, ?, ?, ?, ?, 0, ?)",
        (
            sha256d(row.header),
            row.header,
            row.target.to_bytes(32, "little"),
            row.time,
            row.locking_key,
        ),
    )


async def test_rows_that_wait_are_taken_into_the_open_shift_and_the_next_one_is_opened_by_the_rule(
    tmp_path: Path,
) -> None:
    async with Database.open(tmp_path / "mint.sqlite", MIGRATIONS[:BEFORE_SHIFTS]) as database:
        await database.write(_fill)
    house = await open_house(tmp_path)
    try:
        house.credits._rule = ShiftRule(block_hashes=10)
        house.seq = 2
        waiting = house.frame([house.row(4) for _ in range(5)])
        assert await house.settle(waiting) == CreditResults(6, ())
        assert await house.settle(Credits(7, 1, 3, 0, (house.row(64),))) == CreditResults(7, ())
        with pytest.raises(ShiftRefused, match="should have opened shift 2"):
            await house.settle(Credits(8, 1, 3, 0, (house.row(64),)))
        first, second = [await house.teller.shift(Unit(ISSUER, number).name) for number in (0, 1)]
        assert first is not None
        assert second is not None
        assert (first.credited, first.rows, first.closed_at) == (24, 6, NOW)
        assert (second.minimum, second.credited, second.closed_at) == (3, 8, None)
    finally:
        house.signatory.close()
        await asyncio.to_thread(house.database.close)
