"""What the channels of one connection have in common: job ids, the revision of their work, and group jobs.

Work that is sent to the group is the same bytes for every member. That gives no header space two prices,
because each member's own prefix stands in its coinbase; what a member must never have is the same work under
two of its targets (one piece of work has one price). So the coinbase carries a revision, one number for the
connection, which never falls:

- A member's new target is for the work of a revision that it has not been given yet: the connection's
  present one, if it has had nothing of it, else the next. SetTarget and a job of that revision go to the
  member's own channel id, together.
- From then on everything, to the group or to a member, is made with the connection's present revision. So it
  differs from what the member had under its earlier target, while for the other members it is more work
  under the target that they have.
- Hence a member's target for group work is a function of its revision. A member keeps the revisions at which
  its target changed within the tip, and the group its jobs, once for all: sending work costs the same for
  one channel as for thousands, of which only those hear of a new tip that hold something of the old one.

Job ids are unique within the connection, whether a job went to the group or to a channel.
"""

from typing import Protocol

from protocols.mining.job import GroupJob, JobIds, JobStore, Tip, Work
from protocols.sv2.mining import NewExtendedMiningJob, SetNewPrevHash

NOTHING = -1
"""The revision of what a channel or group has been given before it is given any work."""


class Member(Protocol):
    """A channel that is addressed with the others of its group."""

    def retire(self) -> None:
        """The group has another tip."""
        ...


class Group:
    """The channels of one connection under `group_id`.

    `revision` is that of all work to be given to channels of the connection now, `given` that of the newest
    work that went to the group.
    """

    __slots__ = ("_members", "given", "group_id", "ids", "jobs", "revision")

    def __init__(self, group_id: int = 1) -> None:
        self.group_id = group_id
        self.revision = 0
        self.given = NOTHING
        self.ids = JobIds()
        self.jobs: JobStore[GroupJob] = JobStore(self.ids)
        self._members: dict[Member, None] = {}

    def join(self, member: Member) -> None:
        """A channel holds jobs or shares of the present tip: it is told when the group has another."""
        self._members[member] = None

    def leave(self, member: Member) -> None:
        """A channel is gone; nothing happens if it was no member."""
        self._members.pop(member, None)

    def revise(self) -> None:
        """Work from now on differs from all before."""
        self.revision += 1

    def resume(self, revision: int, job_id: int) -> None:
        """A channel of another connection is here, which has had work up to this revision and this job id."""
        self.revision = max(self.revision, revision)
        self.ids.skip(job_id)

    def begin(self, work: Work, tip: Tip) -> tuple[NewExtendedMiningJob, SetNewPrevHash]:
        """The first work of a tip: a future job and what activates it; the members' earlier jobs are stale.

        Raises ValueError for work of another revision than the present one.
        """
        job = self.turn(work, tip)
        activation = SetNewPrevHash(self.group_id, job.job_id, tip.previous, tip.min_ntime, tip.bits)
        return self._announce(job, None), activation

    def turn(self, work: Work, tip: Tip) -> GroupJob:
        """What `begin` does, for who puts the messages together itself."""
        job = self._job(work, tip)
        self.jobs.begin(job)
        self._retire_members()
        return job

    def retire(self) -> None:
        """Another tip, without work on it: all jobs of the group and of its members are stale."""
        self.jobs.retire()
        self._retire_members()

    def follow(self, work: Work, tip: Tip) -> NewExtendedMiningJob:
        """Other work of the members' present tip, to start on at once; raises ValueError as `begin` does."""
        return self._announce(self.extend(work, tip), tip.min_ntime)

    def extend(self, work: Work, tip: Tip) -> GroupJob:
        """What `follow` does, for who puts the message together itself."""
        job = self._job(work, tip)
        self.jobs.replace(job)
        return job

    def check(self, work: Work) -> None:
        """Raise ValueError for work of another revision than the present one."""
        if work.revision != self.revision:
            raise ValueError(f"work of revision {work.revision} where revision {self.revision} is due")

    def _retire_members(self) -> None:
        members, self._members = self._members, {}
        for member in members:
            member.retire()

    def _job(self, work: Work, tip: Tip) -> GroupJob:
        self.check(work)
        self.given = work.revision
        return GroupJob(self.ids.next(), work, tip)

    def _announce(self, job: GroupJob, min_ntime: int | None) -> NewExtendedMiningJob:
        return extended_job(self.group_id, job, min_ntime, version_rolling=True)


def extended_job(
    channel_id: int, job: GroupJob, min_ntime: int | None, *, version_rolling: bool
) -> NewExtendedMiningJob:
    """The message for a job of a channel or group, a future one without `min_ntime`."""
    work = job.work
    return NewExtendedMiningJob(
        channel_id,
        job.job_id,
        min_ntime,
        work.version,
        version_rolling,
        work.merkle_path,
        work.prefix,
        work.suffix,
    )
