"""A fake node: it hands out the templates that a test gives it, and judges blocks as it is told."""

import asyncio
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from protocols.bitcoin.hashing import sha256d
from protocols.bitcoin.transaction import Transaction, TxIn, TxOut
from roles.node_client.answers import ChainInfo, NodeTemplate, TemplateTransaction
from roles.node_client.errors import NodeError

BITS = 0x207FFFFF
SUBSIDY = 5_000_000_000


def make_transaction(
    label: str, *, fee: int = 0, weight: int = 400, sigops: int = 0, depends: Sequence[int] = ()
) -> TemplateTransaction:
    """A transaction of a fake template; only its bytes and ids are real."""
    seed = hashlib.sha256(label.encode()).digest()
    made = Transaction(2, (TxIn(seed, 0),), (TxOut(1, b"\x51"),), ((seed,),))
    return TemplateTransaction(made.serialize(), made.txid, made.wtxid, fee, sigops, weight, tuple(depends))


def make_template(
    tip: str = "genesis",
    transactions: Iterable[TemplateTransaction] = (),
    *,
    height: int = 120,
    subsidy: int = SUBSIDY,
    **changes: Any,
) -> NodeTemplate:
    """A template on a tip that is named by any text."""
    listed = tuple(transactions)
    template = NodeTemplate(
        previous=sha256d(tip.encode()),
        height=height,
        version=0x20000000,
        bits=BITS,
        value=subsidy + sum(each.fee for each in listed),
        time=1_700_000_100,
        min_time=1_700_000_001,
        transactions=listed,
        weight_limit=4_000_000,
        sigop_limit=80_000,
        long_poll_id=f"{tip}-{len(listed)}",
    )
    return replace(template, **changes)


class FakeNode:
    """`template_now` is what it has; `offer` changes it, and wakes the long poll when told so."""

    def __init__(self) -> None:
        self.template_now = make_template()
        self.chain = "regtest"
        self.is_catching_up = False
        self.error: NodeError | None = None
        self.calls: list[str] = []
        self.rules: Sequence[str] = ()
        self.blocks: list[bytes] = []
        self.verdicts: list[str | NodeError | None] = []
        self.polls: asyncio.Queue[NodeTemplate | NodeError] = asyncio.Queue()
        self.asked: list[str] = []

    def offer(self, template: NodeTemplate, *, wake: bool = True) -> None:
        self.template_now = template
        if wake:
            self.polls.put_nowait(template)

    def fail(self, error: NodeError) -> None:
        """From now on every call fails."""
        self.error = error
        self.polls.put_nowait(error)

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if self.error is not None:
            raise self.error

    async def chain_info(self) -> ChainInfo:
        self._called("chain_info")
        return ChainInfo(self.chain, 119, 200, self.template_now.previous, self.is_catching_up)

    async def template(self, rules: Sequence[str] = ()) -> NodeTemplate:
        self._called("template")
        self.rules = rules
        return self.template_now

    async def next_template(self, long_poll_id: str, rules: Sequence[str] = ()) -> NodeTemplate:
        self.asked.append(long_poll_id)
        self._called("next_template")
        found = await self.polls.get()
        if isinstance(found, NodeError):
            raise found
        return found

    async def submit_block(self, block: bytes) -> str | None:
        self.blocks.append(block)
        verdict = self.verdicts.pop(0) if self.verdicts else None
        if isinstance(verdict, NodeError):
            raise verdict
        return verdict
