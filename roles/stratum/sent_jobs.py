"""What one miner has been given to do: SV1 job ids, which of them still count, and the shares found on
them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from protocols.sv1.errors import Rejection
from protocols.translation.verdict import DUPLICATE, STALE, UNKNOWN_JOB
from protocols.translation.work import Work

__all__ = ["SentJob", "SentJobs"]

JOB_LIMIT = 64
"""Jobs of one tip that still count; firmware with a deep pipeline works on the last 16."""
SEEN_LIMIT = 1024
"""Shares of one tip that are remembered at least, of one worker or a few."""
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class SentJob:
    """Work as it was sent, with the easiest target that the miner was told to send shares for.

    `hashes` is what a share takes the miner, by the difficulty that it was told.
    """

    work: Work
    miner_target: int
    hashes: float


class Kept(NamedTuple):
    """Jobs that count; shares that were found, with whether they are accepted, the last ones and those before
    them; those that were accepted before the miner reconnected; how many of the last ones there may be.
    """

    jobs: dict[str, SentJob]
    seen: dict[bytes, bool]
    older: dict[bytes, bool]
    accepted: dict[bytes, None]
    limit: int


class SentJobs:
    """The jobs of one connection. Ids are short hex strings that never repeat on it.

    `remembered`: how many shares of a tip are known again at least; up to twice as many are kept.
    """

    __slots__ = ("_accepted", "_last", "_older", "_remembered", "_seen", "present")

    def __init__(self, remembered: int = SEEN_LIMIT) -> None:
        self._last = 0
        self.present: dict[str, SentJob] = {}
        """Those that still count, by their ids."""
        self._remembered = remembered
        self._seen: dict[bytes, bool] = {}
        # Those before them, as many: to forget one by one would cost a search each time.
        self._older: dict[bytes, bool] | None = None
        self._accepted: dict[bytes, None] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self.present)

    def add(self, work: Work, miner_target: int, *, clean: bool, hashes: float = 0.0) -> str:
        """Take work that is about to be sent and return its id; `clean` makes all earlier work stale."""
        if clean:
            self.retire()
        elif len(self.present) >= JOB_LIMIT:
            del self.present[next(iter(self.present))]
        self._last += 1
        job_id = f"{self._last:x}"
        self.present[job_id] = SentJob(work, miner_target, hashes)
        return job_id

    @property
    def kept(self) -> Kept:
        """For who takes shares elsewhere, until one is taken here."""
        older = self._older if self._older is not None else {}
        return Kept(self.present, self._seen, older, self._accepted, self._remembered)

    def take_new(self, share_hash: bytes) -> bool:
        """Take a share of which nothing is known; False for others."""
        seen, older = self._seen, self._older
        if share_hash in seen or share_hash in self._accepted or (older is not None and share_hash in older):
            return False
        seen[share_hash] = False
        if len(seen) >= self._remembered:
            self._older, self._seen = seen, {}
        return True

    def find(self, job_id: str) -> SentJob:
        """The job of a share; raises Rejection for one that is stale or was never sent."""
        job = self.present.get(job_id)
        if job is None:
            was_sent = 0 < len(job_id) <= 16 and _HEX.issuperset(job_id) and 0 < int(job_id, 16) <= self._last
            raise Rejection(*(STALE if was_sent else UNKNOWN_JOB))
        return job

    def remember(self, share_hash: bytes) -> bool:
        """Take a share; raises Rejection if it has been found before on this tip.

        True for one that was accepted before its miner reconnected, who may not have heard of it; once.
        """
        was_accepted = share_hash in self._accepted
        if was_accepted:
            del self._accepted[share_hash]
        if not self.take_new(share_hash):
            raise Rejection(*DUPLICATE)
        if was_accepted:
            self.accepted(share_hash)
        return was_accepted

    def accepted(self, share_hash: bytes) -> None:
        """Upstream has accepted the share."""
        if share_hash in self._seen:
            self._seen[share_hash] = True
        elif self._older is not None and share_hash in self._older:
            self._older[share_hash] = True

    def forget(self, share_hash: bytes) -> None:
        """Nobody has judged the share, so that it may come again."""
        self._seen.pop(share_hash, None)
        if self._older is not None:
            self._older.pop(share_hash, None)

    def retire(self) -> None:
        """Nothing that was sent counts any more."""
        self.present.clear()
        self._seen.clear()
        self._older = None
        self._accepted.clear()

    def reconnected(self) -> None:
        """The miner is on another socket, and may not have heard what became of its shares: each may come
        once more.
        """
        for seen in (self._older or {}, self._seen):
            self._accepted.update((share, None) for share, is_accepted in seen.items() if is_accepted)
        for share in tuple(self._accepted)[: -self._remembered]:
            del self._accepted[share]
        self._seen.clear()
        self._older = None
