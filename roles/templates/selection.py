"""Which of a node's transactions stay when the client's coinbase needs room.

The node puts them in the order of its choice, ancestors first. They are taken in that order, package by
package, and a package that does not fit is left out together with all that needs it: what goes is the tail of
lowest fee rate, and smaller packages fill the gap that a large one leaves.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from protocols.bitcoin.transaction import WITNESS_SCALE
from roles.node_client.answers import NodeTemplate, TemplateTransaction

LEAST_WEIGHT = 2_000
FIXED_WEIGHT = 1_168
"""Header, counts, coinbase fields, a scriptSig of 100 bytes, the witness commitment: the protocol's sum."""
MARGIN_WEIGHT = 400
MAX_OUTPUT_SIZE = 4_000_000


@dataclass(frozen=True, slots=True)
class Constraints:
    """What a client's own coinbase outputs take: serialised bytes, and legacy signature operations."""

    size: int
    sigops: int

    @property
    def weight(self) -> int:
        """Weight to keep free for header and coinbase."""
        return max(LEAST_WEIGHT, FIXED_WEIGHT + MARGIN_WEIGHT + WITNESS_SCALE * self.size)

    @property
    def sigop_cost(self) -> int:
        """Of the block's sigop cost, what to keep free."""
        return WITNESS_SCALE * self.sigops


@dataclass(slots=True)
class _Package:
    """Neighbours that are taken or left together, because later ones pay for earlier ones."""

    places: list[int]
    fee: int
    weight: int
    sigops: int

    def pays_better_than(self, other: "_Package") -> bool:
        return self.fee * other.weight > other.fee * self.weight

    def absorb(self, other: "_Package") -> None:
        self.places += other.places
        self.fee += other.fee
        self.weight += other.weight
        self.sigops += other.sigops


def _packages(transactions: Sequence[TemplateTransaction]) -> list[_Package]:
    packages: list[_Package] = []
    for place, transaction in enumerate(transactions):
        package = _Package([place], transaction.fee, transaction.weight, transaction.sigops)
        needed = set(transaction.depends)
        while packages and package.pays_better_than(packages[-1]) and needed & set(packages[-1].places):
            before = packages.pop()
            needed.update(*(transactions[member].depends for member in before.places))
            before.absorb(package)
            package = before
        packages.append(package)
    return packages


def select(template: NodeTemplate, constraints: Constraints) -> tuple[TemplateTransaction, ...]:
    """The transactions, in the node's order, that leave room for a coinbase of these constraints."""
    weight = template.weight_limit - constraints.weight
    sigops = template.sigop_limit - constraints.sigop_cost
    transactions = template.transactions
    if (
        sum(each.weight for each in transactions) <= weight
        and sum(each.sigops for each in transactions) <= sigops
    ):
        return transactions
    kept: set[int] = set()
    for package in _packages(transactions):
        members = set(package.places)
        if package.weight > weight or package.sigops > sigops:
            continue
        if all(kept.issuperset(set(transactions[place].depends) - members) for place in package.places):
            kept |= members
            weight -= package.weight
            sigops -= package.sigops
    return tuple(transaction for place, transaction in enumerate(transactions) if place in kept)
