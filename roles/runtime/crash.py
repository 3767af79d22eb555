"""Named places where a daemon can be made to die as if the power had gone, for tests of its recovery.

`HASHPOOL_CRASH_AT=name` kills the process (SIGKILL) when it passes that place, `name@3` when it passes it for
the third time. A place stands wherever a commit, an answer or a message can be separated from its neighbour.
"""

import asyncio
import difflib
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from roles.runtime.errors import OperatorError

VARIABLE: Final = "HASHPOOL_CRASH_AT"

POINTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "pool.prefixes-stored": "extranonces are reserved | the first of them is granted",
        "pool.shares-judged": "shares are good | the ledger hears of them",
        "pool.shares-written": "shares are in the transaction | it is committed",
        "pool.shares-durable": "shares are committed | their miner is answered",
        "pool.shares-acknowledged": "a miner is answered | everything later",
        "pool.block-found": "a share is a block | its solution is sent",
        "pool.solution-sent": "a solution is sent | share and block are stored",
        "pool.block-stored": "a block is stored | the node is asked about it",
        "pool.credits-read": "rows are read from the ledger | they go to the mint",
        "pool.credits-sent": "rows went to the mint | its results come",
        "pool.results-heard": "the mint has settled rows | refusals are stored, the cursor moves",
        "pool.refusals-stored": "refusals are stored | the cursor moves",
        "pool.cursor-moved": "the cursor has moved | miners are told of their quotes",
        "pool.notices-sent": "miners are told of their quotes | everything later",
        "pool.channel-recorded": "a channel is recorded | its miner is given the token",
        "pool.token-taken": "a token is used up | its channel is open again",
        "pool.channel-resumed": "a channel is open again | its shares come again",
        "pool.prefixes-lent": "prefixes are taken for another process | it hears of them",
        "pool.branch-shares-durable": "another process's shares are committed | it is told",
        "pool.branch-answered": "another process is told of its shares | everything later",
        "branch.shares-handed": "a branch has handed over shares | it hears what became of them",
        "branch.channel-claimed": "a branch has claimed a channel | the keeper gives it up",
        "branch.block-told": "a branch has told of a block | share and block are stored",
        "mint.credits-judged": "rows are checked | quotes are written",
        "mint.credits-written": "quotes are in the transaction | it is committed",
        "mint.shift-opened": "a shift is open in the transaction | its keyset is made, quotes are written",
        "mint.credits-durable": "quotes are committed | the issuer is answered",
        "mint.results-sent": "the issuer is answered | everything later",
        "mint.compaction-written": "compacted quotes are in the transaction | it is committed",
        "mint.compaction-ended": "the end of a shift is in the transaction | it is committed",
        "mint.compaction-emptied": "a part of an ended shift's quotes is gone | the rest is",
        "mint.invoice-made": "the Lightning node has made an invoice | its quote is stored",
        "mint.invoice-counted": "a paid invoice is counted | its quote is minted",
        "mint.melt-written": "tokens for a payment are in the transaction | it is committed",
        "mint.melt-pledged": "tokens are put up for a payment | it is sent",
        "mint.melt-sent": "the Lightning node has paid, or not | the mint acts on it",
        "mint.melt-change-signed": "change of a payment is signed | it is settled",
        "mint.melt-settled-written": "a settled payment is in the transaction | it is committed",
        "mint.melt-durable": "a payment is settled | its wallet is answered",
        "mint.melt-given-up": "the tokens of a failed payment are free again | its wallet is answered",
        "mint.melt-own-durable": "an invoice of the mint is paid by tokens | its wallet is answered",
        "mint.tokens-signed": "outputs are signed | signatures and quotes are written",
        "mint.tokens-written": "signatures are in the transaction | it is committed",
        "mint.tokens-durable": "signatures are committed | the wallet is answered",
        "mint.swap-signed": "outputs of a swap are signed | inputs and signatures are written",
        "mint.swap-written": "a swap is in the transaction | it is committed",
        "mint.swap-durable": "a swap is committed | the wallet is answered",
        "wallet.identity-stored": "a new key is stored | work is asked for under it",
        "wallet.notices-taken": "the pool has told of quotes | they are stored",
        "wallet.notices-stored": "quotes are stored | their minting begins",
        "wallet.counters-reserved": "counters are taken | the request made of them is stored",
        "wallet.request-stored": "a request is stored | it is sent",
        "wallet.request-sent": "a request is with the mint | its answer is read",
        "wallet.request-answered": "an answer is read | its tokens are stored",
        "wallet.request-settled": "tokens are stored | everything later",
        "wallet.exchange-stored": "a swap is stored and its tokens are held | it is sent",
        "wallet.exchange-sent": "a swap is with the mint | its answer is read",
        "wallet.exchange-answered": "a swap's answer is read | its tokens are stored",
        "wallet.exchange-settled": "a swap's tokens are stored | everything later",
        "proxy.share-forwarded": "a share went to the pool | its verdict comes",
        "proxy.shares-sent-again": "shares in flight went to the pool again | their verdicts come",
        "proxy.verdict-heard": "the pool has judged a share | the miner is answered",
        "proxy.notice-heard": "the pool tells of a quote | the wallet hears of it",
        "sv1_proxy.job-written": "an SV1 pool's job is in the transaction | it is committed",
        "sv1_proxy.share-judged": "a share is good | the ledger hears of it",
        "sv1_proxy.share-durable": "a share is committed | its miner is answered",
        "sv1_proxy.share-answered": "its miner is answered | everything later",
        "sv1_proxy.verdict-heard": "the SV1 pool has judged a share | its word is stored",
        "regtest_node.block-received": "a block has come | the kernel has it",
        "regtest_node.block-stored": "the kernel has a block | the journal has it",
        "regtest_node.block-journalled": "the journal has a block | its sender is answered",
        "regtest_node.block-replayed": "a block of the journal is given to the kernel | the next one is",
        "regtest_node.coins-written": "the coins are on disk | the kernel's indexes are",
        "regtest_node.indexes-written": "the kernel's indexes are on disk | the journal is emptied",
        "regtest_node.rebuild-marked": "a rebuild is marked as begun | the indexes are made anew",
        "regtest_node.rebuild-done": "the indexes are made anew | the mark is removed",
        "template_provider.solution-heard": "a solution has come | the node has the block",
        "template_provider.block-judged": "the node has judged a block | its verdict is told",
    }
)
"""Every place by name: what is done when it is passed | what is not yet. The name begins with the package."""


