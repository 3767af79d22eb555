"""A block without its coinbase, as one client may fill it, and what is said of it on the wire."""

from dataclasses import dataclass
from functools import cached_property

from protocols.bitcoin import coinbase
from protocols.bitcoin.coinbase import CoinbaseTemplate
from protocols.bitcoin.merkle import (
    WITNESS_RESERVED,
    commitment_script,
    merkle_path,
    witness_commitment,
)
from protocols.bitcoin.target import from_bits
from protocols.bitcoin.transaction import TxOut
from protocols.sv2.template_distribution import (
    NewTemplate,
    RequestTransactionDataSuccess,
    SetNewPrevHash,
)
from roles.node_client.answers import NodeTemplate, TemplateTransaction
from roles.templates.selection import Constraints, select


@dataclass(frozen=True)
class Draft:
    """A snapshot that depends on no later answer of the node. Hashes in internal order, value in satoshis."""

    previous: bytes
    height: int
    version: int
    bits: int
    time: int
    value: int
    transactions: tuple[TemplateTransaction, ...]
    dropped: int

    @classmethod
    def make(cls, template: NodeTemplate, constraints: Constraints) -> "Draft":
        """The node's template less what has to go for the client's outputs, and less its fees."""
        kept = select(template, constraints)
        lost = template.fees - sum(transaction.fee for transaction in kept)
        return cls(
            previous=template.previous,
            height=template.height,
            version=template.version,
            bits=template.bits,
            time=max(template.time, template.min_time),
            value=template.value - lost,
            transactions=kept,
            dropped=len(template.transactions) - len(kept),
        )

    @cached_property
    def merkle_path(self) -> tuple[bytes, ...]:
        """The coinbase's siblings, deepest first."""
        return merkle_path([transaction.txid for transaction in self.transactions])

    @cached_property
    def coinbase(self) -> CoinbaseTemplate:
        """The fields of a coinbase that commits to all witnesses and whose id never comes again (BIP54)."""
        commitment = witness_commitment([transaction.wtxid for transaction in self.transactions])
        return CoinbaseTemplate(
            version=coinbase.VERSION,
            script_prefix=coinbase.height_push(self.height),
            sequence=coinbase.SEQUENCE,
            value=self.value,
            outputs_count=1,
            outputs=TxOut(0, commitment_script(commitment)).serialize(),
            locktime=coinbase.locktime(self.height),
        )

    @cached_property
    def target(self) -> int:
        """What the bits stand for; raises TargetError for bits that stand for none."""
        return from_bits(self.bits)

    def new_template(self, template_id: int, *, future: bool) -> NewTemplate:
        """The announcement under an id."""
        fields = self.coinbase
        return NewTemplate(
            template_id=template_id,
            future_template=future,
            version=self.version,
            coinbase_tx_version=fields.version,
            coinbase_prefix=fields.script_prefix,
            coinbase_tx_input_sequence=fields.sequence,
            coinbase_tx_value_remaining=fields.value,
            coinbase_tx_outputs_count=fields.outputs_count,
            coinbase_tx_outputs=fields.outputs,
            coinbase_tx_locktime=fields.locktime,
            merkle_path=self.merkle_path,
        )

    def new_prev_hash(self, template_id: int) -> SetNewPrevHash:
        """The tip on which the template with this id builds."""
        return SetNewPrevHash(template_id, self.previous, self.time, self.bits, self.target)

    def transaction_data(self, template_id: int) -> RequestTransactionDataSuccess:
        """All transactions but the coinbase."""
        data = tuple(transaction.data for transaction in self.transactions)
        return RequestTransactionDataSuccess(template_id, WITNESS_RESERVED, data)
