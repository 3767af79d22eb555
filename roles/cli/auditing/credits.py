"""The mint's side: each settled row of an issuer proves its own work, and stands behind exactly one quote."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from protocols.bitcoin.hashing import sha256d
from protocols.bitcoin.target import meets
from protocols.ehash.amount import Valuation, share_amount
from roles.cli.auditing.findings import Findings
from roles.cli.auditing.mint import QuoteRow


@dataclass(frozen=True, slots=True)
class CreditRow:
    """A row of an issuer's ledger `store_id` as the mint settled it; `refusal` is its word if it refused."""

    issuer: bytes
    store_id: bytes
    seq: int
    share_hash: bytes
    header: bytes
    target: int
    minimum: int
    valuation: Valuation
    key: bytes
    unit: str
    refusal: str | None

    @property
    def source(self) -> tuple[bytes, bytes]:
        """The issuer's identity and the ledger."""
        return self.issuer, self.store_id


Refusals = dict[tuple[bytes, bytes], dict[int, str]]
"""By issuer and ledger: seq and the mint's word of every row that it refused."""


def audit_credits(
    credits: Iterable[CreditRow],
    quotes: Mapping[bytes, QuoteRow],
    findings: Findings,
    compacted: Mapping[tuple[bytes, bytes], int] = MappingProxyType({}),
) -> Refusals:
    """Check every credit against its work and its quote, and every quote for its credit.

    `compacted` is the last row of a ledger of which no credit is left.
    """
    refusals: Refusals = {}
    proven: set[bytes] = set()
    for row in credits:
        if row.refusal is not None:
            refusals.setdefault(row.source, {})[row.seq] = row.refusal
            continue
        quote = quotes.get(row.share_hash)
        name = f"row {row.seq}"
        if quote is None or (quote.issuer, quote.store_id, quote.seq) != (*row.source, row.seq):
            findings.problem("credits without a quote", name)
            continue
        proven.add(row.share_hash)
        if sha256d(row.header) != row.share_hash or not meets(row.share_hash, row.target):
            findings.problem("credits whose header does not prove their work", name)
        amount = share_amount(row.share_hash, row.target, row.minimum, row.valuation)
        if (quote.amount, quote.key, quote.unit) != (amount, row.key, row.unit):
            findings.problem("quotes that differ from their credit", name)
    for share_hash in quotes.keys() - proven:
        quote = quotes[share_hash]
        if quote.seq <= compacted.get((quote.issuer, quote.store_id), 0):
            continue
        findings.problem("quotes without a credit", share_hash[::-1].hex())
    return refusals
