"""The rows of the ledger: what they say, and the statements that write and read them."""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from itertools import takewhile
from typing import NamedTuple

from protocols.ehash.amount import Valuation
from protocols.ehash.shift import FIRST_SHIFT
from roles.runtime import crash
from roles.runtime.storage import Connection, Row

STORE_ID_SIZE = 16
_PREVIOUS = slice(4, 36)
_INSERT = (
    "INSERT INTO share (time, shift, minimum, valuation, tip_no, hash, header, target, amount, key, block)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (tip_no, hash) DO NOTHING"
)
_INSERT_UNATTRIBUTED = (
    "INSERT INTO unattributed (time, tip_no, hash, amount, block) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT (tip_no, hash) DO NOTHING"
)


class Entry(NamedTuple):
    """An accepted share worth at least one ehash, on its way into the ledger; `key` None if it names none."""

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


@dataclass(frozen=True, slots=True)
class Pricing:
    """The units of a shift: `minimum` in bits, and the valuation."""

    minimum: int
    valuation: Valuation


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
    last = connection.execute("SELECT * FROM share ORDER BY seq DESC LIMIT 1").fetchone()
    return Opened(
        state["store_id"],
        state["identity"],
        state["shift"],
        _row(last) if last else None,
        connection.execute("SELECT count(*) FROM unattributed").fetchone()[0],
        connection.execute("SELECT count(*) FROM refusal").fetchone()[0],
    )


def append(
    connection: Connection, entries: Sequence[Entry], now: int, shift: int, pricing: Pricing
) -> list[Record]:
    """Add entries behind the last row at `now` (ms), or at its time if that is later; tells their fates."""
    last = connection.execute("SELECT seq, time FROM share ORDER BY seq DESC LIMIT 1").fetchone()
    before, earliest = (last["seq"], last["time"]) if last else (0, 0)
    moment = max(now, earliest)
    tips = {tip: _tip_number(connection, tip) for tip in {entry.header[_PREVIOUS] for entry in entries}}
    attributed = [entry for entry in entries if entry.key is not None]
    price = (moment, shift, pricing.minimum, int(pricing.valuation))
    inserted = connection.executemany(
        _INSERT,
        [
            (
                *price,
                tips[entry.header[_PREVIOUS]],
                entry.share_hash,
                entry.header,
                entry.target.to_bytes(32, "little"),
                entry.amount,
                entry.key,
                entry.block,
            )
            for entry in attributed
        ],
    ).rowcount
    crash.at("pool.shares-written")
    if len(attributed) == len(entries) == inserted:
        return [Record(Fate.RECORDED, seq) for seq in range(before + 1, before + inserted + 1)]
    return [*_settle(connection, entries, tips, before, moment)]


def _settle(
    connection: Connection, entries: Sequence[Entry], tips: dict[bytes, int], before: int, moment: int
) -> Iterable[Record]:
    """The slow way, for batches with repetitions or unattributed shares: each entry is looked up."""
    fresh: set[int] = set()
    for entry in entries:
        tip = tips[entry.header[_PREVIOUS]]
        if entry.key is None:
            values = (moment, tip, entry.share_hash, entry.amount, entry.block)
            inserted = connection.execute(_INSERT_UNATTRIBUTED, values).rowcount
            yield Record(Fate.RECORDED if inserted else Fate.DUPLICATE, 0)
            continue
        row = connection.execute(
            "SELECT seq, key FROM share WHERE tip_no = ? AND hash = ?", (tip, entry.share_hash)
        ).fetchone()
        if row["seq"] > before and row["seq"] not in fresh:
            fresh.add(row["seq"])
            yield Record(Fate.RECORDED, row["seq"])
        else:
            yield Record(Fate.REPEATED if row["key"] == entry.key else Fate.DUPLICATE, row["seq"])


def _tip_number(connection: Connection, tip: bytes) -> int:
    row = connection.execute("SELECT tip_no FROM tip WHERE hash = ?", (tip,)).fetchone()
    if row is None:
        row = connection.execute("INSERT INTO tip (hash) VALUES (?) RETURNING tip_no", (tip,)).fetchone()
    number: int = row[0]
    return number


def rows_after(connection: Connection, seq: int, limit: int) -> list[LedgerRow]:
    """Rows that follow `seq`, at most `limit`, all of the shift and price of the first."""
    found = connection.execute("SELECT * FROM share WHERE seq > ? ORDER BY seq LIMIT ?", (seq, limit))
    rows = [_row(row) for row in found]
    return list(takewhile(lambda row: (row.shift, row.pricing) == (rows[0].shift, rows[0].pricing), rows))


def _row(row: Row) -> LedgerRow:
    return LedgerRow(
        row["seq"],
        row["time"],
        row["shift"],
        Pricing(row["minimum"], Valuation(row["valuation"])),
        row["hash"],
        row["header"],
        int.from_bytes(row["target"], "little"),
        row["amount"],
        row["key"],
        bool(row["block"]),
    )


def refuse(connection: Connection, rows: list[tuple[int, int, int]]) -> int:
    """Keep refusals (seq, code, time); returns how many were new."""
    return connection.executemany(
        "INSERT INTO refusal (seq, code, time) VALUES (?, ?, ?) ON CONFLICT (seq) DO NOTHING", rows
    ).rowcount


def begin_in(connection: Connection, shift: int) -> None:
    """Move ledger and rows of earlier shifts into `shift`."""
    connection.execute("UPDATE ledger SET shift = max(shift, ?)", (shift,))
    connection.execute("UPDATE share SET shift = ? WHERE shift < ?", (shift, shift))
