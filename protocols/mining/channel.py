"""Mining channels from the server's side: what is sent to the client, and what becomes of its shares."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

from protocols.mining.errors import BadExtranonceSize, UnknownJob
from protocols.mining.extranonce import ROLLABLE_SIZE, standard_extranonce
from protocols.mining.group import NOTHING, Group, extended_job
from protocols.mining.job import MAX_PAST, GroupJob, Job, JobStore, Tip, Work
from protocols.mining.share import (
    SeenShares,
    Verdict,
    check_time,
    check_version,
    extended_root,
    judge,
    verdict_on,
)
from protocols.sv2.layout import Message
from protocols.sv2.mining import (
    NewMiningJob,
    OpenExtendedMiningChannelSuccess,
    OpenStandardMiningChannelSuccess,
    SetNewPrevHash,
    SetTarget,
    SubmitSharesExtended,
    SubmitSharesStandard,
)
from protocols.sv2.share_frame import ExtendedShare

MAX_VIEWS = 16
"""Group jobs that a channel remembers with its own merkle root; more of them are made again."""

_NO_VIEWS: dict[int, Job] = {}
"""Stands for those of every channel that has none, and is never written to."""


class Channel(ABC):
    """One channel: its extranonce prefix (4 bytes), locking key, target, jobs and shares of the present tip.

    `group` is what it shares with the other channels of its connection; without one it is alone. Work given
    to it must carry the group's present revision in its coinbase. `jobs` are those sent to the channel
    itself; those sent to the group are its own as well, under the target that it had at their revision.
    """

    __slots__ = (
        "_earlier", "_given", "_seen", "_since", "_views", "channel_id", "group", "jobs", "key", "max_target",
        "prefix", "target", "version_rolling",
    )  # fmt: skip

    def __init__(
        self,
        channel_id: int,
        prefix: bytes,
        *,
        target: int,
        max_target: int,
        key: bytes | None = None,
        group: Group | None = None,
    ) -> None:
        self.channel_id = channel_id
        self.prefix = prefix
        self.key = key
        self.target = target
        self.max_target = max_target
        self.version_rolling = True
        self.group = group or Group()
        self.jobs: JobStore[Job] = JobStore(self.group.ids)
        # Most channels of a crowd never submit a share: what shares need is made when the first one comes.
        self._seen: SeenShares | None = None
        self._given = NOTHING
        self._since = self.group.revision
        self._earlier: tuple[tuple[int, int], ...] = ()
        self._views = _NO_VIEWS

    @property
    def revision(self) -> int:
        """The revision of work to be given to the channel now."""
        return self.group.revision

    @property
    def since(self) -> int:
        """The revision of work from which on the target holds."""
        return self._since

    @property
    def seen(self) -> SeenShares:
        """The shares of the present tip."""
        if self._seen is None:
            self._seen = SeenShares()
        return self._seen

    def retarget(self, target: int) -> SetTarget:
        """A new target, for work that differs: the caller sends a job of the present revision with it.

        The revision is raised unless the channel has been given nothing of it yet.
        """
        before, self.target = self.target, target
        if max(self._given, self.group.given) >= self.group.revision:
            self.group.revise()
        if self._since != self.group.revision:
            self._earlier = (*self._earlier, (self._since, before))[1 - MAX_PAST :]
            self._since = self.group.revision
        return SetTarget(self.channel_id, target)

    def resume(self, targets: Sequence[tuple[int, int]], jobs: Iterable[GroupJob], last_id: int) -> bool:
        """Go on where a channel of another connection was within the tip, before any work is given.

        `targets` are those that it had, each with the revision from which on it did, in their order; `jobs`
        what it was given, the newest last; `last_id` the greatest job id that it has met. Returns whether
        any of the jobs lives on; only then nothing of it is to be begun anew.
        """
        *earlier, (self._since, self.target) = targets
        self._earlier = tuple(earlier)
        for job in jobs:
            target = self._target_at(job.work.revision)
            if target is not None:
                self.jobs.replace(Job(job.job_id, job.work, job.tip, target, self._root(job.work)))
                self._given = max(self._given, job.work.revision)
        # Work to come differs from all that it has had, or a miner might do the same once more.
        self.group.resume(max(self._given + 1, self._since), last_id)
        self.group.join(self)
        return self.jobs.active is not None

    def begin(self, work: Work, tip: Tip) -> tuple[Message, SetNewPrevHash]:
        """The first work of a tip: a future job and what activates it; earlier jobs are stale.

        Raises ValueError for work of another revision than the present one.
        """
        job = self.turn(work, tip)
        activation = SetNewPrevHash(self.channel_id, job.job_id, tip.previous, tip.min_ntime, tip.bits)
        return self._announce(job, None), activation

    def turn(self, work: Work, tip: Tip) -> Job:
        """What `begin` does, for who puts the messages together itself."""
        job = self._job(work, tip)
        self.jobs.begin(job)
        self._turn()
        return job

    def go_on(self, work: Work, tip: Tip) -> tuple[Message, SetNewPrevHash]:
        """What `begin` does, where the channel has been resumed: earlier jobs stay good."""
        job = self.advance(work, tip)
        activation = SetNewPrevHash(self.channel_id, job.job_id, tip.previous, tip.min_ntime, tip.bits)
        return self._announce(job, None), activation

    def advance(self, work: Work, tip: Tip) -> Job:
        """What `go_on` does, for who puts the messages together itself."""
        job = self._job(work, tip)
        self.jobs.replace(job)
        return job

    def follow(self, work: Work) -> Message:
        """Other work of the present tip, to start on at once.

        Raises RuntimeError before the first tip, and ValueError as `begin` does.
        """
        active = self.jobs.active or self.group.jobs.active
        if active is None:
            raise RuntimeError("a channel without a tip cannot be given more work")
        job = self._job(work, active.tip)
        self.jobs.replace(job)
        return self._announce(job, job.tip.min_ntime)

    def retire(self) -> None:
        """The group has another tip: what went to the channel itself is stale."""
        self.jobs.retire()
        self._turn()

    def find(self, job_id: int) -> Job:
        """The job that a share is for, sent to the channel or to the group; raises StaleShare, UnknownJob."""
        job = self._views.get(job_id)
        if job is not None:
            return job
        try:
            return self.jobs.find(job_id)
        except UnknownJob:
            shared = self.group.jobs.find(job_id)
        return self._view(shared)

    def _view(self, shared: GroupJob) -> Job:
        """A job of the group as this channel has it."""
        target = self._target_at(shared.work.revision)
        if target is None:
            raise UnknownJob(f"job {shared.job_id} was sent before this channel was open, or too long ago")
        job = Job(shared.job_id, shared.work, shared.tip, target, self._root(shared.work))
        if not self._views:
            self._views = {}
            self.group.join(self)
        self._views[job.job_id] = job
        if len(self._views) > MAX_VIEWS:
            del self._views[next(iter(self._views))]
        return job

    def _target_at(self, revision: int) -> int | None:
        """The target that the channel has for work of a revision, if it is known."""
        if revision >= self._since:
            return self.target
        return next((target for since, target in reversed(self._earlier) if since <= revision), None)

    def _turn(self) -> None:
        self._seen = None
        self._views = _NO_VIEWS
        self._earlier = ()

    def _job(self, work: Work, tip: Tip) -> Job:
        self.group.check(work)
        self.group.join(self)
        self._given = work.revision
        return Job(self.jobs.next_id(), work, tip, self.target, self._root(work))

    @abstractmethod
    def open_success(self, request_id: int, group_channel_id: int) -> Message:
        """The answer that opens the channel."""

    @abstractmethod
    def _root(self, work: Work) -> bytes | None:
        """The merkle root of work, where it is the same for all shares."""

    @abstractmethod
    def _announce(self, job: Job, min_ntime: int | None) -> Message:
        """The message for a new job, a future one without `min_ntime`."""


class StandardChannel(Channel):
    """A channel whose client changes the header only; its extranonce is prefix and zeros, 20 bytes."""

    __slots__ = ("extranonce",)

    def __init__(
        self,
        channel_id: int,
        prefix: bytes,
        *,
        target: int,
        max_target: int,
        key: bytes | None = None,
        group: Group | None = None,
    ) -> None:
        super().__init__(channel_id, prefix, target=target, max_target=max_target, key=key, group=group)
        self.extranonce = standard_extranonce(prefix)

    def open_success(self, request_id: int, group_channel_id: int) -> Message:
        return OpenStandardMiningChannelSuccess(
            request_id, self.channel_id, self.target, self.extranonce, group_channel_id
        )

    def judge(self, share: SubmitSharesStandard, key: bytes | None, now: int) -> Verdict:
        """The verdict on a share for `key` at `now` (unix seconds); raises ShareRefused."""
        job = self.find(share.job_id)
        check_time(share.ntime, job.tip, now)
        check_version(share.version, job.work.version, rolling=self.version_rolling)
        return judge(job, job.root or b"", self.extranonce, share=share, key=key, seen=self.seen)

    def _root(self, work: Work) -> bytes:
        return extended_root(work, self.extranonce)

    def _announce(self, job: Job, min_ntime: int | None) -> Message:
        return NewMiningJob(self.channel_id, job.job_id, min_ntime, job.work.version, job.root or b"")


class ExtendedChannel(Channel):
    """A channel whose client rolls 16 bytes of extranonce behind its prefix."""

    __slots__ = ()
    extranonce_size = ROLLABLE_SIZE

    def open_success(self, request_id: int, group_channel_id: int) -> Message:
        return OpenExtendedMiningChannelSuccess(
            request_id, self.channel_id, self.target, self.extranonce_size, self.prefix, group_channel_id
        )

    def judge(self, share: SubmitSharesExtended | ExtendedShare, key: bytes | None, now: int) -> Verdict:
        """The verdict on a share for `key` at `now` (unix seconds); raises ShareRefused."""
        job = self._views.get(share.job_id) or self.find(share.job_id)
        if len(share.extranonce) != ROLLABLE_SIZE:
            raise BadExtranonceSize(f"{len(share.extranonce)} bytes of extranonce, {ROLLABLE_SIZE} agreed")
        work, tip = job.work, job.tip
        if not tip.min_ntime <= share.ntime <= now:
            check_time(share.ntime, tip, now)
        if share.version != work.version:
            check_version(share.version, work.version, rolling=self.version_rolling)
        extranonce = self.prefix + share.extranonce
        proof = work.prover(tip).prove(extranonce, share.version, share.ntime, share.nonce)
        return verdict_on(job, proof, extranonce, key=key, seen=self.seen)

    def _root(self, _work: Work) -> None:
        return None

    def _announce(self, job: Job, min_ntime: int | None) -> Message:
        return extended_job(self.channel_id, job, min_ntime, version_rolling=self.version_rolling)
