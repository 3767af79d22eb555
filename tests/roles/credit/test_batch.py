"""Rows are stored many to a record, and everybody reads them one by one."""

import gc
import sys
from pathlib import Path
from typing import Any

import pytest

from roles.credit import batch
from roles.credit.ledger_rows import Record
from roles.credit.schema import BATCHES, LEDGER
from roles.runtime.storage import Database, open_readonly
from tests.native_kernel import native_kernel

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


def native_rows() -> Any:
    rows = native_kernel().rows
    if rows is None:
        pytest.skip("the processor is no help to the native kernel")
    return rows


@pytest.fixture(params=["python", "native"])
def rows(request: pytest.FixtureRequest) -> Any:
    return batch.rows if request.param == "python" else native_rows()


def test_rows_that_differ_in_their_work_alone_are_put_together_at_once(rows: Any, make_entry: Any) -> None:
    entries = [make_entry(1), make_entry(2, b"k" * 33, amount=6), make_entry(3)]
    tails = {
        entry.key: (entry.target, entry.amount, batch.TAIL % (entry.amount, number, 0))
        for number, entry in enumerate(entries[:2], 1)
    }
    tip = entries[0].header[4:36]
    hashes, body = rows(entries, tip, tails)
    assert hashes == [entry.share_hash for entry in entries]
    assert body == b"".join(entry.share_hash + entry.header + tails[entry.key][2] for entry in entries)
    assert rows([], tip, tails) == ([], b"")
    # Numbers that are the same and not the same object.
    assert rows([make_entry(1)._replace(target=int(str(entries[0].target)))], tip, tails) is not None
    for other in (
        make_entry(4, tip=2),
        make_entry(4, amount=6),
        make_entry(4, block=True),
        make_entry(4, None),
        make_entry(4, b"o" * 33),
        make_entry(4)._replace(target=1),
    ):
        assert rows([*entries, other], tip, tails) is None


def test_the_native_rows_refuse_what_would_crash_them_and_keep_nothing(make_entry: Any) -> None:
    rows, entry = native_rows(), make_entry(1)
    tip, tails = entry.header[4:36], {entry.key: (entry.target, 5, bytes(29))}
    for arguments in ((), ((entry,), tip, tails), ([entry], tip[1:], tails), ([entry], tip, None)):
        with pytest.raises(TypeError):
            rows(*arguments)
    for strange in (
        5,
        tuple(entry)[:5],
        entry._replace(share_hash=b""),
        entry._replace(header=bytes(79)),
        entry._replace(header="x" * 80),
        entry._replace(block=0),
    ):
        assert rows([entry, strange], tip, tails) is None
    for tail in ((), (entry.target, 5), (entry.target, 5, bytes(28)), "abc"):
        assert rows([entry], tip, {entry.key: tail}) is None
    with pytest.raises(TypeError):
        rows([entry._replace(key=[])], tip, tails)
    entries: list[Any] = [entry, entry]

    class Odd(int):
        def __eq__(self, other: object) -> bool:
            entries.clear()
            return True

        __hash__ = int.__hash__

    assert rows(entries, tip, {entry.key: (Odd(1), 5, bytes(29))}) is None
    gc.collect()
    before = sys.getrefcount(entry), sys.getrefcount(entry.share_hash), sys.getrefcount(tails[entry.key])
    for _ in range(100):
        rows([entry, entry], tip, tails)
        rows([entry, 5], tip, tails)
    assert (
        sys.getrefcount(entry),
        sys.getrefcount(entry.share_hash),
        sys.getrefcount(tails[entry.key]),
    ) == before


async def test_shares_of_a_known_tip_on_known_terms_are_written_the_same_way(
    open_ledger: Any, make_entry: Any
) -> None:
    ledger = await open_ledger()
    numbers = iter(range(1, 1000))
    for size in (1, 3, batch.PLACES, batch.PLACES + 1, 2):
        entries = [make_entry(next(numbers)) for _ in range(size)]
        before = ledger.last_seq
        assert [record.seq for record in await ledger.append(entries)] == list(
            range(before + 1, before + size + 1)
        )
        rows = await ledger.rows_after(before, 1000)
        assert [(row.share_hash, row.header) for row in rows] == [entry[:2] for entry in entries]
        repeated = await ledger.append([entries[-1], make_entry(next(numbers))])
        assert [(record.fate.name, record.seq) for record in repeated] == [
            ("REPEATED", before + size),
            ("RECORDED", before + size + 1),
        ]
        twice = make_entry(next(numbers))
        records = await ledger.append([twice, twice])
        assert [record.fate.name for record in records] == ["RECORDED", "REPEATED"]
