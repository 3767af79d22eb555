"""Rows are stored many to a record, and everybody reads them one by one."""

from pathlib import Path
from typing import Any

from roles.credit import batch
from roles.credit.ledger_rows import Record
from roles.credit.schema import BATCHES, LEDGER
from roles.runtime.storage import Database, open_readonly

ROW_BY_ROW = """
INSERT INTO tip VALUES (7, zeroblob(32), 1);
INSERT INTO terms VALUES (3, 0, 8, 0, zeroblob(32), zeroblob(33));
INSERT INTO entry VALUES (1, 1001, 7, 3, randomblob(32), randomblob(80), 9007199254740991, 0);
INSERT INTO entry VALUES (2, 1002, 7, 3, randomblob(32), zeroblob(80), 1, 1);
INSERT INTO refusal VALUES (2, 1, 1500);
"""


def shares(path: Path) -> list[tuple[Any, ...]]:
    """What an audit reads."""
    with open_readonly(path) as store:
        return [tuple(row) for row in store.execute("SELECT * FROM audit_share ORDER BY seq")]


def test_a_ledger_that_was_written_row_by_row_reads_the_same_in_batches(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    Database.open(path, [(1, "ledger", LEDGER), (2, "rows", ROW_BY_ROW)]).close()
    before = shares(path)
    Database.open(path, [(1, "ledger", LEDGER), (2, "rows", ROW_BY_ROW), (3, "batches", BATCHES)]).close()
    assert shares(path) == before
    assert [row[-1] for row in before] == [None, 1]
    with open_readonly(path) as store:
        rows = list(batch.rows_from(store, 1))
    assert [(row.seq, row.time, row.share_hash, row.header, row.amount, row.block) for row in rows] == [
        (row[0], row[1], row[2], row[3], row[7], bool(row[10])) for row in before
    ]


async def test_rows_of_one_commit_are_the_same_to_sql_and_to_us_however_many_they_are(
    open_ledger: Any, make_entry: Any, tmp_path: Path
) -> None:
    ledger = await open_ledger()
    count = 2 * batch.PLACES + 3
    entries = [make_entry(n, tip=1 + n // 100, amount=n + 1, block=n == 5) for n in range(count)]
    records = await ledger.append(entries)
    assert [record.seq for record in records] == list(range(1, count + 1))
    with open_readonly(tmp_path / "ledger.sqlite") as store:
        told = [
            (row["seq"], row["hash"], row["header"], row["amount"], bool(row["block"]))
            for row in store.execute("SELECT * FROM share ORDER BY seq")
        ]
        ours = [tuple(row[place] for place in (0, 3, 4, 5, 7)) for row in batch.rows_from(store, 1)]
        middle = [row.seq for row in batch.rows_from(store, batch.PLACES + 2)]
        assert batch.last_row(store)[0] == count
    assert told == ours
    assert told == [
        (seq, entry.share_hash, entry.header, entry.amount, entry.block)
        for seq, entry in enumerate(entries, 1)
    ]
    assert middle == list(range(batch.PLACES + 2, count + 1))


async def test_a_repetition_in_the_commit_that_holds_the_first_is_told_whose_it_is(
    open_ledger: Any, make_entry: Any
) -> None:
    ledger = await open_ledger()
    entries = [make_entry(1), make_entry(2, tip=2), make_entry(1), make_entry(2, b"\2" + bytes(32), tip=2)]
    records: list[Record] = await ledger.append(entries)
    assert [(record.fate.name, record.seq) for record in records] == [
        ("RECORDED", 1),
        ("RECORDED", 2),
        ("REPEATED", 1),
        ("DUPLICATE", 2),
    ]
