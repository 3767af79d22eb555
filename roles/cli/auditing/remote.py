"""The wallet's side against a mint that is seen only over HTTP, as a miner sees it."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from protocols.cashu.curve import secret_point
from roles.cli.auditing.findings import Findings
from roles.cli.auditing.wallet import WalletQuote
from roles.cli.stores import WalletStore
from roles.wallet.mint_client import MintClient, open_session

QUOTES_AT_ONCE = 50
PROOFS_AT_ONCE = 100
T = TypeVar("T")


async def audit_remote(wallet: WalletStore, url: str, findings: Findings) -> None:
    """Ask the mint for every minted quote and every token; raises MintError if it does not answer."""
    async with open_session() as session:
        client = MintClient(url, session)
        await audit_quotes(client, wallet.named_quotes(), findings)
        await audit_tokens(client, wallet.secrets(), findings)


async def audit_quotes(
    client: MintClient, quotes: Iterable[tuple[str, WalletQuote]], findings: Findings
) -> None:
    """Compare what the wallet minted with what the mint says that it issued."""
    for batch in batches(quotes, QUOTES_AT_ONCE):
        states = await client.check_quotes([quote_id for quote_id, _ in batch])
        for (quote_id, mine), theirs in zip(batch, states, strict=True):
            findings.count("quotes asked of the mint")
            if (theirs.share_hash, theirs.unit, theirs.paid) != (mine.share_hash, mine.unit, mine.amount):
                findings.problem("quotes that differ between wallet and mint", quote_id)
            elif theirs.issued != theirs.paid:
                findings.problem("quotes minted by the wallet but open at the mint", quote_id)


async def audit_tokens(client: MintClient, secrets: Iterable[str], findings: Findings) -> None:
    """Check that the mint holds no unspent token of the wallet for spent."""
    for batch in batches(secrets, PROOFS_AT_ONCE):
        for state in await client.check_state([secret_point(secret) for secret in batch]):
            findings.count("proofs asked of the mint")
            if state != "UNSPENT":
                findings.problem("tokens of the wallet that are spent at the mint", f"one is {state}")


def batches(items: Iterable[T], size: int) -> Iterator[Sequence[T]]:
    """Yield the items in tuples of at most `size`."""
    source = iter(items)
    while batch := tuple(islice(source, size)):
        yield batch
