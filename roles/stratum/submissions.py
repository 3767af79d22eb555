"""Shares that wait for the upstream's word, and how its answers settle them.

A SubmitShares.Success settles the `new_submits_accepted_count` oldest unanswered shares up to
`last_sequence_number`; an Error settles its own. Where counts and shares do not agree the mismatch is
counted and nothing is guessed. No clock and no connection here.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from itertools import islice, takewhile
from typing import Final

from protocols.mining.errors import NoVerdict
from roles.stratum.connection import Plain
from roles.stratum.errors import SubmissionsFull

__all__ = ["ACCEPTED", "LOST", "Outcome", "Settle", "Submissions", "Verdict"]


class Outcome(Enum):
    """What became of a share."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The upstream's word on one share; `code` is its error code where it refused.

    LOST: the connection or channel ended first, so that nobody knows; the share may have been credited.
    """

    outcome: Outcome
    code: str = ""


ACCEPTED: Final = Verdict(Outcome.ACCEPTED)
LOST: Final = Verdict(Outcome.LOST)

Settle = Callable[[Verdict], None]
"""Called exactly once for each share submitted."""

NOTHING: Final[Plain] = (b"", b"")
"""In place of a share that is not to be sent again."""


class Submissions:
    """The unanswered shares of one open channel, at most `limit`."""

    __slots__ = ("_limit", "_pending", "next")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.next = 1
        """The sequence number of the next share (U32, from 1)."""
        # Thousands of channels have none: one is made with the first share.
        self._pending: dict[int, tuple[float, Settle, Plain]] | None = None

    def __len__(self) -> int:
        return len(self._pending or ())

    @property
    def is_full(self) -> bool:
        """Whether no more shares may wait."""
        return self._pending is not None and len(self._pending) >= self._limit

    @property
    def oldest(self) -> float | None:
        """When the oldest unanswered share was added, None if there is none."""
        return next(iter(self._pending.values()))[0] if self._pending else None

    @property
    def shares(self) -> list[Plain]:
        """Those that are unanswered, the oldest first."""
        return [share for _, _, share in self._pending.values()] if self._pending else []

    @property
    def limit(self) -> int:
        """How many shares may wait."""
        return self._limit

    def restore(self, following: int, shares: Iterable[tuple[int, float, Settle, Plain]]) -> None:
        """Go on, where nothing waited, with shares that have been sent: the number of each, when it was
        added, what settles it, its frame; the next one is `following`.
        """
        self.next = following
        self._pending = {number: (added, settle, share) for number, added, settle, share in shares} or None

    def add(self, now: float, settle: Settle, share: Plain = NOTHING) -> int:
        """Take one share and return its sequence number; raises SubmissionsFull."""
        pending = self._pending
        if pending is None:
            pending = self._pending = {}
        if len(pending) >= self._limit:
            raise SubmissionsFull(f"{self._limit} shares wait for the upstream's answer")
        sequence = self.next
        self.next = sequence + 1 & 0xFFFFFFFF
        pending[sequence] = (now, settle, share)
        return sequence

    def take_oldest(self, sequence_number: int) -> Settle | None:
        """What settles the oldest share if it is this one, which is not awaited any more then; None if it is
        not.
        """
        pending = self._pending
        if not pending or next(iter(pending)) != sequence_number:
            return None
        settle = pending.pop(sequence_number)[1]
        if not pending:
            # What is left of a dictionary would be searched for its first place.
            self._pending = None
        return settle

    def despair(self, before: float, late: Settle) -> None:
        """Settle as lost what was added earlier than `before`, but wait on: `late` hears of its verdict."""
        pending = self._pending
        if pending is None:
            return
        for sequence, (added, settle, share) in tuple(pending.items()):
            if added >= before:
                break
            if settle is not late:
                # It has its place already, so that the order stays.
                pending[sequence] = (added, late, share)
                settle(LOST)

    def accepted(self, last_sequence_number: int, count: int) -> bool:
        """Settle the `count` oldest up to `last_sequence_number` as accepted; False if they are not as
        many.
        """
        due: list[Settle] = []
        sequences = islice(self._pending or (), count)
        for sequence in tuple(takewhile(lambda each: _reached(each, last_sequence_number), sequences)):
            assert self._pending is not None
            due.append(self._pending.pop(sequence)[1])
        left = next(iter(self._pending or ()), None)
        for settle in due:
            settle(ACCEPTED)
        return len(due) == count and (left is None or not _reached(left, last_sequence_number))

    def refused(self, sequence_number: int, code: str) -> bool:
        """Settle one share as refused, or as lost where a proxy says so; False if it is not unanswered."""
        entry = self._pending.pop(sequence_number, None) if self._pending else None
        if entry is not None:
            entry[1](LOST if code == NoVerdict.code else Verdict(Outcome.REFUSED, code))
        return entry is not None

    def expire(self, before: float) -> int:
        """Settle as lost what was added earlier than `before`, and return how many: nobody will answer it
        now.
        """
        expired = 0
        while self._pending:
            sequence, (added, settle, _) = next(iter(self._pending.items()))
            if added >= before:
                break
            del self._pending[sequence]
            settle(LOST)
            expired += 1
        return expired

    def lose(self) -> None:
        """Settle all as lost; the sequence starts anew, because a channel opened again is a new one."""
        pending, self._pending = self._pending, None
        self.next = 1
        for _, settle, _ in pending.values() if pending else ():
            settle(LOST)


def _reached(sequence: int, last: int) -> bool:
    """Whether `sequence` is at or before `last`, across the wrap at 2^32."""
    return (last - sequence) & 0xFFFFFFFF < 1 << 31