@dataclass(slots=True)
class _Fuse:
    """The place that is armed and how often it is still passed unharmed."""

    name: str
    left: int


_fuse: _Fuse | None = None
# The one global of its kind: a place deep in a library has no other way to know, and nobody else looks at it.
is_armed = False
"""Whether any place is; who passes one for each share asks first, since the call would be felt."""


def arm(wish: str) -> None:
    """Arm the place that ``$HASHPOOL_CRASH_AT`` names, or none; called once, when a daemon starts.

    Raises OperatorError for a name that is none.
    """
    global _fuse, is_armed  # noqa: PLW0603
    _fuse = _read(wish) if wish else None
    is_armed = _fuse is not None


def at(name: str) -> None:
    """Pass a place."""
    if _fuse is not None and _is_due(_fuse, name):
        _die(name)


def once_sent(name: str) -> None:
    """Pass a place on the event loop that lies behind a message: what was just written goes out first."""
    if _fuse is not None and _is_due(_fuse, name):
        # An event loop may keep what is written until the end of its turn.
        asyncio.get_running_loop().call_soon(_die, name)


def _is_due(fuse: _Fuse, name: str) -> bool:
    if fuse.name != name:
        return False
    fuse.left -= 1
    return fuse.left == 0


def _die(name: str) -> None:
    os.write(sys.stderr.fileno(), f"crash point {name}\n".encode())
    os.kill(os.getpid(), signal.SIGKILL)


def _read(wish: str) -> _Fuse:
    name, _, passing = wish.partition("@")
    if name not in POINTS:
        near = difflib.get_close_matches(name, POINTS, n=1, cutoff=0.0)
        raise OperatorError(f"{VARIABLE} names no crash point: {name!r}", hint=f"did you mean {near[0]}?")
    if passing in {"", "1"}:
        return _Fuse(name, 1)
    if not (passing.isascii() and passing.isdecimal() and int(passing)):
        raise OperatorError(
            f"{VARIABLE} must end with a number after @, not {passing!r}", hint=f"such as {name}@2"
        )
    return _Fuse(name, int(passing))
