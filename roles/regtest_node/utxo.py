"""The unspent outputs of the active chain, by outpoint.

The kernel keeps its own set but lets nobody look into it; this one follows it block by block.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from protocols.bitcoin.script import OP_RETURN
from protocols.bitcoin.transaction import Transaction, TxIn
from roles.regtest_node.kernel import SpentOutput

MAX_SCRIPT_SIZE = 10_000


@dataclass(frozen=True, slots=True)
class Outpoint:
    """A reference to an output: transaction id (internal order) and index."""

    txid: bytes
    index: int

    @classmethod
    def spent_by(cls, spender: TxIn) -> "Outpoint":
        """The output that an input spends."""
        return cls(spender.txid, spender.index)


@dataclass(frozen=True, slots=True)
class Coin:
    """An output that can be spent: value in satoshi, script, height of its block, kind of its origin."""

    value: int
    script: bytes
    height: int
    coinbase: bool


class UtxoIndex:
    """Every output of the active chain that nothing has spent."""

    def __init__(self) -> None:
        self._coins: dict[Outpoint, Coin] = {}

    def __len__(self) -> int:
        return len(self._coins)

    @property
    def coins(self) -> Mapping[Outpoint, Coin]:
        """All of them."""
        return self._coins

    def restore(self, coins: dict[Outpoint, Coin]) -> None:
        """Takes over coins that were remembered."""
        self._coins = coins

    def get(self, outpoint: Outpoint) -> Coin | None:
        """The coin at an outpoint, or None when it is spent or never was."""
        return self._coins.get(outpoint)

    def holds_any_of(self, transaction: Transaction) -> bool:
        """Whether an output of a transaction is unspent in the chain."""
        return any(
            Outpoint(transaction.txid, index) in self._coins for index in range(len(transaction.outputs))
        )

    def connect(self, height: int, transactions: Sequence[Transaction]) -> None:
        """Applies a block that extends the chain; the genesis block's coinbase can never be spent."""
        if height == 0:
            return
        for transaction in transactions:
            if not transaction.is_coinbase:
                for spender in transaction.inputs:
                    del self._coins[Outpoint.spent_by(spender)]
            self._coins.update(made_by(transaction, height))

    def disconnect(self, transactions: Sequence[Transaction], spent: Sequence[Sequence[SpentOutput]]) -> None:
        """Takes the last block back; ``spent`` is its undo data, one list a transaction but the coinbase."""
        undo: Iterator[Sequence[SpentOutput]] = iter(reversed(spent))
        for transaction in reversed(transactions):
            for outpoint in made_by(transaction, 0):
                self._coins.pop(outpoint, None)
            if not transaction.is_coinbase:
                for spender, origin in zip(transaction.inputs, next(undo), strict=True):
                    self._coins[Outpoint.spent_by(spender)] = Coin(
                        origin.value, origin.script, origin.height, origin.coinbase
                    )


def made_by(transaction: Transaction, height: int) -> dict[Outpoint, Coin]:
    """The coins that a transaction makes in a block at ``height``, those that nobody can spend left out."""
    coinbase = transaction.is_coinbase
    return {
        Outpoint(transaction.txid, index): Coin(output.value, output.script, height, coinbase)
        for index, output in enumerate(transaction.outputs)
        if not is_unspendable(output.script)
    }


def is_unspendable(script: bytes) -> bool:
    """Whether no input can ever satisfy a script: it starts with OP_RETURN or is over 10,000 bytes."""
    return script[:1] == bytes((OP_RETURN,)) or len(script) > MAX_SCRIPT_SIZE
