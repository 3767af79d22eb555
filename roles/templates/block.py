"""A draft solved: the block that a node is to judge."""

from dataclasses import dataclass

from protocols.bitcoin.header import Header, serialize_block
from protocols.bitcoin.transaction import Transaction
from roles.templates.draft import Draft


@dataclass(frozen=True, slots=True)
class Block:
    """A solved block, serialised; its hash in internal order, the value of its coinbase in satoshis."""

    hash: bytes
    height: int
    value: int
    data: bytes


def assemble(draft: Draft, header: Header, coinbase: Transaction) -> Block:
    """The block of a header and a coinbase with its witness."""
    transactions = [transaction.data for transaction in draft.transactions]
    return Block(
        hash=header.hash(),
        height=draft.height,
        value=sum(output.value for output in coinbase.outputs),
        data=serialize_block(header.pack(), coinbase.serialize(), transactions),
    )
