"""Who may enter the mempool: consensus for the next block, relay policy, and replacement by fee."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from protocols.bitcoin.errors import EncodingError
from protocols.bitcoin.hashing import display
from protocols.bitcoin.transaction import Transaction
from roles.regtest_node import transaction_check
from roles.regtest_node.errors import TransactionRefused, UndecodableTransaction
from roles.regtest_node.mempool import Mempool, MempoolEntry
from roles.regtest_node.sigops import sigop_cost
from roles.regtest_node.utxo import Coin, Outpoint, UtxoIndex

MIN_RELAY_FEE = 100
"""Satoshi a kilo virtual byte below which nothing is taken."""
INCREMENTAL_FEE = 100
"""Satoshi a kilo virtual byte that a replacement pays for its own relay, above what it replaces."""
MAX_STANDARD_SIGOPS = 16_000
MAX_REPLACED = 100
MAX_CLUSTER = 64
MAX_CLUSTER_SIZE = 101_000
MAX_MEMPOOL_BYTES = 300_000_000


class ScriptVerifier(Protocol):
    """The part of the kernel that judges scripts."""

    def failing_input(self, raw: bytes, spent: Sequence[tuple[int, bytes]]) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Position:
    """Where the next block stands: its height, the tip's median time, and that of a block at a height."""

    height: int
    median_time: int
    median_time_at: Callable[[int], int]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A transaction that may enter, and the entries that it drives out."""

    entry: MempoolEntry
    replaced: frozenset[bytes]


def decode(raw: bytes) -> Transaction:
    """The transaction that is all of ``raw``; raises UndecodableTransaction."""
    try:
        return Transaction.parse(raw)
    except EncodingError as error:
        raise UndecodableTransaction(str(error)) from error


class Admission:
    """The checks in bitcoind's order, with bitcoind's reasons; the mempool takes up to ``limit`` entries."""

    def __init__(self, utxo: UtxoIndex, mempool: Mempool, verifier: ScriptVerifier, limit: int) -> None:
        self._utxo = utxo
        self._mempool = mempool
        self._verifier = verifier
        self._limit = limit

    def examine(
        self, transaction: Transaction, position: Position, *, now: int, policy: bool = True
    ) -> Candidate:
        """A candidate for the next block; raises TransactionRefused.

        Without ``policy`` only consensus rules hold and nothing is replaced, as for transactions that return
        from a disconnected block.
        """
        transaction_check.check_form(transaction)
        if transaction.is_coinbase:
            raise TransactionRefused("coinbase")
        if policy:
            transaction_check.check_standard(transaction)
        if not transaction_check.is_final(transaction, position.height, position.median_time):
            raise TransactionRefused("non-final")
        self._check_unknown(transaction)
        conflicts = self._mempool.conflicts(transaction)
        if conflicts and not policy:
            raise TransactionRefused("txn-mempool-conflict")
        coins = self._coins(transaction, position.height)
        check_relative_locks(transaction, coins, position)
        fee = transaction_check.fee_of(transaction, coins, position.height)
        entry = MempoolEntry(
            transaction,
            transaction.serialize(),
            fee,
            sigop_cost(transaction, [coin.script for coin in coins]),
            time=now,
            height=position.height - 1,
            weight=transaction.weight,
        )
        replaced: frozenset[bytes] = frozenset()
        if policy:
            _check_fee(entry)
            replaced = self._check_replacement(entry, conflicts)
            self._check_room(entry, replaced)
        self._check_scripts(entry, coins)
        return Candidate(entry, replaced)

    def _check_unknown(self, transaction: Transaction) -> None:
        known = self._mempool.get(transaction.txid)
        if known is not None:
            same = known.transaction.wtxid == transaction.wtxid
            raise TransactionRefused(
                "txn-already-in-mempool" if same else "txn-same-nonwitness-data-in-mempool"
            )

    def _coins(self, transaction: Transaction, height: int) -> list[Coin]:
        coins = []
        for spender in transaction.inputs:
            outpoint = Outpoint.spent_by(spender)
            coin = self._utxo.get(outpoint) or self._mempool.coin(outpoint, height)
            if coin is None:
                if self._utxo.holds_any_of(transaction):
                    raise TransactionRefused("txn-already-known")
                raise TransactionRefused("bad-txns-inputs-missingorspent", missing=True)
            coins.append(coin)
        return coins

    def _check_replacement(self, entry: MempoolEntry, conflicts: set[bytes]) -> frozenset[bytes]:
        if not conflicts:
            return frozenset()
        replaced = self._mempool.descendants(conflicts)
        name = display(entry.txid)
        if len(replaced) > MAX_REPLACED:
            raise TransactionRefused(
                "too many potential replacements", f"rejecting replacement {name}; {len(replaced)} entries"
            )
        if self._mempool.ancestors(self._mempool.parents(entry.transaction)) & replaced:
            raise TransactionRefused("bad-txns-spends-conflicting-tx", f"{name} spends what it replaces")
        entries = [each for each in self._mempool if each.txid in replaced]
        lost = sum(each.fee for each in entries)
        if entry.fee < lost + -(-entry.virtual_size * INCREMENTAL_FEE // 1_000):
            raise TransactionRefused(
                "insufficient fee", f"rejecting replacement {name}, not enough additional fees to relay"
            )
        if any(entry.fee * each.virtual_size <= each.fee * entry.virtual_size for each in entries):
            raise TransactionRefused(
                "insufficient fee", f"rejecting replacement {name}; new feerate is no better"
            )
        return frozenset(replaced)

    def _check_room(self, entry: MempoolEntry, replaced: frozenset[bytes]) -> None:
        cluster = self._mempool.cluster(self._mempool.parents(entry.transaction)) - replaced
        size = sum(each.virtual_size for each in map(self._mempool.get, cluster) if each is not None)
        if len(cluster) >= MAX_CLUSTER or size + entry.virtual_size > MAX_CLUSTER_SIZE:
            raise TransactionRefused("too-large-cluster")
        crowded = len(self._mempool) - len(replaced) >= self._limit
        if crowded or self._mempool.size + len(entry.raw) > MAX_MEMPOOL_BYTES:
            raise TransactionRefused("mempool full")

    def _check_scripts(self, entry: MempoolEntry, coins: Sequence[Coin]) -> None:
        index = self._verifier.failing_input(entry.raw, [(coin.value, coin.script) for coin in coins])
        if index is not None:
            origin = entry.transaction.inputs[index]
            raise TransactionRefused(
                "mempool-script-verify-flag-failed (script does not allow the spend)",
                f"input {index} of {display(entry.txid)}, spending {display(origin.txid)}:{origin.index}",
            )


def check_relative_locks(transaction: Transaction, coins: Sequence[Coin], position: Position) -> None:
    """BIP68, for transactions of version 2 and later; raises TransactionRefused with non-BIP68-final."""
    if transaction.version < 2:
        return
    for spender, coin in zip(transaction.inputs, coins, strict=True):
        blocks, seconds = transaction_check.relative_lock(spender.sequence)
        if coin.height + blocks > position.height:
            raise TransactionRefused("non-BIP68-final")
        if seconds and position.median_time_at(max(coin.height - 1, 0)) + seconds > position.median_time:
            raise TransactionRefused("non-BIP68-final")


def _check_fee(entry: MempoolEntry) -> None:
    if entry.sigops > MAX_STANDARD_SIGOPS:
        raise TransactionRefused("bad-txns-too-many-sigops", str(entry.sigops))
    floor = -(-entry.virtual_size * MIN_RELAY_FEE // 1_000)
    if entry.fee < floor:
        raise TransactionRefused("min relay fee not met", f"{entry.fee} < {floor}")
