"""When the ledger opens a shift, and that the mint finds the same."""

import contextlib
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.bitcoin.hashing import sha256d
from protocols.bitcoin.header import Header
from protocols.bitcoin.secp256k1 import public_key
from protocols.bitcoin.target import MAX_TARGET, from_work
from protocols.ehash.amount import Valuation, share_amount
from protocols.ehash.messages import FLAG_BLOCK, CreditRow, Credits
from protocols.ehash.shift import SHIFT_MS, ShiftRule, Unit
from roles.credit import ledger_rows
from roles.credit.errors import ShiftRefused
from roles.credit.ledger_rows import Entry, LedgerRow
from roles.credit.register import Register
from roles.credit.schema import BATCHES, LEDGER, SHIFTS
from roles.credit.shift_roll import RECKONED, Pricing, ShiftRoll
from roles.mint.settlement import OK, LedgerState, check_shift, settle
from roles.runtime.storage import Connection, Database, open_readonly
from tests.roles.credit.conftest import IDENTITY

KEY = public_key(bytes(31) + b"\x02")
START = 1_700_000_000_000
EIGHT = from_work(8)
PRICING = Pricing(1, Valuation.TARGET)
SCHEMA = [(1, "ledger", LEDGER), (2, "batches", BATCHES), (3, "shifts", SHIFTS)]


def _proven(number: int, target: int, *, block: bool = False) -> Entry:
    nonce = 0
    while True:
        root = number.to_bytes(32, "big")
        header = Header(2, bytes(32), root, 1_700_000_000, 0x207FFFFF, nonce).pack()
        share_hash = sha256d(header)
        if int.from_bytes(share_hash, "little") <= target and (not block or share_hash[31] < 0x7F):
            amount = share_amount(share_hash, target, PRICING.minimum, PRICING.valuation)
            return Entry(share_hash, header, target, amount, KEY, block)
        nonce += 1


SHARES = [_proven(number, EIGHT) for number in range(64)]
BLOCKS = [_proven(number, EIGHT, block=True) for number in range(64, 72)]


async def _shifts(ledger: Any) -> list[int]:
    """The shift of every row."""
    return [row.shift for row in await _rows(ledger)]


async def _rows(ledger: Any) -> list[LedgerRow]:
    rows: list[LedgerRow] = []
    while page := await ledger.rows_after(len(rows), 1000):
        rows += page
    return rows


@pytest.mark.parametrize(
    ("hashes", "entries", "gap_ms", "shifts"),
    [
        (170, SHARES[:5], 0, [0, 0, 0, 1, 1]),  # 17 hashes fill it: two shares are 16, the third opens none
        (160, SHARES[:5], 0, [0, 0, 1, 1, 2]),  # just full opens the next one
        (1 << 60, [SHARES[0], BLOCKS[0], SHARES[1]], 0, [0, 0, 1]),
        (1 << 60, [BLOCKS[0], BLOCKS[1], SHARES[1]], 0, [0, 1, 2]),
        (1 << 60, SHARES[:3], SHIFT_MS - 1, [0, 0, 1]),
        (1 << 60, SHARES[:3], SHIFT_MS, [0, 1, 2]),
        (1, SHARES[:3], 0, [0, 1, 2]),
    ],
)
@pytest.mark.parametrize("at_once", [True, False])
async def test_a_row_opens_the_next_shift_when_the_one_before_it_ends(
    open_ledger: Any,
    clock: Any,
    at_once: bool,
    hashes: int,
    entries: Sequence[Entry],
    gap_ms: int,
    shifts: list[int],
) -> None:
    rule = ShiftRule(block_hashes=hashes)
    ledger = await open_ledger(pricing=PRICING, rule=rule)
    if at_once and not gap_ms:
        await ledger.append(entries)
    else:
        for entry in entries:
            await ledger.append([entry])
            # What a process has counted and what the next one counts from the store is the same.
            ledger = await open_ledger(pricing=PRICING, rule=rule)
            clock.now += gap_ms / 1000
    assert await _shifts(ledger) == shifts
    assert ledger.shift == shifts[-1]
    assert _judged(await _rows(ledger), rule) == shifts


async def test_without_a_setting_a_shift_takes_a_tenth_of_what_the_nbits_of_its_first_row_say(
    open_ledger: Any,
) -> None:
    # These nbits let every second hash be a block, and a tenth of two hashes is less than any share.
    ledger = await open_ledger(pricing=PRICING, rule=ShiftRule())
    await ledger.append(SHARES[:3])
    assert await _shifts(ledger) == [0, 1, 2]


async def test_repeated_shares_and_those_without_a_key_fill_no_shift(open_ledger: Any) -> None:
    ledger = await open_ledger(pricing=PRICING, rule=ShiftRule(block_hashes=160))
    keyless = [entry._replace(key=None) for entry in SHARES[10:20]]
    await ledger.append([SHARES[0], *keyless, SHARES[0], SHARES[1], SHARES[1], SHARES[2]])
    assert await _shifts(ledger) == [0, 0, 1]


async def test_a_ledger_of_the_time_before_shifts_ended_goes_on_in_the_next_one(
    open_ledger: Any, tmp_path: Path
) -> None:
    ledger = await open_ledger(pricing=PRICING)
    await ledger.append(SHARES[:20])
    store = ledger._database
    await store.write(lambda c: c.execute("DELETE FROM shift") and None)
    ledger = await open_ledger(pricing=PRICING, rule=ShiftRule(block_hashes=160))
    await ledger.append(SHARES[18:24])
    assert await _shifts(ledger) == [0] * 20 + [1, 1, 2, 2]
    with open_readonly(tmp_path / "ledger.sqlite") as read:
        told = [tuple(row) for row in read.execute("SELECT shift, first_seq, amount FROM shift")]
    assert told[1:] == [(1, 21, 8), (2, 23, 8)]
    assert told[0][:2] == (0, 1)


