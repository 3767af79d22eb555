"""One side's audit for the other: writing a signed summary, and comparing with the other's."""

import secrets
from pathlib import Path

from roles.cli import whereabouts
from roles.cli.auditing.findings import Findings
from roles.cli.auditing.summary import Summary, SummaryError, compare, export, load, summarise
from roles.cli.stores import MintStore, PoolStore, open_store
from roles.credit.issuer_key import issuer_secret
from roles.runtime.authority import authority_secret


def export_side(state: Path, side: str, file: Path) -> Summary:
    """Write the summary of the pool's ledger, or of the mint's newest one, signed with the side's own key.

    The pool signs as the issuer, the mint with its authority key. Raises SummaryError if there is no ledger.
    """
    if side == "pool":
        connection = open_store(state, whereabouts.issuer(state), PoolStore.FILE)
        if connection is None:
            raise SummaryError(f"{state} holds no ledger")
        with connection:
            pool = PoolStore(connection)
            summary = summarise(side, pool.identity, pool.store_id, pool.links())
        secret = issuer_secret(state / whereabouts.issuer(state))
    else:
        connection = open_store(state, "mint", MintStore.FILE)
        if connection is None:
            raise SummaryError(f"{state} holds no mint")
        with connection:
            mint = MintStore(connection)
            ledgers = mint.ledgers()
            if not ledgers:
                raise SummaryError("the mint has not heard of any ledger yet")
            issuer, store_id = ledgers[-1]
            summary = summarise(
                side, issuer, store_id, mint.links(issuer, store_id), mint.past(issuer, store_id)
            )
        secret = authority_secret(state / "mint")
    file.write_bytes(export(summary, secret, secrets.token_bytes(32)))
    return summary


def compare_side(state: Path, side: str, file: Path, findings: Findings) -> bytes:
    """Compare a side's store with the other side's summary; returns the key that signed it (x-only).

    A pool's summary must be signed by the issuer that it speaks of; a mint's signer is for a person to
    compare with the mint's authority key. Raises SummaryError.
    """
    try:
        summary, signer = load(file.read_bytes())
    except OSError as error:
        raise SummaryError(f"{file} cannot be read: {error.strerror}") from error
    if summary.side == side:
        raise SummaryError(f"{file} is a summary of the {side}'s own side; the other side's is wanted")
    issuer, store_id = bytes.fromhex(summary.issuer), bytes.fromhex(summary.store_id)
    if side == "mint":
        if signer != issuer[1:]:
            raise SummaryError("the summary is not signed by the issuer that it speaks of")
        connection = open_store(state, "mint", MintStore.FILE)
    else:
        connection = open_store(state, whereabouts.issuer(state), PoolStore.FILE)
    if connection is None:
        raise SummaryError(f"{state} holds no store of the {side}")
    with connection:
        if side == "mint":
            mint = MintStore(connection)
            if (issuer, store_id) not in mint.ledgers():
                raise SummaryError("the mint knows no such ledger of this issuer")
            compare(mint.links(issuer, store_id), summary, findings, mint.past(issuer, store_id))
        else:
            pool = PoolStore(connection)
            if (issuer, store_id) != (pool.identity, pool.store_id):
                raise SummaryError("the summary speaks of another ledger")
            compare(pool.links(), summary, findings)
    return signer
