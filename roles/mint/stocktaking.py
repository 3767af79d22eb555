"""Counts the compacted quotes of every archive and compares them with what the archive says has gone there.

Archives are as large as the mint's past, so they are read in small parts, in the order of their hashes.
"""

from dataclasses import dataclass

from roles.mint import accounts, archive
from roles.mint.accounts import Difference
from roles.runtime.storage import Connection


@dataclass(frozen=True, slots=True)
class _Sums:
    quotes: int = 0
    amount: int = 0


@dataclass(slots=True)
class Stocktaking:
    """How far the archives have been counted: up to a hash within one of them."""

    number: int = 0
    after: bytes = b""
    told: _Sums = _Sums()
    """What the archive said when its first row was counted."""
    found: _Sums = _Sums()

    def advance(self, connection: Connection) -> tuple[int, list[Difference]]:
        """Count the next rows; gives how many steps there were, 0 at the end, and what is wrong with an
        archive that is through. One that grew meanwhile is left to the next time.
        """
        row = connection.execute(
            "SELECT archive_no, quotes, amount FROM archive WHERE ended_at IS NULL AND archive_no >= ?"
            " ORDER BY archive_no LIMIT 1",
            (self.number,),
        ).fetchone()
        if row is None:
            return 0, []
        number, told = row["archive_no"], _Sums(row["quotes"], row["amount"])
        if number != self.number or not self.after:
            self.number, self.after, self.told, self.found = number, b"", told, _Sums()
        quotes, amount, last = archive.part(connection, number, self.after, accounts.BATCH)
        self.found = _Sums(self.found.quotes + quotes, self.found.amount + amount)
        if last is not None:
            self.after = last
            return quotes, []
        self.number, self.after = number + 1, b""
        passed = max(1, quotes)
        if told != self.told or told == self.found:
            return passed, []
        said, there = (f"{sums.quotes} quotes of {sums.amount}" for sums in (told, self.found))
        return passed, [Difference("archived", str(number), f"the counters say {said}, the rows are {there}")]
