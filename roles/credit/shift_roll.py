"""Which shift the next row of the ledger belongs to, and at which price; decided by the write that adds it.

A row costs one comparison: `left` is what the open shift still takes, in ehash, and 0 when it is over.
"""

from dataclasses import dataclass
from typing import NamedTuple

from protocols.ehash.amount import Valuation, share_amount
from protocols.ehash.shift import SHIFT_MS, ShiftRule
from roles.credit import batch
from roles.runtime.storage import Connection

_OVER = 1 << 80
RECKONED = 8192
"""Rows after which the sum of the open shift is written down, so that nobody ever counts more than these."""
_RECKON = "UPDATE shift SET counted_seq = ?, amount = ? WHERE shift = ?"


@dataclass(frozen=True, slots=True)
class Pricing:
    """The units of a shift: `minimum` in bits, and the valuation."""

    minimum: int
    valuation: Valuation


class Price(NamedTuple):
    """What rows of one shift have in common, as their terms begin."""

    shift: int
    minimum: int
    valuation: int


class ShiftRoll:
    """The shifts of one ledger. `wanted` is the pricing of the shifts that open from now on.

    A write begins with `begin`, tells of each row that opens a shift, and ends with `end`; what it did counts
    from `confirm` on, and is read from the store again where that never comes. Used by one write at a time.
    """

    def __init__(self, rule: ShiftRule, wanted: Pricing, shift: int) -> None:
        self.rule = rule
        self.wanted = wanted
        self.price = Price(shift, wanted.minimum, int(wanted.valuation))
        self.left = 0
        """Ehash that the open shift still takes; the next row opens another one at 0 and below."""
        self._penalty = 0
        self._is_empty = True
        self._room = 0
        self._ends = 0
        self._seq = -1
        self._reckoned = 0
        self._opened: list[tuple[int, int]] = []
        self._closed: list[tuple[int, int, int]] = []

    @property
    def is_otherwise(self) -> bool:
        """Whether the open shift counts in other units than those of new ones."""
        return self.price[1:] != (self.wanted.minimum, int(self.wanted.valuation))

    def begin(self, connection: Connection, before: int, time: int) -> None:
        """A write begins of rows at `time` (ms) behind row `before`."""
        if self._seq != before:
            self._read(connection, before)
        self._seq = -1
        self._opened.clear()
        self._closed.clear()
        if not self._is_empty and time >= self._ends:
            self.close()

    def goes_on(self, before: int, time: int) -> bool:
        """Whether rows at `time` behind row `before` are surely of the open shift and in its units, as long
        as they amount to less than `left`.
        """
        return self._seq == before and time < self._ends and not self.is_otherwise

    def take(self, connection: Connection, last: int, amount: int) -> None:
        """A write has added such rows up to `last`, and nothing else."""
        self._seq = -1
        self._opened.clear()
        self._closed.clear()
        self.left -= amount
        self.end(connection, last)

    def close(self) -> None:
        """The next row opens another shift, however much this one would take."""
        if not self._penalty:
            self._penalty = _OVER
            self.left -= _OVER

    def open(self, seq: int, header: bytes, time: int) -> None:
        """Row `seq` opens a shift."""
        shift = self.price.shift
        if not self._is_empty:
            self._closed.append((seq - 1, self._amount, shift))
            shift += 1
        self._is_empty = False
        self.price = Price(shift, self.wanted.minimum, int(self.wanted.valuation))
        self._begin_at(header, time)
        self._opened.append((shift, seq))

    def reprice(self, share_hash: bytes, target: int) -> int:
        """What a share is worth in the open shift, in ehash."""
        _, minimum, valuation = self.price
        return share_amount(share_hash, target, minimum, Valuation(valuation))

    def end(self, connection: Connection, last: int) -> None:
        """The write has added rows up to `last`."""
        if self._opened:
            connection.executemany(
                "INSERT INTO shift (shift, first_seq, counted_seq, amount) VALUES (?, ?, 0, 0)", self._opened
            )
            connection.executemany(_RECKON, self._closed)
            connection.execute("UPDATE ledger SET shift = ?", (self.price.shift,))
        if last - self._reckoned >= RECKONED or self._opened:
            connection.execute(_RECKON, (last, self._amount, self.price.shift))
            self._reckoned = last

    def confirm(self, last: int) -> None:
        """The write is durable, and `last` the ledger's last row."""
        self._seq = last

    def forget(self) -> None:
        """The store was changed by another hand."""
        self._seq = -1

    @property
    def _amount(self) -> int:
        """What the rows of the open shift amount to."""
        return self._room - self.left - self._penalty

    def _begin_at(self, header: bytes, time: int) -> None:
        self._room = self.left = -(-self.rule.full_at(header) >> self.price.minimum)
        self._ends = time + SHIFT_MS
        self._penalty = 0

    def _read(self, connection: Connection, before: int) -> None:
        """The open shift as the store has it, up to row `before`."""
        number = connection.execute("SELECT shift FROM ledger").fetchone()[0]
        self._is_empty = not before
        if not before:
            self.price = Price(number, self.wanted.minimum, int(self.wanted.valuation))
            self.left = self._room = self._penalty = 0
            return
        # A ledger of the time when its shift stayed open has no record of it.
        connection.execute(
            "INSERT INTO shift (shift, first_seq, counted_seq, amount) VALUES (?, 1, 0, 0)"
            " ON CONFLICT DO NOTHING",
            (number,),
        )
        first_seq, counted, amount = connection.execute(
            "SELECT first_seq, counted_seq, amount FROM shift WHERE shift = ?", (number,)
        ).fetchone()
        first = next(batch.rows_from(connection, first_seq))
        minimum, valuation = connection.execute(
            "SELECT minimum, valuation FROM terms WHERE terms_no = ?", (first.terms_no,)
        ).fetchone()
        self.price = Price(number, minimum, valuation)
        self._begin_at(first.header, first.time)
        self._reckoned = counted
        self.left -= amount
        for row in batch.rows_from(connection, max(first_seq, counted + 1)):
            self.left -= row.amount
            if self.left <= 0:
                break
        if next(batch.rows_from(connection, before)).block:
            self.close()
