"""The mint's side: what was credited in a shift is what its quotes are worth, also those that are gone."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from protocols.ehash.ledger_chain import BEGINNING, Link, extend
from roles.cli.auditing.findings import Findings
from roles.cli.auditing.ledger import LedgerRow
from roles.cli.auditing.mint import QuoteRow
from roles.cli.auditing.summary import Past


@dataclass(frozen=True, slots=True)
class ShiftTotals:
    """What was credited in a shift, and how many quotes are archived and what they amount to, in ehash; of
    one that has ended nothing else is left of them.
    """

    unit: str
    credited: int
    quotes: int
    amount: int
    has_ended: bool


def audit_shifts(
    shifts: Iterable[ShiftTotals], quotes: Iterable[QuoteRow], findings: Findings
) -> dict[str, ShiftTotals]:
    """Check the sums of every shift against its quotes; returns those that have ended, by unit."""
    sums: Counter[str] = Counter()
    archived: Counter[str] = Counter()
    amounts: Counter[str] = Counter()
    for quote in quotes:
        sums[quote.unit] += quote.amount
        if quote.key is None:
            archived[quote.unit] += 1
            amounts[quote.unit] += quote.amount
    ended = {}
    for shift in shifts:
        findings.count("shifts")
        unit = shift.unit
        if shift.has_ended:
            ended[unit] = shift
            findings.count("quotes of shifts that have ended", shift.quotes)
            sums[unit] += shift.amount
        elif (archived[unit], amounts[unit]) != (shift.quotes, shift.amount):
            found = f"{archived[unit]} quotes over {amounts[unit]}"
            what = f"{unit}: {found}, {shift.quotes} over {shift.amount} told"
            findings.problem("shifts whose compacted quotes are not what was counted", what)
        if sums[unit] != shift.credited:
            what = f"{unit}: {shift.credited} credited, quotes over {sums[unit]}"
            findings.problem("shifts whose quotes are not what was credited", what)
    return ended


def audit_past(
    ledger: Mapping[bytes, LedgerRow], past: Past, refused: Collection[int], findings: Findings
) -> None:
    """Check the pool's rows against the chain over those that the mint has compacted."""
    if not past.seq:
        return
    value = BEGINNING
    for row in sorted(ledger.values(), key=lambda each: each.seq):
        if row.seq > past.seq:
            break
        amount = 0 if row.refusal is not None or row.seq in refused else row.amount
        value = extend(value, Link(row.seq, row.share_hash, amount, row.key))
    findings.count("compacted rows compared", past.seq)
    if value != past.chain[past.seq]:
        findings.problem("ledgers that differ from what was compacted", f"somewhere up to row {past.seq}")
