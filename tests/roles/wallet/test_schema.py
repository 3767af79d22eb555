"""Stores of older versions are opened, and what they hold has a history."""

from pathlib import Path

from roles.runtime.storage import Connection, Database
from roles.wallet import history, purse
from roles.wallet.purse import HeldProof
from roles.wallet.schema import MIGRATIONS
from tests.roles.wallet.conftest import Home, Told
from tests.roles.wallet.fake_mint import UNIT, FakeMint


async def test_a_store_from_before_the_history_has_one_that_sums_to_its_balance(
    home: Home, mint: FakeMint, tell: Told, tmp_path: Path
) -> None:
    wallet = await home.open("new")
    for number in range(3):
        home.clock.advance(1)
        await tell(wallet, number, 5 + number)
        await wallet.minter.mint_due()
    rows: dict[str, list[tuple[object, ...]]] = {}

    def copy(connection: Connection) -> None:
        for table in ("keyset", "request"):
            rows[table] = [tuple(row) for row in connection.execute(f"SELECT * FROM {table}")]
        rows["proof"] = [
            tuple(row)
            for row in connection.execute(
                "SELECT y, keyset_id, amount, secret, signature, dleq_e, dleq_s, counter, state, received_ms,"
                " request_id FROM proof"
            )
        ]

    await wallet.kit.database.read(copy)
    old = tmp_path / "old"
    old.mkdir()
    async with Database.open(old / "wallet.sqlite", MIGRATIONS[:2]) as database:

        def fill(connection: Connection) -> None:
            for table, found in rows.items():
                marks = ", ".join("?" * len(found[0]))
                connection.executemany(f"INSERT INTO {table} VALUES ({marks})", found)
            connection.execute("UPDATE proof SET request_id = NULL WHERE request_id = 3")

        await database.write(fill)
    again = await home.open("old")
    events = await again.kit.database.read(lambda c: history.events(c, 10))
    assert [(event.kind, event.unit, event.amount) for event in events] == [
        ("restore", UNIT, 7),
        ("mint", UNIT, 6),
        ("mint", UNIT, 5),
    ]
    held = await again.kit.database.read(purse.unspent)
    assert sum(item.proof.amount for item in held) == 18
    assert all(isinstance(item, HeldProof) for item in held)
