"""The pool's side: every row proves its own hash and amount, and the sequence has no gap."""

from collections.abc import Iterable
from dataclasses import dataclass

from protocols.bitcoin.hashing import sha256d
from protocols.bitcoin.target import meets
from protocols.ehash.amount import Valuation, share_amount
from roles.cli.auditing.findings import Findings


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """An attributed share of the ledger; `time` in ms, `refusal` the mint's word if it refused the credit."""

    seq: int
    time: int
    share_hash: bytes
    header: bytes
    target: int
    minimum: int
    valuation: Valuation
    amount: int
    key: bytes
    unit: str
    refusal: str | None

    @property
    def place(self) -> str:
        """Where the row stands and which share it is, for people."""
        return f"row {self.seq} (share {self.share_hash[::-1].hex()})"


def audit_ledger(rows: Iterable[LedgerRow], unattributed: int, findings: Findings) -> dict[bytes, LedgerRow]:
    """Check every row on its own and the sequence; returns the rows by share hash."""
    known: dict[bytes, LedgerRow] = {}
    expected, latest = 1, 0
    for row in rows:
        findings.count("attributed shares")
        if row.seq != expected:
            findings.problem("gaps in the ledger", f"{row.place} stands where row {expected} belongs")
        if row.time < latest:
            findings.problem("rows earlier than the row before", row.place)
        if row.share_hash in known:
            findings.problem(
                "shares credited twice", f"{row.place}, before that row {known[row.share_hash].seq}"
            )
        check_work(row, findings)
        known[row.share_hash] = row
        expected, latest = row.seq + 1, row.time
    if unattributed:
        findings.count("unattributed shares", unattributed)
    return known


def check_work(row: LedgerRow, findings: Findings) -> None:
    """Recompute hash and amount of a row from its header."""
    if sha256d(row.header) != row.share_hash:
        findings.problem("rows whose hash is not their header's", row.place)
    elif not meets(row.share_hash, row.target):
        findings.problem("rows above their target", row.place)
    amount = share_amount(row.share_hash, row.target, row.minimum, row.valuation)
    if amount != row.amount:
        findings.problem("rows with a wrong amount", f"{row.place} says {row.amount}, its work is {amount}")
