"""The counters that the mint's ledger keeps, and the rows that they must be the sums of.

Rows are read in batches by a number that only grows, so that what was counted once need not be again. A batch
touches rows by their key, and a check reads the counters and the last rows in one snapshot.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from roles.runtime.storage import Connection

BATCH: Final = 2_000
BLOCK: Final = 1_000
"""Numbers of quotes whose sums are kept together when they are compacted; batches end where blocks do."""
LAG: Final = 2_000
"""So many of the newest numbers are counted anew with each check: writes of several processes may become
visible in another order than their numbers are.
"""


@dataclass(frozen=True, slots=True)
class Account:
    """Sums by part that have a counter each.

    `rows` selects part and amount, the sum of rows from :first to :last by their number; `newest` the highest
    number; `counters` part and amount.
    """

    name: str
    rows: str
    newest: str
    counters: str


@dataclass(frozen=True, slots=True)
class Audit:
    """Rows that must agree with others of the same write: `faults` selects those from :after to :last that
    do not, as a text.
    """

    name: str
    newest: str
    faults: str


ACCOUNTS: Final = (
    Account(
        "issued",
        "SELECT keyset_no AS part, sum(amount) AS amount FROM promise"
        " WHERE promise_no BETWEEN :first AND :last GROUP BY keyset_no",
        "SELECT coalesce(max(promise_no), 0) AS number FROM promise",
        "SELECT keyset_no AS part, issued AS amount FROM keyset",
    ),
    Account(
        "redeemed",
        "SELECT keyset_no AS part, sum(amount) AS amount FROM spent"
        " WHERE spent_no BETWEEN :first AND :last AND pending = 0 GROUP BY keyset_no",
        "SELECT coalesce(max(spent_no), 0) AS number FROM spent",
        "SELECT keyset_no AS part, redeemed AS amount FROM keyset",
    ),
    Account(
        "credited",
        "SELECT unit AS part, sum(amount) AS amount FROM"
        " (SELECT unit, amount FROM quote WHERE share_hash IS NOT NULL AND quote_no BETWEEN :first AND :last"
        " UNION ALL SELECT shift.unit, archive_sum.amount FROM archive_sum JOIN archive USING (archive_no)"
        " JOIN ledger ON ledger.ledger_no = archive.ledger_no"
        " JOIN shift ON shift.issuer_no = ledger.issuer_no AND shift.shift = archive.shift"
        " WHERE block BETWEEN :first_block AND :last_block) AS every_quote GROUP BY unit",
        "SELECT coalesce(max(quote_no), 0) AS number FROM quote",
        "SELECT unit AS part, credited AS amount FROM shift",
    ),
)

REQUESTS: Final = Audit(
    "requests",
    "SELECT coalesce(max(request_no), 0) AS number FROM request",
    "SELECT 'request number ' || CAST(request.request_no AS TEXT) AS fault FROM request"
    " WHERE request_no > :after AND request_no <= :last AND kind = 'mint'"
    " AND coalesce((SELECT sum(amount) FROM issue WHERE issue.request_no = request.request_no), 0)"
    " <> coalesce((SELECT sum(amount) FROM promise WHERE promise.request_no = request.request_no), 0)",
)
"""What a request took from its quotes is what was signed for it."""

QUOTES: Final = Audit(
    "quotes",
    REQUESTS.newest,
    "SELECT 'quote number ' || CAST(quote.quote_no AS TEXT) AS fault FROM quote WHERE quote_no IN"
    " (SELECT quote_no FROM issue WHERE request_no > :after AND request_no <= :last)"
    " AND amount_issued <> (SELECT sum(amount) FROM issue WHERE issue.quote_no = quote.quote_no)",
)
"""What a quote has issued is what requests took from it."""

MELTS: Final = Audit(
    "melts",
    REQUESTS.newest,
    "SELECT 'request number ' || CAST(melt.request_no AS TEXT) AS fault FROM melt"
    " WHERE request_no > :after AND request_no <= :last AND state = 2"
    " AND inputs <> amount + input_fee + fee + kept"
    " + coalesce((SELECT sum(amount) FROM promise WHERE promise.request_no = melt.request_no), 0)",
)
"""What a melt has spent is what was paid, what it cost, and its change."""

AUDITS: Final = (REQUESTS, QUOTES, MELTS)


@dataclass(frozen=True, slots=True)
class Difference:
    """A counter that is not the sum of its rows, or rows that do not agree."""

    account: str
    part: str
    text: str

    def __str__(self) -> str:
        return f"{self.account} of {self.part}: {self.text}"


@dataclass(slots=True)
class Tally:
    """The sums of an account's rows up to a number."""

    account: Account
    mark: int = 0
    sums: dict[str, int] = field(default_factory=dict)

    def advance(self, connection: Connection) -> int:
        """Count the next rows, but for the newest; gives how many numbers were passed, 0 at the end."""
        last = min(_number(connection, self.account.newest) - LAG, self.mark + BATCH)
        last -= last % BLOCK
        if last <= self.mark:
            return 0
        for part, amount in _sums(connection, self.account, self.mark, last).items():
            self.sums[part] = self.sums.get(part, 0) + amount
        passed, self.mark = last - self.mark, last
        return passed

    def differences(self, connection: Connection) -> list[Difference] | None:
        """Where counters are not what rows sum to; None when too many rows are still to be counted."""
        newest = _number(connection, self.account.newest)
        if newest - self.mark > LAG + BATCH:
            return None
        tail = _sums(connection, self.account, self.mark, newest)
        counters = {
            str(row["part"]): int(row["amount"])
            for row in connection.execute(self.account.counters).fetchall()
        }
        return list(_compare(self.account.name, counters, self.sums, tail))


@dataclass(slots=True)
class Inspection:
    """How far an audit has come."""

    audit: Audit
    mark: int = 0

    def advance(self, connection: Connection) -> tuple[int, list[Difference]]:
        """Look at the next rows; gives how many numbers were passed, and what is wrong with them."""
        last = min(_number(connection, self.audit.newest), self.mark + BATCH)
        if last <= self.mark:
            return 0, []
        rows = connection.execute(self.audit.faults, {"after": self.mark, "last": last}).fetchall()
        passed, self.mark = last - self.mark, last
        return passed, [Difference(self.audit.name, row["fault"], "its sums differ") for row in rows]


def block(number: int) -> int:
    """Where the sum of a compacted quote is kept, by the number that the quote had."""
    return (number - 1) // BLOCK


def _number(connection: Connection, query: str) -> int:
    return int(connection.execute(query).fetchone()["number"])


def _sums(connection: Connection, account: Account, after: int, last: int) -> dict[str, int]:
    asked = {"first": after + 1, "last": last, "first_block": block(after + 1), "last_block": block(last)}
    rows = connection.execute(account.rows, asked).fetchall()
    return {str(row["part"]): int(row["amount"]) for row in rows}


def _compare(
    account: str, counters: Mapping[str, int], sums: Mapping[str, int], tail: Mapping[str, int]
) -> Iterable[Difference]:
    for part in sorted(counters.keys() | sums.keys() | tail.keys()):
        counted = sums.get(part, 0) + tail.get(part, 0)
        told = counters.get(part)
        if told != counted:
            text = f"the counter says {'nothing' if told is None else told}, the rows sum to {counted}"
            yield Difference(account, part, text)
