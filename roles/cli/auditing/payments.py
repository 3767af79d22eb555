"""The mint's side of payments: quotes that invoices paid, melts, and what fees have cost."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from roles.cli.auditing.findings import Findings
from roles.cli.auditing.mint import KeysetTotals


@dataclass(frozen=True, slots=True)
class PaidQuote:
    """A quote that is paid by invoice; `name` is its row, as its id is a secret."""

    name: str
    unit: str
    amount: int
    paid: int
    issued: int


@dataclass(frozen=True, slots=True)
class Melt:
    """A melt that has put tokens up; `cost` is what was paid, with all fees and what was kept, and `spent`
    and `pending` are the sums of its tokens.
    """

    name: str
    unit: str
    is_paid: bool
    inputs: int
    cost: int
    change: int
    spent: int
    pending: int


def audit_payments(
    quotes: Iterable[PaidQuote], melts: Iterable[Melt], swap_fees: Mapping[str, int], findings: Findings
) -> dict[str, int]:
    """Check every quote and melt on its own; returns what each unit gained or lost by them and by the fees of
    swaps: minted less burned.
    """
    flows = Counter({unit: -fees for unit, fees in swap_fees.items()})
    for quote in quotes:
        findings.count("invoices")
        if quote.paid not in {0, quote.amount}:
            findings.problem("invoices paid in part", quote.name)
        if not 0 <= quote.issued <= quote.paid:
            findings.problem("quotes issued beyond what was paid", quote.name)
        flows[quote.unit] += quote.issued
    for melt in melts:
        findings.count("melts")
        if melt.is_paid:
            flows[melt.unit] -= melt.cost
            if (melt.spent, melt.pending) != (melt.inputs, 0) or melt.inputs != melt.cost + melt.change:
                findings.problem("melts that do not add up", melt.name)
        elif (melt.spent, melt.pending, melt.change) != (0, melt.inputs, 0):
            findings.problem("pending melts that do not add up", melt.name)
        else:
            findings.count("melts on their way")
    return dict(flows)


def count_outstanding(totals: Iterable[KeysetTotals], unit: str, findings: Findings) -> None:
    """Note what the mint owes in a unit: signed less spent, which is what its invoices must back."""
    owed = [keyset.signed - keyset.spent for keyset in totals if keyset.unit == unit]
    if owed:
        findings.count(f"{unit}s outstanding", sum(owed))
