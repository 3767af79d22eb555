"""A channel whose plain shares pass through lanes, without an object of theirs, while nothing is unusual.

What a share needs of its channel is lent with the first share for a job: the pace, the hashes seen, the
numbers upstream. Everybody else finds these where they ever were, because whatever could tell a difference
ends the loan first: a share that must go the long way, an answer other than the success of the oldest, a
connection that is lost, a channel that closes. The miner's books are brought up to date when somebody reads
them, or when the lane has no more room to remember what is to go there.
"""

from functools import partial
from typing import Final

from protocols.mining.lane import Lane, Lanes, Relay, Task
from protocols.sv2.mining import NewExtendedMiningJob, SetNewPrevHash
from protocols.sv2.share_frame import MAX_EXTRANONCE, ExtendedShare, share_frame
from roles.proxy.channel_kinds import ExtendedEdgeChannel
from roles.proxy.jobs import EdgeJob

MOST_LENT: Final = 512
"""Hashes seen on the tip, beyond which a channel that had its loan ended stays as it is until the next."""


class LaneChannel(ExtendedEdgeChannel):
    """An extended channel with a lane from its first share on, where the kernel has lanes."""

    __slots__ = ()

    def lend(self, job_id: int, now: float, lanes: Lanes) -> bool:
        """Have shares for a job pass through the lanes of the miner's connection, if nothing is unusual about
        channel and job, and they do not already.
        """
        job, above, relay = self._jobs.live(job_id), self.upstream.lanes, self._edge.relay
        lane = self._lane
        if job is None or above is None or relay is None or (lane is not None and lane.has(job_id)):
            return False
        task = self._task(job, relay)
        if task is None:
            return False
        if lane is None:
            lane = self._lane = relay.lane(self, self.channel_id)
        if not lane.is_lent and not self._begin(lane, lanes, above, now):
            return False
        lane.assign(*task)
        return True

    def _task(self, job: EdgeJob, relay: Relay) -> Task | None:
        """What a lane must know of a job; None where it cannot take it."""
        course = job.work.course(relay.course, job.tip, job.target)
        front = job.head + self.slice
        skip = len(job.head) - len(self._padding)
        behind = self.extranonce_size
        if course is None or len(front) > MAX_EXTRANONCE or len(front) - skip + behind > MAX_EXTRANONCE:
            return None
        return job.job_id, job.origin, course, (front, skip, behind), self._jobs.age(job)

    def _assign_newest(self) -> None:
        """Not with the first share for it: by then the channel is out of the caches."""
        lane, job, relay = self._lane, self._jobs.active, self._edge.relay
        if lane is not None and job is not None and relay is not None and lane.is_lent:
            task = self._task(job, relay)
            if task is not None:
                lane.assign(*task)

    def _begin(self, lane: Lane, lanes: Lanes, above: Lanes, now: float) -> bool:
        seen, upstream = self._jobs.seen, self.upstream
        if upstream.is_waiting or seen.older or len(seen.recent) > MOST_LENT:
            return False
        pace = self._pace or self._new_pace(now)
        pacing = pace.tokens, pace.when, pace.rate, pace.burst
        lane.lend(lanes, above, (upstream, *upstream.lend(self._bring_back)), pacing, seen.recent)
        seen.recent = {}
        return True

    def _bring_back(self) -> None:
        lane = self._lane
        assert lane is not None
        following, shares, seen, (tokens, when) = lane.give_back()
        self._jobs.seen.recent = seen
        pace = self._pace or self._new_pace(when)
        pace.tokens, pace.when = tokens, when
        self.upstream.take_back(
            following,
            [
                (
                    number,
                    since,
                    partial(self._settle, sequence, share_hash, target, since),
                    share_frame(payload),
                )
                for number, since, sequence, share_hash, target, payload in shares
            ],
        )
        self.read_journal()

    def recall(self) -> None:
        """Have shares pass here, until a loan begins anew."""
        if self._lane is not None and self._lane.is_lent:
            self._bring_back()

    def read_journal(self) -> None:
        """Write into the miner's books what the lane remembers for them."""
        entries = None if self._lane is None else self._lane.journal()
        if entries is None:
            return
        credits, found_at, best = entries
        tally = self._tally
        if found_at:
            tally.found(int.from_bytes(best, "little"), found_at)
        for hashes, at in credits:
            tally.credit(hashes, at)

    def close(self, reason: str, *, silently: bool) -> None:
        """The same, and let the lane go: lane and channel would keep each other."""
        super().close(reason, silently=silently)
        self.read_journal()
        self._lane = None

    def take(self, share: ExtendedShare, clock: int, now: float) -> bool:
        """The short way of a share that the lane has left."""
        self.recall()
        return super().take(share, clock, now)

    def _new_tip(self, message: SetNewPrevHash) -> None:
        before = self._jobs.tip
        super()._new_tip(message)
        after = self._jobs.tip
        is_new = before is None or after is None or before.previous != after.previous
        if is_new and self._lane is not None and self._lane.is_lent:
            self._lane.turn()
        self._assign_newest()

    def _job(self, message: NewExtendedMiningJob) -> None:
        super()._job(message)
        if message.min_ntime is not None:
            self._assign_newest()
