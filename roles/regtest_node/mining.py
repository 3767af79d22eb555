"""Templates for others to mine, and blocks mined here."""

from protocols.bitcoin.coinbase import SEQUENCE, height_push, locktime
from protocols.bitcoin.coinbase import VERSION as COINBASE_VERSION
from protocols.bitcoin.header import Header, serialize_block
from protocols.bitcoin.merkle import WITNESS_RESERVED, merkle_root
from protocols.bitcoin.networks import Network, subsidy
from protocols.bitcoin.script import push
from protocols.bitcoin.target import from_bits, meets
from protocols.bitcoin.transaction import NULL_INDEX, Transaction, TxIn, TxOut
from roles.regtest_node.chain import header_of
from roles.regtest_node.chainstate import Chainstate
from roles.regtest_node.template import VERSION, BlockTemplate, select

MAX_AGE = 5
"""Seconds for which a template of the same tip is given out although the mempool has changed."""


class Mining:
    """Makes templates on the tip; one is kept until the tip changes or, after 5 s, the mempool."""

    def __init__(self, state: Chainstate) -> None:
        self._state = state
        self._template: BlockTemplate | None = None
        self._extra_nonce = 0

    def template(self) -> BlockTemplate:
        """The template to mine on now, at most 5 s behind the mempool."""
        kept, state = self._template, self._state
        if kept is not None and kept.previous == state.tip.hash:
            current = kept.updates == state.mempool.updates
            if current or state.now() - kept.made <= MAX_AGE:
                return kept
        self._template = self.fresh()
        return self._template

    def fresh(self) -> BlockTemplate:
        """A template of this moment."""
        state = self._state
        entries = tuple(select(state.mempool))
        height = state.tip.height + 1
        return BlockTemplate(
            previous=state.tip.hash,
            height=height,
            bits=header_of(state.tip).bits,
            value=subsidy(height, Network.REGTEST) + sum(entry.fee for entry in entries),
            entries=entries,
            least_time=state.chain.least_time(state.tip),
            updates=state.mempool.updates,
            made=state.now(),
        )

    def time_for(self, template: BlockTemplate) -> int:
        """The time to put into a header now."""
        return max(self._state.now(), template.least_time)

    def solve(self, script: bytes, *, tries: int) -> tuple[bytes, bytes, int] | None:
        """A block that pays ``script``, not submitted: its bytes, hash and the hashes it took.

        None where ``tries`` hashes found none; half of all hashes do on regtest.
        """
        template = self.fresh()
        self._extra_nonce += 1
        coinbase = _coinbase(template, script, self._extra_nonce)
        root = merkle_root([coinbase.txid, *(entry.txid for entry in template.entries)])
        target = from_bits(template.bits)
        time = self.time_for(template)
        for nonce in range(tries):
            header = Header(VERSION, template.previous, root, time, template.bits, nonce)
            block_hash = header.hash()
            if meets(block_hash, target):
                transactions = [entry.raw for entry in template.entries]
                raw = serialize_block(header.pack(), coinbase.serialize(), transactions)
                return raw, block_hash, nonce + 1
        return None


def _coinbase(template: BlockTemplate, script: bytes, extra_nonce: int) -> Transaction:
    return Transaction(
        COINBASE_VERSION,
        (
            TxIn(
                bytes(32),
                NULL_INDEX,
                height_push(template.height) + push(extra_nonce.to_bytes(8, "little")),
                SEQUENCE,
            ),
        ),
        (TxOut(template.value, script), TxOut(0, template.commitment_script)),
        ((WITNESS_RESERVED,),),
        locktime(template.height),
    )
