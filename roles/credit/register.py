"""Which shares of the present tips stand in the ledger, so that each stands there once, and on which terms.

Kept in memory, because an index over random hashes would cost the disk a page for every share. A tip that
comes back, or that was there before a restart, is read from the ledger when it is first asked for. Used by
writes only, one at a time.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

from roles.credit.batch import hashes_from, rows_from
from roles.runtime.storage import Connection

TIPS = 4
GENERATION = 1 << 19
"""Shares after which those of a tip that came before them grow old."""
MAX_TERMS = 65_536

Terms = tuple[int, int, int, int, bytes]
"""Shift, minimum, valuation, target and locking key."""


@dataclass(slots=True)
class Page:
    """The shares of one tip: rows by share hash, the last half a million and as many before them."""

    tip_no: int
    rows: dict[bytes, int] = field(default_factory=dict)
    older: dict[bytes, int] = field(default_factory=dict)

    def row_of(self, share_hash: bytes) -> int | None:
        """The row of a share, None if it is not known."""
        row = self.rows.get(share_hash)
        return self.older.get(share_hash) if row is None else row


class Register:
    """Pages by tip; `last` is the ledger's last row that is in them.

    A write begins with `begin` and its pages are good from `confirm` on, which is called when it is durable;
    what a write added that was never confirmed is taken back by the next one.
    """

    def __init__(self) -> None:
        self.last = 0
        self.end: tuple[int, int] | None = None
        """First row and time of the ledger's last record, where that is sure."""
        self._new_end: tuple[int, int] | None = None
        self._pages: OrderedDict[bytes, Page] = OrderedDict()
        self._marks: dict[bytes, int | None] = {}
        self._terms: dict[Terms, int] = {}
        self._new_terms: list[Terms] = []
        self.tails: dict[bytes, tuple[int, int, bytes]] = {}
        """By locking key the target and amount of its last row, and what rows of the same end with."""
        self._tails_price: tuple[int, ...] = ()

    def begin(self, connection: Connection, last: int, price: tuple[int, int, int] = (0, 0, 0)) -> None:
        """A write begins in a ledger whose last row is `last`, of rows of one shift and price."""
        self.end = self._new_end = None
        if self._new_terms or price != self._tails_price or len(self.tails) > MAX_TERMS or last < self.last:
            self.tails.clear()
            self._tails_price = price
        for tip, size in self._marks.items():
            page = self._pages.get(tip)
            if page is None:
                continue
            if size is None:
                del self._pages[tip]
                continue
            while len(page.rows) > size:
                page.rows.popitem()
        self._marks.clear()
        for terms in self._new_terms:
            del self._terms[terms]
        self._new_terms.clear()
        if len(self._terms) > MAX_TERMS:
            self._terms.clear()
        if last < self.last:
            self._pages.clear()
            self._terms.clear()
        elif last > self.last and self._pages:
            self._catch_up(connection)
        self.last = last
        while len(self._pages) > TIPS:
            self._pages.popitem(last=False)

    def turn(self, price: tuple[int, int, int]) -> None:
        """The rows that follow are of another shift, maybe at another price."""
        self.tails.clear()
        self._tails_price = price

    def page(self, connection: Connection, tip: bytes) -> Page:
        """The page of a tip (previous hash, 32 bytes) to which rows may be added until the write ends."""
        page = self._pages.get(tip)
        if page is None:
            page, is_new = _read(connection, tip, self.last)
            self._pages[tip] = page
            self._marks[tip] = None if is_new else len(page.rows)
        elif tip not in self._marks:
            self._pages.move_to_end(tip)
            if len(page.rows) >= GENERATION:
                page.rows, page.older = {}, page.rows
            self._marks[tip] = len(page.rows)
        return page

    def present(self, tip: bytes) -> Page | None:
        """The page of a tip as `page` has it, where the ledger need not be asked for it."""
        page = self._pages.get(tip)
        if page is None or len(page.rows) >= GENERATION:
            return None
        self._pages.move_to_end(tip)
        self._marks[tip] = len(page.rows)
        return page

    def added(self, record: int, time: int) -> None:
        """The write has added rows; the last record begins with row `record`."""
        self._new_end = (record, time) if record else None

    def terms_no(self, connection: Connection, terms: Terms) -> int:
        """The number of terms, which are kept if they are new."""
        number = self._terms.get(terms)
        if number is None:
            *price, target, key = terms
            number = self._terms[terms] = connection.execute(
                "INSERT INTO terms (shift, minimum, valuation, target, key) VALUES (?, ?, ?, ?, ?)"
                " RETURNING terms_no",
                (*price, target.to_bytes(32, "little"), key),
            ).fetchone()[0]
            self._new_terms.append(terms)
        return number

    def confirm(self, last: int) -> None:
        """The write is durable, and `last` the ledger's last row."""
        self._marks.clear()
        self._new_terms.clear()
        self.last = last
        self.end = self._new_end

    def _catch_up(self, connection: Connection) -> None:
        """Rows that another process wrote, or a write of which nobody knew what became of it."""
        pages = {page.tip_no: page for page in self._pages.values()}
        for row in rows_from(connection, self.last + 1):
            if row.tip_no in pages:
                pages[row.tip_no].rows[row.share_hash] = row.seq


def _read(connection: Connection, tip: bytes, last: int) -> tuple[Page, bool]:
    """The page of a tip as the ledger has it, and whether the ledger has not met that tip before."""
    found = connection.execute("SELECT tip_no, first_seq FROM tip WHERE hash = ?", (tip,)).fetchone()
    if found is None:
        made = connection.execute(
            "INSERT INTO tip (hash, first_seq) VALUES (?, ?) RETURNING tip_no", (tip, last + 1)
        ).fetchone()
        return Page(made[0]), True
    tip_no, first = found
    return Page(tip_no, hashes_from(connection, first, tip_no)), False
