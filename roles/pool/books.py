"""The books that front ends write into, wherever they are kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from protocols.mining.share import Verdict
from roles.credit.ledger import Told
from roles.credit.ledger_rows import Entry


class ShareBook(Protocol):
    """Where shares become durable."""

    def enter(self, entries: Sequence[Entry], told: Told) -> None:
        """Make entries durable in their order; callers are told in the order in which they entered."""
        ...


class BlockBook(Protocol):
    """Where blocks go."""

    def found(self, verdict: Verdict) -> None:
        """A share that is a block: sent now; it is stored and followed later."""
        ...


class Prefixes(Protocol):
    """Where extranonce prefixes come from."""

    def grant(self) -> bytes:
        """A prefix for a new channel; raises CapacityExhausted."""
        ...

    def release(self, prefix: bytes) -> None:
        """A channel is closed."""
        ...


@dataclass(frozen=True, slots=True)
class Books:
    """What a front end writes into."""

    shares: ShareBook
    blocks: BlockBook
    prefixes: Prefixes
