"""Mining channels from the server's side: what is sent to the client, and what becomes of its shares."""

from abc import ABC, abstractmethod

from protocols.mining.errors import BadExtranonceSize
from protocols.mining.extranonce import ROLLABLE_SIZE, standard_extranonce
from protocols.mining.job import Job, JobStore, Tip, Work
from protocols.mining.share import SeenShares, Verdict, check_time, check_version, extended_root, judge
from protocols.sv2.layout import Message
from protocols.sv2.mining import (
    NewExtendedMiningJob,
    NewMiningJob,
    OpenExtendedMiningChannelSuccess,
    OpenStandardMiningChannelSuccess,
    SetNewPrevHash,
    SetTarget,
    SubmitSharesExtended,
    SubmitSharesStandard,
)


class Channel(ABC):
    """One channel: its extranonce prefix (4 bytes), locking key, target, jobs and shares of the present tip.

    `revision` counts the targets that it has had. Work given to it must be built with that number in its
    coinbase.
    """

    def __init__(
        self, channel_id: int, prefix: bytes, *, target: int, max_target: int, key: bytes | None = None
    ) -> None:
        self.channel_id = channel_id
        self.prefix = prefix
        self.key = key
        self.target = target
        self.max_target = max_target
        self.revision = 0
        self.version_rolling = True
        self.jobs = JobStore()
        self.seen = SeenShares()

    def retarget(self, target: int) -> SetTarget:
        """A new target, for work that differs: the caller sends a job of the new revision with it."""
        self.target = target
        self.revision += 1
        return SetTarget(self.channel_id, target)

    def begin(self, work: Work, tip: Tip) -> tuple[Message, SetNewPrevHash]:
        """The first work of a tip: a future job and what activates it; earlier jobs are stale."""
        job = self._job(work, tip)
        self.jobs.queue(job)
        self.jobs.activate(job.job_id)
        self.seen.clear()
        activation = SetNewPrevHash(self.channel_id, job.job_id, tip.previous, tip.min_ntime, tip.bits)
        return self._announce(job, None), activation

    def follow(self, work: Work) -> Message:
        """Other work of the present tip, to start on at once; raises RuntimeError before the first tip."""
        if self.jobs.active is None:
            raise RuntimeError("a channel without a tip cannot be given more work")
        job = self._job(work, self.jobs.active.tip)
        self.jobs.replace(job)
        return self._announce(job, job.tip.min_ntime)

    def _job(self, work: Work, tip: Tip) -> Job:
        if work.revision != self.revision:
            raise ValueError(f"work of revision {work.revision} for a channel of revision {self.revision}")
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

    def __init__(
        self, channel_id: int, prefix: bytes, *, target: int, max_target: int, key: bytes | None = None
    ) -> None:
        super().__init__(channel_id, prefix, target=target, max_target=max_target, key=key)
        self.extranonce = standard_extranonce(prefix)

    def open_success(self, request_id: int, group_channel_id: int) -> Message:
        return OpenStandardMiningChannelSuccess(
            request_id, self.channel_id, self.target, self.extranonce, group_channel_id
        )

    def judge(self, share: SubmitSharesStandard, key: bytes | None, now: int) -> Verdict:
        """The verdict on a share for `key` at `now` (unix seconds); raises ShareRefused."""
        job = self.jobs.find(share.job_id)
        check_time(share.ntime, job.tip, now)
        check_version(share.version, job.work.version, rolling=self.version_rolling)
        return judge(job, job.root or b"", self.extranonce, share=share, key=key, seen=self.seen)

    def _root(self, work: Work) -> bytes:
        return extended_root(work, self.extranonce)

    def _announce(self, job: Job, min_ntime: int | None) -> Message:
        return NewMiningJob(self.channel_id, job.job_id, min_ntime, job.work.version, job.root or b"")


class ExtendedChannel(Channel):
    """A channel whose client rolls 16 bytes of extranonce behind its prefix."""

    extranonce_size = ROLLABLE_SIZE

    def open_success(self, request_id: int, group_channel_id: int) -> Message:
        return OpenExtendedMiningChannelSuccess(
            request_id, self.channel_id, self.target, self.extranonce_size, self.prefix, group_channel_id
        )

    def judge(self, share: SubmitSharesExtended, key: bytes | None, now: int) -> Verdict:
        """The verdict on a share for `key` at `now` (unix seconds); raises ShareRefused."""
        job = self.jobs.find(share.job_id)
        if len(share.extranonce) != self.extranonce_size:
            raise BadExtranonceSize(
                f"{len(share.extranonce)} bytes of extranonce, {self.extranonce_size} agreed"
            )
        check_time(share.ntime, job.tip, now)
        check_version(share.version, job.work.version, rolling=self.version_rolling)
        extranonce = self.prefix + share.extranonce
        return judge(
            job, extended_root(job.work, extranonce), extranonce, share=share, key=key, seen=self.seen
        )

    def _root(self, _work: Work) -> None:
        return None

    def _announce(self, job: Job, min_ntime: int | None) -> Message:
        work = job.work
        return NewExtendedMiningJob(
            self.channel_id,
            job.job_id,
            min_ntime,
            work.version,
            self.version_rolling,
            work.merkle_path,
            work.prefix,
            work.suffix,
        )
