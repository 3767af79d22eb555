from pathlib import Path
from typing import Any

import pytest

from protocols.bitcoin.secp256k1 import public_key
from roles.credit import register
from roles.credit.ledger import Ledger
from roles.credit.ledger_rows import Fate
from roles.runtime.errors import CommitFailed
from roles.runtime.storage import Database, Done

KEY = public_key(bytes(31) + b"\x02")
OTHER = public_key(bytes(31) + b"\x03")


async def fates(ledger: Ledger, *entries: Any) -> list[tuple[Fate, int]]:
    return [tuple(record) for record in await ledger.append(entries)]  # type: ignore[misc]


async def test_a_tip_that_comes_back_is_read_from_the_ledger(
    open_ledger: Any, make_entry: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(register, "TIPS", 1)
    ledger = await open_ledger()
    first = make_entry(1, tip=1)
    await fates(ledger, first, make_entry(2, tip=2))
    await fates(ledger, make_entry(3, tip=3))
    assert await fates(ledger, first, make_entry(4, tip=1)) == [(Fate.REPEATED, 1), (Fate.RECORDED, 4)]
    assert await fates(ledger, make_entry(4, OTHER, tip=1)) == [(Fate.DUPLICATE, 4)]


async def test_many_tips_in_one_write_do_not_forget_one_another(
    open_ledger: Any, make_entry: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(register, "TIPS", 1)
    ledger = await open_ledger()
    entries = [make_entry(number, tip=number) for number in (1, 2, 3, 1, 2)]
    assert await fates(ledger, *entries) == [
        *((Fate.RECORDED, seq) for seq in (1, 2, 3)),
        (Fate.REPEATED, 1),
        (Fate.REPEATED, 2),
    ]


async def test_what_a_failed_write_added_is_taken_back(
    open_ledger: Any, make_entry: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = await open_ledger()
    await fates(ledger, make_entry(1))
    submit = Database.submit

    def roll_back(database: Database, fn: Any, done: Done) -> None:
        def spoil(connection: Any) -> None:
            fn(connection)
            raise CommitFailed("the disk is full")

        submit(database, spoil, done)

    with monkeypatch.context() as patch:
        patch.setattr(Database, "submit", roll_back)
        for _ in range(2):
            with pytest.raises(CommitFailed):
                await fates(ledger, make_entry(2), make_entry(3, tip=2))
    assert await fates(ledger, make_entry(1), make_entry(2), make_entry(3, tip=2)) == [
        (Fate.REPEATED, 1),
        (Fate.RECORDED, 2),
        (Fate.RECORDED, 3),
    ]


async def test_rows_of_a_write_that_was_taken_for_failed_are_found(
    open_ledger: Any, make_entry: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = await open_ledger()
    await fates(ledger, make_entry(1))
    submit = Database.submit

    def keep_silent(database: Database, fn: Any, done: Done) -> None:
        submit(database, fn, lambda *_: done(None, CommitFailed("the disk does not say")))

    with monkeypatch.context() as patch:
        patch.setattr(Database, "submit", keep_silent)
        with pytest.raises(CommitFailed):
            await fates(ledger, make_entry(2), make_entry(3, tip=2))
    assert await fates(ledger, make_entry(3, tip=2), make_entry(2), make_entry(4)) == [
        (Fate.REPEATED, 3),
        (Fate.REPEATED, 2),
        (Fate.RECORDED, 4),
    ]


async def test_old_shares_of_a_long_tip_are_forgotten_by_halves(
    open_ledger: Any, make_entry: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(register, "GENERATION", 2)
    ledger = await open_ledger()
    for number in range(1, 4):
        await fates(ledger, make_entry(2 * number), make_entry(2 * number + 1))
    assert await fates(ledger, make_entry(6), make_entry(7)) == [(Fate.REPEATED, 5), (Fate.REPEATED, 6)]


async def test_a_ledger_that_lost_rows_is_read_again(
    open_ledger: Any, make_entry: Any, tmp_path: Path
) -> None:
    ledger = await open_ledger()
    await fates(ledger, make_entry(1))
    await fates(ledger, make_entry(2))
    await ledger._database.write(
        lambda connection: connection.execute("DELETE FROM batch WHERE first_seq = 2")
    )
    assert await fates(ledger, make_entry(1), make_entry(2)) == [(Fate.REPEATED, 1), (Fate.RECORDED, 2)]


async def test_terms_of_a_write_that_failed_are_not_used_again(
    open_ledger: Any, make_entry: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = await open_ledger()
    submit = Database.submit

    def roll_back(database: Database, fn: Any, done: Done) -> None:
        def spoil(connection: Any) -> None:
            fn(connection)
            raise CommitFailed("the disk is full")

        submit(database, spoil, done)

    with monkeypatch.context() as patch:
        patch.setattr(Database, "submit", roll_back)
        with pytest.raises(CommitFailed):
            await ledger.append([make_entry(1, OTHER), make_entry(2)])
    entries = [make_entry(1), make_entry(2), make_entry(3, OTHER), make_entry(4, amount=6)]
    await ledger.append(entries)
    await ledger.append([make_entry(5, OTHER), make_entry(6, amount=6), make_entry(7, block=True)])
    rows = await ledger.rows_after(0, 10)
    assert [(row.key, row.amount, row.block) for row in rows] == [
        (KEY, 5, False),
        (KEY, 5, False),
        (OTHER, 5, False),
        (KEY, 6, False),
        (OTHER, 5, False),
        (KEY, 6, False),
        (KEY, 5, True),
    ]
