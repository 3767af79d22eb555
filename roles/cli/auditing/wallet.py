"""The wallet's side: every proof is the mint's own signature, and what was minted is what the quotes gave."""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field

from protocols.bitcoin import secp256k1
from protocols.cashu.curve import secret_point
from roles.cli.auditing.findings import Findings
from roles.cli.auditing.mint import QuoteRow


@dataclass(frozen=True, slots=True)
class ProofRow:
    """A token of the wallet; `blinding` is its blinding factor, derived from the seed."""

    keyset_id: str
    amount: int
    secret: str = field(repr=False)
    signature: bytes = field(repr=False)
    blinding: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SignatureRow:
    """A blind signature of the mint, kept under the blinded point that it signed."""

    keyset_id: str
    amount: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class WalletQuote:
    """A share's credit as the wallet knows it."""

    share_hash: bytes
    amount: int
    unit: str
    minted: bool


@dataclass(frozen=True, slots=True)
class Account:
    """One unit of the wallet: the sum of its history, and of the tokens that are unspent or held for a
    request under way.
    """

    unit: str
    told: int
    held: int
    under_way: int


@dataclass(frozen=True, slots=True)
class HandoutRow:
    """A token that was handed out: its amount, the sum of its proofs, and of those not known to be spent."""

    token_id: int
    amount: int
    state: str
    whole: int
    pending: int


def audit_accounts(accounts: Iterable[Account], findings: Findings) -> None:
    """Check that every change of the balance stands in the history, and nothing else does."""
    for account in accounts:
        findings.count("units of the wallet")
        held = account.held + account.under_way
        if account.told != held:
            what = f"{account.unit}: {account.told} by its history, {held} held"
            findings.problem("units whose history is not what is held", what)


def audit_handouts(handouts: Iterable[HandoutRow], findings: Findings) -> None:
    """Check that each token holds what it says, and that only a settled one is spent."""
    for token in handouts:
        findings.count("tokens handed out")
        if token.whole != token.amount:
            findings.problem("tokens handed out that hold another sum", f"number {token.token_id}")
        if (token.state == "open") != (token.pending > 0):
            findings.problem(
                "tokens handed out whose state is not that of their proofs", f"number {token.token_id}"
            )


def audit_spent(mine: Iterable[bytes], theirs: Container[bytes], findings: Findings) -> None:
    """Check that the mint has redeemed what the wallet holds for spent."""
    for y in mine:
        findings.count("spent proofs")
        if y not in theirs:
            findings.problem("spent proofs that the mint has not redeemed", y.hex())


def audit_wallet_quotes(
    mine: Iterable[WalletQuote],
    quotes: Mapping[bytes, QuoteRow] | None,
    findings: Findings,
    ended: Container[str] = (),
) -> None:
    """Check each credit that the wallet knows against the mint's quote, where the mint can be seen; of units
    whose shift has `ended` it keeps none that was minted.
    """
    for quote in mine:
        findings.count("quotes in the wallet")
        theirs = quotes.get(quote.share_hash) if quotes is not None else None
        if quotes is None:
            continue
        name = quote.share_hash[::-1].hex()
        if theirs is None:
            if quote.minted and quote.unit not in ended:
                findings.problem("tokens of the wallet without a quote", name)
        elif (theirs.amount, theirs.unit) != (quote.amount, quote.unit):
            findings.problem("quotes that differ between wallet and mint", name)
        elif quote.minted and theirs.issued != theirs.amount:
            findings.problem("quotes minted by the wallet but open at the mint", name)


def audit_balance(minted: Mapping[str, int], held: Mapping[str, int], findings: Findings) -> None:
    """Check that there are tokens, spent ones included, for all that was minted; both in ehash by unit."""
    for unit, amount in minted.items():
        if held.get(unit, 0) < amount:
            findings.problem(
                "units with fewer tokens than were minted", f"{amount - held.get(unit, 0)} of {unit}"
            )


def audit_proofs(
    proofs: Iterable[ProofRow],
    keys: Mapping[str, Mapping[int, bytes]],
    signatures: Mapping[bytes, SignatureRow] | None,
    findings: Findings,
) -> None:
    """Check that each proof unblinds one signature of the mint, and no two the same one."""
    used: set[bytes] = set()
    for proof in proofs:
        findings.count("proofs")
        blinded = secp256k1.add(secret_point(proof.secret), secp256k1.public_key(proof.blinding))
        if blinded in used:
            findings.problem("proofs held twice", f"a proof of {proof.amount}")
        used.add(blinded)
        if signatures is None:
            continue
        signed = signatures.get(blinded)
        if signed is None or (signed.keyset_id, signed.amount) != (proof.keyset_id, proof.amount):
            findings.problem("proofs that the mint has not signed", f"a proof of {proof.amount}")
            continue
        key = keys[proof.keyset_id][proof.amount]
        expected = secp256k1.add(proof.signature, secp256k1.multiply_secret(key, proof.blinding))
        if signed.signature != expected:
            findings.problem("proofs that differ from their signature", f"a proof of {proof.amount}")
