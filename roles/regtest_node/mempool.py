"""Transactions that wait for a block, and who depends on whom."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from protocols.bitcoin.transaction import WITNESS_SCALE, Transaction
from roles.regtest_node.utxo import Coin, Outpoint

SIGOP_WEIGHT = 20
"""Weight units times 4 that a signature operation counts at least (bitcoind's bytespersigop)."""


@dataclass(slots=True)
class MempoolEntry:
    """A transaction that has passed every check; fee in satoshi, time in seconds, height of the tip then."""

    transaction: Transaction
    raw: bytes
    fee: int
    sigops: int
    time: int
    height: int
    weight: int
    parents: set[bytes] = field(default_factory=set)
    children: set[bytes] = field(default_factory=set)

    @property
    def txid(self) -> bytes:
        """Its id, internal order."""
        return self.transaction.txid

    @property
    def virtual_size(self) -> int:
        """Virtual bytes that its fee is measured by."""
        return virtual_size(self.weight, self.sigops)


def virtual_size(weight: int, sigops: int) -> int:
    """Virtual bytes of a transaction, more where signature operations weigh more than its bytes."""
    return -(-max(weight, sigops * SIGOP_WEIGHT) // WITNESS_SCALE)


class Mempool:
    """Entries in order of arrival. No two of them spend the same output, and parents come before children.

    ``updates`` counts every change: the second half of a longpoll id.
    """

    def __init__(self) -> None:
        self._entries: dict[bytes, MempoolEntry] = {}
        self._spenders: dict[Outpoint, bytes] = {}
        self.size = 0
        self.updates = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[MempoolEntry]:
        return iter(self._entries.values())

    def __contains__(self, txid: bytes) -> bool:
        return txid in self._entries

    def get(self, txid: bytes) -> MempoolEntry | None:
        """An entry by its id."""
        return self._entries.get(txid)

    def coin(self, outpoint: Outpoint, height: int) -> Coin | None:
        """The coin that an entry makes, as if confirmed at ``height``, spent here or not."""
        entry = self._entries.get(outpoint.txid)
        if entry is None or outpoint.index >= len(entry.transaction.outputs):
            return None
        output = entry.transaction.outputs[outpoint.index]
        return Coin(output.value, output.script, height, coinbase=False)

    def spender(self, outpoint: Outpoint) -> bytes | None:
        """The id of the entry that spends an output."""
        return self._spenders.get(outpoint)

    def conflicts(self, transaction: Transaction) -> set[bytes]:
        """Entries that spend an output which a transaction spends too, itself apart."""
        found = {self._spenders.get(Outpoint.spent_by(each)) for each in transaction.inputs}
        return {txid for txid in found if txid is not None and txid != transaction.txid}

    def parents(self, transaction: Transaction) -> set[bytes]:
        """Entries whose outputs a transaction spends."""
        return {each.txid for each in transaction.inputs if each.txid in self._entries}

    def ancestors(self, txids: Iterable[bytes]) -> set[bytes]:
        """Entries that these depend on, directly or not, and they themselves."""
        return self._reach(txids, lambda entry: entry.parents)

    def descendants(self, txids: Iterable[bytes]) -> set[bytes]:
        """Entries that depend on these, directly or not, and they themselves."""
        return self._reach(txids, lambda entry: entry.children)

    def cluster(self, txids: Iterable[bytes]) -> set[bytes]:
        """Entries that are connected with these in any way, and they themselves."""
        return self._reach(txids, lambda entry: entry.parents | entry.children)

    def add(self, entry: MempoolEntry) -> None:
        """Takes an entry whose inputs nothing here spends."""
        entry.parents = self.parents(entry.transaction)
        entry.children = set()
        for parent in entry.parents:
            self._entries[parent].children.add(entry.txid)
        for spender in entry.transaction.inputs:
            self._spenders[Outpoint.spent_by(spender)] = entry.txid
        self._entries[entry.txid] = entry
        self.size += len(entry.raw)
        self.updates += 1

    def remove(self, txids: Iterable[bytes]) -> None:
        """Drops entries with everything that depends on them."""
        for txid in self.descendants(txid for txid in txids if txid in self._entries):
            self._drop(txid)

    def confirm(self, transactions: Sequence[Transaction]) -> None:
        """Follows a new block: what it holds leaves, and what it made impossible with all descendants."""
        for transaction in transactions:
            if transaction.txid in self._entries:
                self._drop(transaction.txid)
            if not transaction.is_coinbase:
                self.remove(self.conflicts(transaction))
        self.updates += 1

    def drain(self) -> list[MempoolEntry]:
        """Takes all entries out, in order."""
        entries = list(self._entries.values())
        self._entries.clear()
        self._spenders.clear()
        self.size = 0
        self.updates += 1
        return entries

    def _drop(self, txid: bytes) -> None:
        entry = self._entries.pop(txid)
        for spender in entry.transaction.inputs:
            self._spenders.pop(Outpoint.spent_by(spender), None)
        for parent in entry.parents:
            if parent in self._entries:
                self._entries[parent].children.discard(txid)
        for child in entry.children:
            if child in self._entries:
                self._entries[child].parents.discard(txid)
        self.size -= len(entry.raw)
        self.updates += 1

    def _reach(self, txids: Iterable[bytes], neighbours: Callable[[MempoolEntry], set[bytes]]) -> set[bytes]:
        reached: set[bytes] = set()
        waiting: list[bytes] = list(txids)
        while waiting:
            txid = waiting.pop()
            if txid not in reached:
                reached.add(txid)
                waiting.extend(neighbours(self._entries[txid]))
        return reached
