"""The mint's side: quotes against credits, signatures against quotes, counters against rows."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from roles.cli.auditing.findings import Findings
from roles.cli.auditing.ledger import LedgerRow


@dataclass(frozen=True, slots=True)
class QuoteRow:
    """An ehash quote: amounts in ehash, `seq` its place in the ledger `store_id` of the issuer; one that
    was compacted has no key any more.
    """

    share_hash: bytes
    issuer: bytes
    store_id: bytes
    seq: int
    amount: int
    key: bytes | None
    unit: str
    paid: int
    issued: int


@dataclass(frozen=True, slots=True)
class KeysetTotals:
    """What a keyset's rows and counters say, in ehash: signed by minting and swapping, spent by swapping."""

    keyset_id: str
    unit: str
    signed: int
    spent: int
    counted_issued: int
    counted_redeemed: int


def audit_quotes(quotes: Iterable[QuoteRow], findings: Findings) -> dict[bytes, QuoteRow]:
    """Check every quote on its own; returns them by share hash."""
    known: dict[bytes, QuoteRow] = {}
    for quote in quotes:
        findings.count("quotes")
        name = quote.share_hash[::-1].hex()
        if quote.share_hash in known:
            findings.problem("shares with two quotes", name)
        if quote.paid != quote.amount:
            findings.problem("quotes not paid in full", name)
        if not 0 <= quote.issued <= quote.paid:
            findings.problem("quotes issued beyond what was paid", name)
        known[quote.share_hash] = quote
    return known


def audit_keysets(
    totals: Iterable[KeysetTotals],
    quotes: Iterable[QuoteRow],
    findings: Findings,
    flows: Mapping[str, int] = MappingProxyType({}),
) -> None:
    """Check that what a unit's keysets signed is what its quotes issued and its spent proofs brought back.

    `flows` is what a unit gained or lost otherwise: invoices less melts and fees.
    """
    issued = Counter(dict(flows))
    signed: Counter[str] = Counter()
    spent: Counter[str] = Counter()
    for quote in quotes:
        issued[quote.unit] += quote.issued
    for keyset in totals:
        findings.count("keysets")
        signed[keyset.unit] += keyset.signed
        spent[keyset.unit] += keyset.spent
        if (keyset.counted_issued, keyset.counted_redeemed) != (keyset.signed, keyset.spent):
            findings.problem("keysets whose counters differ from their rows", keyset.unit)
        if keyset.spent > keyset.signed:
            findings.problem("keysets redeemed above what they issued", keyset.unit)
    for unit in signed.keys() | issued.keys():
        if signed[unit] != issued[unit] + spent[unit]:
            findings.problem(
                "keysets whose signatures do not match their quotes",
                f"{unit}: {signed[unit]} signed, {issued[unit]} issued, {spent[unit]} spent",
            )


def audit_handover(
    ledger: Mapping[bytes, LedgerRow],
    quotes: Mapping[bytes, QuoteRow],
    source: tuple[bytes, bytes],
    acked_seq: int,
    findings: Findings,
    *,
    refused: Mapping[int, str],
    ended: Mapping[str, int] = MappingProxyType({}),
) -> None:
    """Check each ledger row against its quote and each quote of the ledger against its row.

    `source` is the issuer's identity and the ledger's store id, `acked_seq` and `refused` (by seq) the mint's
    own word, which the pool may not have heard yet, `ended` by unit what the quotes of shifts that
    have ended came to.
    """
    forgotten: Counter[str] = Counter()
    for share_hash, row in ledger.items():
        quote = quotes.get(share_hash)
        refusal = row.refusal or refused.get(row.seq)
        if quote is not None and (quote.issuer, quote.store_id) == source:
            if refusal is not None:
                findings.problem("refused credits with a quote", row.place)
            key = row.key if quote.key is None else quote.key
            if (quote.amount, key, quote.unit, quote.seq) != (row.amount, row.key, row.unit, row.seq):
                findings.problem("quotes that differ from their share", row.place)
        elif refusal is not None:
            findings.alarm(f"credits refused by the mint ({refusal})")
        elif row.unit in ended and row.seq <= acked_seq:
            forgotten[row.unit] += row.amount
        elif row.seq <= acked_seq:
            findings.problem("confirmed shares without a quote", row.place)
        else:
            findings.count("shares on their way to the mint")
    for unit, amount in forgotten.items():
        if amount != ended[unit]:
            what = f"{unit}: shares over {amount}, quotes over {ended[unit]}"
            findings.problem("ended shifts whose quotes were not those of their shares", what)
    for share_hash, quote in quotes.items():
        if (quote.issuer, quote.store_id) == source and share_hash not in ledger:
            findings.problem("quotes without a share", share_hash[::-1].hex())
