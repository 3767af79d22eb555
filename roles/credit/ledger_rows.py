"""The rows of the ledger: what they say, and the statements that write and read them."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

from protocols.ehash.amount import AMOUNT_LIMIT, Valuation
from protocols.ehash.shift import FIRST_SHIFT
from roles.credit import batch
from roles.credit.register import Page, Register
from roles.credit.shift_roll import Price, Pricing, ShiftRoll
from roles.runtime import crash
from roles.runtime.kernel import kernel
from roles.runtime.storage import Connection, IntegrityError

STORE_ID_SIZE = 16
_PREVIOUS = slice(4, 36)
_INSERT_UNATTRIBUTED = (
    "INSERT INTO unattributed (time, tip_no, hash, amount, block) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT (tip_no, hash) DO NOTHING"
)


class Entry(NamedTuple):
    """An accepted share worth at least one ehash, on its way into the ledger; `key` None if it names none.

    A bare tuple of the same fields will do: take them by place.
    """

    share_hash: bytes
    header: bytes
    target: int
    amount: int
    key: bytes | None
    block: bool


class Fate(Enum):
    """What became of an entry."""

    RECORDED = auto()
    REPEATED = auto()
    """It stands there already, for the same key: to be answered with success, and credited once."""
    DUPLICATE = auto()
    """It stands there already, for another key or for none."""


class Record(NamedTuple):
    """The fate of an entry, and the number of its row, 0 for an unattributed share."""

    fate: Fate
    seq: int


class Outcome(NamedTuple):
    """What became of entries: a row each from `first` on, or where that is not so, the record of each."""

    first: int
    records: list[Record] | None = None

    def part(self, start: int, end: int) -> "Outcome":
        """The same of some of the entries."""
        if self.records is None:
            return Outcome(self.first + start)
        return Outcome(0, self.records[start:end])

    def of(self, place: int) -> Record:
        """The record of one entry."""
        return Record(Fate.RECORDED, self.first + place) if self.records is None else self.records[place]


class LedgerRow(NamedTuple):
    """An attributed share as it stands in the ledger; `time` in Unix milliseconds."""

    seq: int
    time: int
    shift: int
    pricing: Pricing
    share_hash: bytes
    header: bytes
    target: int
    amount: int
    key: bytes
    block: bool


@dataclass(frozen=True, slots=True)
class Opened:
    """A ledger as it was found, and its last row."""

    store_id: bytes
    identity: bytes
    shift: int
    last: LedgerRow | None
    unattributed: int
    refused: int


def open_ledger(connection: Connection, identity: bytes) -> Opened:
    """The ledger of the store, begun for `identity` if there is none; whose it is the caller looks at."""
    connection.execute(
        "INSERT INTO ledger VALUES (1, ?, ?, ?) ON CONFLICT (one) DO NOTHING",
        (secrets.token_bytes(STORE_ID_SIZE), identity, FIRST_SHIFT),
    )
    state = connection.execute("SELECT store_id, identity, shift FROM ledger").fetchone()
    last = rows_after(connection, batch.last_row(connection)[0] - 1, 1)
    return Opened(
        state["store_id"],
        state["identity"],
        state["shift"],
        last[0] if last else None,
        connection.execute("SELECT count(*) FROM unattributed").fetchone()[0],
        connection.execute("SELECT count(*) FROM refusal").fetchone()[0],
    )


def append(
    connection: Connection,
    register: Register,
    roll: ShiftRoll,
    entries: list[Entry],
    *,
    now: int,
) -> tuple[Outcome, int]:
    """Add entries behind the last row at `now` (ms), or at its time if that is later.

    Tells what became of them, and the number of the last row.
    """
    last = _append_plain(connection, register, roll, entries, now)
    if last is not None:
        crash.at("pool.shares-written")
        return Outcome(last - len(entries) + 1), last
    before, earliest = batch.last_row(connection)
    time = max(now, earliest)
    roll.begin(connection, before, time)
    register.begin(connection, before, roll.price)
    addition = _Addition(connection, register, roll, before, time)
    records = addition.add(entries)
    last = addition.store()
    crash.at("pool.shares-written")
    return Outcome(before + 1, records), last


def _append_plain(
    connection: Connection,
    register: Register,
    roll: ShiftRoll,
    entries: list[Entry],
    now: int,
) -> int | None:
    """The same by one statement, for new shares of one known tip on known terms, as most are, which open no
    shift; None, and nothing is written, for others.
    """
    if register.end is None or not 0 < len(entries) <= batch.PLACES:
        return None
    before, (record, time) = register.last, register.end
    time = max(now, time)
    if not roll.goes_on(before, time):
        return None
    register.begin(connection, before, roll.price)
    tip = entries[0][1][_PREVIOUS]
    page = register.present(tip)
    if page is None:
        return None
    found = (kernel().rows or batch.rows)(entries, tip, register.tails)
    total = sum([entry[3] for entry in entries])
    if found is None or total >= roll.left:
        return None
    hashes, body = found
    different, size = set(hashes), len(hashes)
    if len(different) < size or not (
        page.rows.keys().isdisjoint(different) and page.older.keys().isdisjoint(different)
    ):
        return None
    if not batch.store_behind(connection, record, before + 1, time, (page.tip_no, size, body)):
        return None
    page.rows.update(zip(hashes, range(before + 1, before + 1 + size), strict=True))
    register.added(before + 1, time)
    roll.take(connection, before + size, total)
    return before + size


class _Addition:
    """Entries on their way into the ledger behind row `before`; `parts` are those of all new rows."""

    def __init__(
        self,
        connection: Connection,
        register: Register,
        roll: ShiftRoll,
        before: int,
        time: int,
    ) -> None:
        self._parts: list[bytes] = []
        self._runs: list[tuple[int, int]] = []
        self._connection = connection
        self._register = register
        self._roll = roll
        self._before = before
        self._time = time

    def add(self, entries: Sequence[Entry]) -> list[Record] | None:
        """The record of each entry, None where each makes the next row."""
        roll = self._roll
        if roll.is_otherwise:
            return [self._add_one(entry) for entry in entries]
        tip = b""
        known: dict[bytes, int] = {}
        older = known
        seq, price, parts, left = self._before, roll.price, self._parts, roll.left
        terms_no, connection, tails = self._register.terms_no, self._connection, self._register.tails
        for place, entry in enumerate(entries):
            share_hash, header, target, amount, key, block = entry
            if not 0 < amount < AMOUNT_LIMIT:
                raise _misfit(amount)
            if header[_PREVIOUS] != tip:
                tip = header[_PREVIOUS]
                page = self._page(tip)
                known, older = page.rows, page.older
            if key is None or share_hash in known or share_hash in older:
                # The slow way from here on, for batches with repetitions or unattributed shares.
                roll.left = left
                records = [Record(Fate.RECORDED, self._before + number) for number in range(1, place + 1)]
                return records + [self._add_one(later) for later in entries[place:]]
            seq += 1
            known[share_hash] = seq
            if left <= 0:
                roll.left = left
                price, left = self._open_shift(seq, header)
            left -= amount
            last = tails.get(key)
            if last is not None and last[0] == target and last[1] == amount and not block:
                tail = last[2]
            else:
                tail = batch.TAIL % (amount, terms_no(connection, (*price, target, key)), block)
                if block:
                    roll.left = left
                    roll.close()
                    left = roll.left
                else:
                    tails[key] = (target, amount, tail)
            parts += (share_hash, header, tail)
        roll.left = left
        return None

    def store(self) -> int:
        """Store the new rows; returns the number of the last."""
        ends = [start for _, start in self._runs[1:]] + [len(self._parts)]
        runs = [
            (tip_no, self._parts[start:end]) for (tip_no, start), end in zip(self._runs, ends, strict=True)
        ]
        self._register.added(batch.store(self._connection, self._before + 1, self._time, runs), self._time)
        last = self._before + len(self._parts) // batch.PARTS
        self._roll.end(self._connection, last)
        return last

    def _open_shift(self, seq: int, header: bytes) -> tuple[Price, int]:
        """Row `seq` opens a shift; gives its price and what it takes."""
        roll = self._roll
        roll.open(seq, header, self._time)
        self._register.turn(roll.price)
        return roll.price, roll.left

    def _page(self, tip: bytes) -> Page:
        """The page of a tip, to which the next rows belong."""
        page = self._register.page(self._connection, tip)
        if not self._runs or self._runs[-1][0] != page.tip_no:
            self._runs.append((page.tip_no, len(self._parts)))
        return page

    def _add_one(self, entry: Entry) -> Record:
        share_hash, header, target, amount, key, block = entry
        if not 0 < amount < AMOUNT_LIMIT:
            raise _misfit(amount)
        page = self._page(header[_PREVIOUS])
        if key is None:
            values = (self._time, page.tip_no, share_hash, amount, block)
            inserted = self._connection.execute(_INSERT_UNATTRIBUTED, values).rowcount
            return Record(Fate.RECORDED if inserted else Fate.DUPLICATE, 0)
        row = page.row_of(share_hash)
        if row is not None:
            return Record(Fate.REPEATED if self._key_of(row) == key else Fate.DUPLICATE, row)
        seq = self._before + len(self._parts) // batch.PARTS + 1
        roll = self._roll
        if roll.left <= 0:
            self._open_shift(seq, header)
        elif roll.is_otherwise:
            amount = roll.reprice(share_hash, target)
            if not 0 < amount < AMOUNT_LIMIT:
                # In the units that still hold it is worth nothing: no row, and no fault of the miner's.
                return Record(Fate.REPEATED, 0)
        roll.left -= amount
        if block:
            roll.close()
        page.rows[share_hash] = seq
        number = self._register.terms_no(self._connection, (*roll.price, target, key))
        self._parts += (share_hash, header, batch.TAIL % (amount, number, block))
        return Record(Fate.RECORDED, seq)

    def _key_of(self, row: int) -> object:
        if row > self._before:
            number = batch.terms_of(self._parts[batch.PARTS * (row - self._before) - 1])
        else:
            number = next(batch.rows_from(self._connection, row)).terms_no
        return self._connection.execute("SELECT key FROM terms WHERE terms_no = ?", (number,)).fetchone()[0]


def _misfit(amount: int) -> IntegrityError:
    return IntegrityError(f"an amount of {amount} has no place in the ledger")


def rows_after(connection: Connection, seq: int, limit: int) -> list[LedgerRow]:
    """Rows that follow `seq`, at most `limit`, all of the shift and price of the first."""
    terms: dict[int, tuple[int, Pricing, int, bytes]] = {}
    rows: list[LedgerRow] = []
    for row in islice(batch.rows_from(connection, seq + 1), limit):
        found = terms.get(row.terms_no)
        if found is None:
            found = terms[row.terms_no] = _terms(connection, row.terms_no)
        shift, pricing, target, key = found
        if rows and (shift, pricing) != (rows[0].shift, rows[0].pricing):
            break
        rows.append(
            LedgerRow(
                row.seq,
                row.time,
                shift,
                pricing,
                row.share_hash,
                row.header,
                target,
                row.amount,
                key,
                row.block,
            )
        )
    return rows


def _terms(connection: Connection, number: int) -> tuple[int, Pricing, int, bytes]:
    shift, minimum, valuation, target, key = connection.execute(
        "SELECT shift, minimum, valuation, target, key FROM terms WHERE terms_no = ?", (number,)
    ).fetchone()
    return shift, _pricing(minimum, valuation), int.from_bytes(target, "little"), key


@lru_cache(maxsize=16)
def _pricing(minimum: int, valuation: int) -> Pricing:
    return Pricing(minimum, Valuation(valuation))


def refuse(connection: Connection, rows: list[tuple[int, int, int]]) -> int:
    """Keep refusals (seq, code, time); returns how many were new."""
    return connection.executemany(
        "INSERT INTO refusal (seq, code, time) VALUES (?, ?, ?) ON CONFLICT (seq) DO NOTHING", rows
    ).rowcount


def begin_in(connection: Connection, roll: ShiftRoll, shift: int) -> None:
    """Number the shifts of ledger and rows anew, so that the first is `shift` where it was an earlier one."""
    found = connection.execute("SELECT min(shift) FROM terms").fetchone()[0]
    first = connection.execute("SELECT shift FROM ledger").fetchone()[0] if found is None else found
    if first >= shift:
        return
    roll.forget()
    later = shift - first
    connection.execute("UPDATE ledger SET shift = shift + ?", (later,))
    connection.execute("UPDATE terms SET shift = shift + ?", (later,))
    # By way of numbers that none has: each row is checked by itself.
    connection.execute("UPDATE shift SET shift = -1 - (shift + ?)", (later,))
    connection.execute("UPDATE shift SET shift = -1 - shift")


def open_shift(connection: Connection) -> int:
    """The shift of the last row, or where the first row will be."""
    return int(connection.execute("SELECT shift FROM ledger").fetchone()[0])
