"""Block templates: which transactions the next block should hold, and its fields."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from protocols.bitcoin.merkle import commitment_script, witness_commitment
from roles.regtest_node.mempool import Mempool, MempoolEntry
from roles.regtest_node.transaction_check import MAX_BLOCK_WEIGHT

MAX_BLOCK_SIGOPS = 80_000
RESERVED_WEIGHT = 8_000
"""Weight left free for header, transaction count and coinbase, bitcoind's default."""
RESERVED_SIGOPS = 400
VERSION = 0x20000000


@dataclass(frozen=True, slots=True)
class BlockTemplate:
    """The next block but for its coinbase and time.

    ``value`` is subsidy and fees in satoshi, ``previous`` a hash in internal order, ``updates`` the mempool's
    counter when it was made, ``made`` the second.
    """

    previous: bytes
    height: int
    bits: int
    value: int
    entries: tuple[MempoolEntry, ...]
    least_time: int
    updates: int
    made: int

    @property
    def commitment_script(self) -> bytes:
        """The output script that commits to all witnesses (BIP141)."""
        return commitment_script(witness_commitment([entry.transaction.wtxid for entry in self.entries]))


def select(mempool: Mempool) -> list[MempoolEntry]:
    """The entries for a block, packages of the best fee rate first, ancestors before those who need them.

    A package is an entry with its ancestors that are not chosen yet; one that does not fit is passed over.
    """
    chosen: dict[bytes, MempoolEntry] = {}
    weight, sigops = RESERVED_WEIGHT, RESERVED_SIGOPS
    order = {entry.txid: number for number, entry in enumerate(mempool)}
    waiting = [_ranked(mempool, entry, order, chosen) for entry in mempool]
    heapq.heapify(waiting)
    while waiting:
        rank, number, txid = heapq.heappop(waiting)
        entry = mempool.get(txid)
        if entry is None or txid in chosen:
            continue
        package = _package(mempool, txid, order, chosen)
        if _rank(package) != rank:
            # An ancestor was chosen meanwhile with another package: what is left has another rate.
            heapq.heappush(waiting, (_rank(package), number, txid))
            continue
        added = sum(each.weight for each in package), sum(each.sigops for each in package)
        if weight + added[0] <= MAX_BLOCK_WEIGHT and sigops + added[1] <= MAX_BLOCK_SIGOPS:
            weight, sigops = weight + added[0], sigops + added[1]
            chosen.update((each.txid, each) for each in package)
            for descendant in mempool.descendants(each.txid for each in package) - chosen.keys():
                left = mempool.get(descendant)
                if left is not None:
                    heapq.heappush(waiting, _ranked(mempool, left, order, chosen))
    return list(chosen.values())


def _ranked(
    mempool: Mempool, entry: MempoolEntry, order: dict[bytes, int], chosen: dict[bytes, MempoolEntry]
) -> tuple[int, int, bytes]:
    return _rank(_package(mempool, entry.txid, order, chosen)), order[entry.txid], entry.txid


def _package(
    mempool: Mempool, txid: bytes, order: dict[bytes, int], chosen: dict[bytes, MempoolEntry]
) -> list[MempoolEntry]:
    members = sorted(mempool.ancestors((txid,)) - chosen.keys(), key=order.__getitem__)
    return [entry for entry in map(mempool.get, members) if entry is not None]


def _rank(package: Sequence[MempoolEntry]) -> int:
    """Lower is better: the negative fee rate, in 2^-32 satoshi a virtual byte."""
    return -(sum(entry.fee for entry in package) << 32) // sum(entry.virtual_size for entry in package)
