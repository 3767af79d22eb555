"""What follows from the block tree: times, work, confirmations, and the way from one tip to another."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from protocols.bitcoin.header import Header
from protocols.bitcoin.target import from_bits, work
from roles.regtest_node.kernel import Entry

MEDIAN_TIME_SPAN = 11
RETARGET_INTERVAL = 144
MAX_TIMEWARP = 600
"""Seconds by which the first block of a retarget interval may be older than the block before (BIP94)."""


class BlockTree(Protocol):
    """The part of the kernel that is looked at here."""

    def tip(self) -> Entry: ...
    def at(self, height: int) -> Entry: ...
    def parent(self, entry: Entry) -> Entry: ...
    def ancestor(self, entry: Entry, height: int) -> Entry: ...
    def is_active(self, entry: Entry) -> bool: ...


@dataclass(frozen=True, slots=True)
class Route:
    """The way from one tip to another: blocks to disconnect, newest first, then to connect, oldest first."""

    disconnected: tuple[Entry, ...]
    connected: tuple[Entry, ...]


class Chain:
    """Derived facts about blocks of a tree. Times are seconds since 1970."""

    def __init__(self, tree: BlockTree) -> None:
        self._tree = tree

    def median_time(self, entry: Entry) -> int:
        """The median of the times of a block and the ten before it (BIP113)."""
        times = [header_of(each).time for each in self._back(entry, MEDIAN_TIME_SPAN)]
        # With an even number, as early in a chain, consensus takes the upper one.
        return sorted(times)[len(times) // 2]

    def least_time(self, entry: Entry) -> int:
        """The earliest time that a block on top of ``entry`` should carry."""
        least = self.median_time(entry) + 1
        if (entry.height + 1) % RETARGET_INTERVAL == 0:
            return max(least, header_of(entry).time - MAX_TIMEWARP)
        return least

    def confirmations(self, entry: Entry) -> int:
        """How deep a block is buried, 1 for the tip, -1 for a block that is not on the active chain."""
        return self._tree.tip().height - entry.height + 1 if self._tree.is_active(entry) else -1

    def work(self, entry: Entry) -> int:
        """Expected hashes of a block and all before it: difficulty never changes on regtest."""
        return work(from_bits(header_of(entry).bits)) * (entry.height + 1)

    def successor(self, entry: Entry) -> Entry | None:
        """The next block of the active chain, or None for its tip and for stale blocks."""
        if not self._tree.is_active(entry) or entry.height == self._tree.tip().height:
            return None
        return self._tree.at(entry.height + 1)

    def route(self, start: Entry, end: Entry) -> Route:
        """The way from the tip ``start`` to the tip ``end``."""
        fork_height = min(start.height, end.height)
        left = self._tree.ancestor(start, fork_height)
        right = self._tree.ancestor(end, fork_height)
        while left.hash != right.hash:
            left, right = self._tree.parent(left), self._tree.parent(right)
        down = [self._tree.ancestor(start, height) for height in range(start.height, left.height, -1)]
        up = [self._tree.ancestor(end, height) for height in range(left.height + 1, end.height + 1)]
        return Route(tuple(down), tuple(up))

    def _back(self, entry: Entry, count: int) -> Iterator[Entry]:
        for height in range(entry.height, max(-1, entry.height - count), -1):
            yield self._tree.ancestor(entry, height)


def header_of(entry: Entry) -> Header:
    """The header of a block of the tree."""
    return Header.parse(entry.header)
