"""The books that front ends write into, wherever they are kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from protocols.mining.share import Verdict
from roles.credit.ledger import Told
from roles.credit.ledger_rows import Entry
from roles.pool.records import Records
from roles.pool.resume_store import Raw, Result

Claimed = Callable[[Result, Raw | None], None]
"""What is called with what became of a token, and the channel where it is to be had."""


class ShareBook(Protocol):
    """Where shares become durable."""

    def enter(self, entries: Sequence[Entry], told: Told, about: Any = None) -> None:
        """Make entries durable in their order.

        Callers are told in the order in which they entered, also those of nothing.
        """
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


class Claims(Protocol):
    """Where channels are asked for that are to be resumed."""

    def claim(self, token: bytes, key: bytes | None, told: Claimed) -> None:
        """Find the channel of a token that a client presents with a locking key; `told` is called once.

        From then on it is the caller's, and so is its prefix: whoever had it has given it up.
        """
        ...


@dataclass(frozen=True, slots=True)
class Books:
    """What a front end writes into; `records` are its own."""

    shares: ShareBook
    blocks: BlockBook
    prefixes: Prefixes
    claims: Claims
    records: Records
