"""What is mined on: the node's newest draft, made into work for whoever a block would pay."""

from collections import OrderedDict
from typing import Final

from protocols.bitcoin.coinbase import add_witness, coinbase_parts
from protocols.bitcoin.header import Header
from protocols.bitcoin.merkle import root_from_path
from protocols.bitcoin.target import from_work
from protocols.bitcoin.transaction import Transaction, TxOut
from protocols.translation import work as translation
from protocols.translation.extranonce import Layout
from protocols.translation.share import JudgedShare
from protocols.translation.work import Tip, Work
from roles.runtime.kernel import kernel
from roles.templates.block import Block, assemble
from roles.templates.draft import Draft

SCRIPTS_KEPT: Final = 1_024
"""Of one draft; further ones are made when they are asked for."""
DRAFTS_KEPT: Final = 256
"""Of one tip."""


class Workshop:
    """Holds the present draft; `tag` is the pool's name in the coinbase.

    `block_hashes` stands for the network difficulty where that is too easy (regtest). A draft that pays
    `fee_gain` satoshis less than that more is not worth other work before the tip changes.
    """

    def __init__(self, tag: str, layout: Layout, *, block_hashes: int | None, fee_gain: int) -> None:
        self._tag = f"/{tag}/".encode()
        self._layout = layout
        self._hardest = from_work(block_hashes) if block_hashes else None
        self._fee_gain = fee_gain
        self._number = 0
        self._drafts: OrderedDict[int, Draft] = OrderedDict()
        self._works: dict[bytes, Work] = {}

    @property
    def draft(self) -> Draft | None:
        """What is mined on now."""
        return self._drafts[self._number] if self._drafts else None

    def take(self, draft: Draft) -> bool | None:
        """Mine on a draft if that is worth while: True where it has another tip, None where it is not."""
        present = self.draft
        is_new_tip = present is None or (present.previous, present.bits) != (draft.previous, draft.bits)
        if present is not None and not is_new_tip:
            is_better = draft.value - present.value >= self._fee_gain
            if not is_better or draft.merkle_path == present.merkle_path:
                return None
        if is_new_tip:
            self._drafts.clear()
        elif len(self._drafts) >= DRAFTS_KEPT:
            self._drafts.popitem(last=False)
        self._number += 1
        self._drafts[self._number] = draft
        self._works = {}
        return is_new_tip

    def work(self, script: bytes) -> Work:
        """The present work of whom a block pays by this script.

        Raises RuntimeError before there is any, CoinbaseError for a tag that does not fit.
        """
        known = self._works.get(script)
        if known is not None:
            return known
        draft = self.draft
        if draft is None:
            raise RuntimeError("there is no work yet")
        head, coinbase2 = coinbase_parts(
            draft.coinbase,
            [TxOut(draft.value, script)],
            tag=self._tag,
            extranonce_size=self._layout.needed,
        )
        shared = translation.Draft(draft.version, draft.merkle_path, head, coinbase2, maker=kernel().prover)
        target = draft.target if self._hardest is None else min(draft.target, self._hardest)
        tip = Tip(draft.previous, draft.time, draft.bits)
        work = Work(self._number, shared.on(tip), draft.time, b"", b"", target)
        if len(self._works) < SCRIPTS_KEPT:
            self._works[script] = work
        return work

    def block(self, work: Work, share: JudgedShare, ntime: int, nonce: int) -> Block | None:
        """The block that a share of a work is; None where its tip is gone."""
        draft = self._drafts.get(work.job_id)
        if draft is None:
            return None
        pattern = work.pattern.draft
        prefix, suffix = add_witness(pattern.head, pattern.coinbase2)
        coinbase = Transaction.parse(prefix + share.extranonce + suffix)
        root = root_from_path(coinbase.txid, draft.merkle_path)
        header = Header(share.version, draft.previous, root, ntime, draft.bits, nonce)
        return assemble(draft, header, coinbase)