async def test_a_write_that_came_to_nothing_opens_no_shift(open_ledger: Any) -> None:
    ledger = await open_ledger(pricing=PRICING, rule=ShiftRule(block_hashes=160))
    await ledger.append(SHARES[:1])
    bad = SHARES[9]._replace(amount=0)
    for _ in range(2):
        with pytest.raises(Exception, match="no place in the ledger"):
            await ledger.append([*SHARES[1:6], bad])
    assert ledger.shift == 0
    await ledger.append(SHARES[1:5])
    assert await _shifts(ledger) == [0, 0, 1, 1, 2]


async def test_a_long_shift_is_not_counted_from_its_beginning_at_every_start(
    open_ledger: Any, tmp_path: Path
) -> None:
    ledger = await open_ledger(pricing=PRICING, rule=ShiftRule(block_hashes=1 << 60))
    for start in range(0, RECKONED + 600, 600):
        await ledger.append(
            [
                Entry(sha256d(b"%d" % n), bytes(80), MAX_TARGET, 1, KEY, False)
                for n in range(start, start + 600)
            ]
        )
    with open_readonly(tmp_path / "ledger.sqlite") as store:
        counted, amount = store.execute("SELECT counted_seq, amount FROM shift").fetchone()
    assert counted == amount
    assert counted >= RECKONED


async def test_a_ledger_that_begins_later_keeps_the_order_of_its_shifts(open_ledger: Any) -> None:
    rule = ShiftRule(block_hashes=160)
    ledger = await open_ledger(pricing=PRICING, rule=rule)
    await ledger.append(SHARES[:5])
    await ledger.begin_in(2)
    await ledger.begin_in(2)
    assert ledger.shift == 4
    await ledger.append(SHARES[5:8])
    assert await _shifts(ledger) == [2, 2, 3, 3, 4, 4, 5, 5]


def _judged(rows: Sequence[LedgerRow], rule: ShiftRule) -> list[int]:
    """The shifts that the mint finds for rows; raises ShiftRefused where it finds others than they have."""
    state = LedgerState(
        ledger_no=1,
        issuer_no=1,
        acked_seq=0,
        shift=0,
        unit="",
        minimum=None,
        valuation=None,
        last_time=0,
        work_level=0,
        identity=IDENTITY,
    )
    shifts = []
    for row in rows:
        wire = CreditRow(row.header, row.target, row.time, FLAG_BLOCK if row.block else 0, row.key)
        frame = Credits(row.seq, row.shift, row.pricing.minimum, int(row.pricing.valuation), (wire,))
        opened = check_shift(state, frame, row.time)
        settlement = settle(opened, [wire], rule=rule, bound=None, now_ms=row.time, name_quote=lambda _: "id")
        assert [verdict.code for verdict in settlement.verdicts] == [OK]
        assert settlement.state.unit in {"", Unit(IDENTITY, row.shift).name}
        state = replace(settlement.state, newest=settlement.state.shift)
        shifts.append(state.shift)
    return shifts


class _Store:
    """A ledger without its event loop: rows by one write after another."""

    def __init__(self, connection: Connection, rule: ShiftRule) -> None:
        self.connection = connection
        self.rule = rule
        ledger_rows.open_ledger(connection, IDENTITY)
        self.begin()

    def begin(self) -> None:
        self.register, self.roll = Register(), ShiftRoll(self.rule, PRICING, 0)

    def write(self, entries: Sequence[Entry], now: int, *, confirm: bool = True) -> None:
        _, last = ledger_rows.append(self.connection, self.register, self.roll, list(entries), now=now)
        if confirm:
            self.register.confirm(last)
            self.roll.confirm(last)

    def rows(self) -> list[LedgerRow]:
        rows: list[LedgerRow] = []
        while page := ledger_rows.rows_after(self.connection, len(rows), 1000):
            rows += page
        return rows


_steps = st.lists(
    st.tuples(
        st.integers(1, 9),
        st.integers(0, SHIFT_MS),
        st.sampled_from(("go on", "go on", "restart", "lose the answer")),
        st.booleans(),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 900), st.integers(1, 12), _steps)
def test_pool_and_mint_find_the_same_shifts_whatever_comes(
    tmp_path_factory: pytest.TempPathFactory, hashes: int, parts: int, steps: list[tuple[int, int, str, bool]]
) -> None:
    rule = ShiftRule(block_hashes=hashes, per_block=parts)
    path = tmp_path_factory.mktemp("ledger") / "ledger.sqlite"
    Database.open(path, SCHEMA).close()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.row_factory = sqlite3.Row
        store = _Store(connection, rule)
        shares, blocks, now = iter(SHARES), iter(BLOCKS), START
        for count, gap, what, is_block in steps:
            now += gap
            entries = [entry for _, entry in zip(range(count), shares, strict=False)]
            if is_block:
                entries.insert(count // 2, next(blocks))
            store.write(entries, now, confirm=what != "lose the answer")
            if what == "restart":
                store.begin()
        rows = store.rows()
        assert _judged(rows, rule) == [row.shift for row in rows]
        _refuses_what_is_not_due(rows, rule)


def _refuses_what_is_not_due(rows: Sequence[LedgerRow], rule: ShiftRule) -> None:
    """A shift that begins one row earlier or later than it should is refused."""
    for place in range(1, len(rows)):
        before, row = rows[place - 1 : place + 1]
        other = row._replace(shift=before.shift if row.shift > before.shift else before.shift + 1)
        with pytest.raises(ShiftRefused):
            _judged([*rows[:place], other], rule)
