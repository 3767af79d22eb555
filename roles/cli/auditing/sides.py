"""The audit of the sides that are there: pool, mint and wallet, each alone and against one another."""

from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from roles.cli import whereabouts
from roles.cli.auditing.credits import Refusals, audit_credits
from roles.cli.auditing.findings import TOGETHER, Findings
from roles.cli.auditing.ledger import LedgerRow, audit_ledger
from roles.cli.auditing.mint import QuoteRow, audit_handover, audit_keysets, audit_quotes
from roles.cli.auditing.payments import audit_payments, count_outstanding
from roles.cli.auditing.shifts import ShiftTotals, audit_past, audit_shifts
from roles.cli.auditing.wallet import (
    audit_accounts,
    audit_balance,
    audit_handouts,
    audit_proofs,
    audit_spent,
    audit_wallet_quotes,
)
from roles.cli.stores import MintStore, PoolStore, WalletStore, open_store
from roles.runtime import sysexits
from roles.runtime.errors import OperatorError
from roles.runtime.secret import SecretFile
from roles.wallet.seed import SEED_FILE, seed_from_file

SIDES: Final = ("pool", "mint", "wallet")


class SideMissing(Exception):
    """A side that was asked for has no store in the state directory."""


def audit(state: Path, sides: Collection[str] = SIDES, *, required: bool = False) -> Findings:
    """Audit the given sides of a state directory; raises SideMissing if one that is required was never there.

    Beside running daemons the order of the snapshots matters: what a later stage holds must be explained by
    an earlier one, so the wallet's is taken first and the pool's last; and what the mint's snapshot has not
    confirmed is still on its way.
    """
    findings = Findings()
    with ExitStack() as opened:
        wallets: dict[str, WalletStore] = {}
        pools: list[PoolStore] = []
        mint = None
        for place in whereabouts.wallets(state) if "wallet" in sides else ():
            if store := open_store(state, place, WalletStore.FILE):
                wallets[place] = WalletStore(opened.enter_context(store))
        if "mint" in sides and (store := open_store(state, "mint", MintStore.FILE)):
            mint = MintStore(opened.enter_context(store))
        for place in whereabouts.issuers(state) if "pool" in sides else ():
            if store := open_store(state, place, PoolStore.FILE):
                pools.append(PoolStore(opened.enter_context(store)))
        present = {"pool": bool(pools), "mint": mint is not None, "wallet": bool(wallets)}
        absent = [side for side in sides if not present[side]]
        if absent and required:
            raise SideMissing(f"{state} holds no store of the {' and the '.join(absent)}")
        ledgers = [audit_pool(pool, findings) for pool in pools]
        quotes, refusals, ended = audit_mint(mint, findings) if mint else (None, {}, {})
        amounts = {unit: shift.amount for unit, shift in ended.items()}
        if mint and quotes is not None:
            for pool, ledger in zip(pools, ledgers, strict=True):
                findings.verdict = TOGETHER
                source = (pool.identity, pool.store_id)
                refused, acked = refusals.get(source, {}), mint.acked(*source)
                audit_handover(ledger, quotes, source, acked, findings, refused=refused, ended=amounts)
                audit_past(ledger, mint.past(*source), refused.keys(), findings)
        for place, wallet in wallets.items():
            audit_wallet(wallet, mint, quotes, seed_words(state / place), findings, ended=ended.keys())
    return findings


def seed_words(directory: Path) -> str:
    """Return the seed words of the wallet in a directory; raises OperatorError."""
    path = directory / SEED_FILE
    words = SecretFile(path).load()
    if words is None:
        raise OperatorError(
            f"there are no seed words at {path}",
            hint="the wallet's tokens are checked against them; give them back from their backup",
            exit_code=sysexits.NO_INPUT,
        )
    seed_from_file(words, path)
    return words


def audit_pool(pool: PoolStore, findings: Findings) -> dict[bytes, LedgerRow]:
    """Audit the ledger alone."""
    return audit_ledger(pool.rows(), pool.unattributed(), findings)


def audit_mint(
    mint: MintStore, findings: Findings
) -> tuple[dict[bytes, QuoteRow], Refusals, dict[str, ShiftTotals]]:
    """Audit the mint alone; returns its quotes by share hash, what it refused, and shifts that have ended."""
    quotes = audit_quotes(mint.quotes(), findings)
    payments = audit_payments(mint.paid_quotes(), mint.melts(), mint.swap_fees(), findings)
    ended = audit_shifts(mint.shifts(), quotes.values(), findings)
    flows = payments | {unit: payments.get(unit, 0) + shift.amount for unit, shift in ended.items()}
    audit_keysets(mint.keysets(), quotes.values(), findings, flows)
    count_outstanding(mint.keysets(), "sat", findings)
    compacted = {source: mint.past(*source).seq for source in mint.ledgers()}
    return quotes, audit_credits(mint.credits(), quotes, findings, compacted), ended


def audit_wallet(
    wallet: WalletStore,
    mint: MintStore | None,
    quotes: dict[bytes, QuoteRow] | None,
    words: str,
    findings: Findings,
    *,
    ended: Collection[str],
) -> None:
    """Audit the wallet, against the mint where it can be seen."""
    audit_wallet_quotes(wallet.quotes(), quotes, findings, ended)
    audit_accounts(wallet.accounts(), findings)
    audit_handouts(wallet.handouts(), findings)
    if mint:
        audit_spent(wallet.spent(), mint.spent(), findings)
    audit_balance(wallet.minted_by_unit(), wallet.held_by_unit(), findings)
    audit_proofs(wallet.proofs(words), wallet.keys(), mint.signatures() if mint else None, findings)
