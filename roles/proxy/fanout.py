"""How the aggregate's work reaches the channels of one connection.

Extended channels are groups, one for each size of extranonce, because a group shares the bytes of its
coinbase: what is new is sent once to a group, however many its members. A channel that is alone in its group
is addressed itself, for clients that know no groups. Standard channels are sent each job by itself.
"""

from collections.abc import Callable, Iterator
from itertools import islice

from roles.proxy.aggregate import Aggregate
from roles.proxy.downstream_channel import Line
from roles.proxy.jobs import EdgeJob
from roles.proxy.member import Member

SLICE = 64
"""Channels that are given work or looked at before others have their turn."""


class Group:
    """The channels that are addressed by one id."""

    __slots__ = ("group_id", "members")

    def __init__(self, group_id: int) -> None:
        self.group_id = group_id
        self.members: dict[int, Member] = {}


class Fanout:
    """The members of the aggregate on one line; `new_id` makes ids for groups, the first being `first_id`."""

    __slots__ = (
        "_aggregate", "_behind", "_credit", "_first_id", "_groups", "_line", "_new_id", "_number",
        "_tip_number", "given", "members",
    )  # fmt: skip

    def __init__(self, aggregate: Aggregate, line: Line, *, first_id: int, new_id: Callable[[], int]) -> None:
        self.members: dict[int, Member] = {}
        self.given = 0
        """The newest job that has gone to the groups."""
        self._aggregate = aggregate
        self._line = line
        self._first_id = first_id
        self._new_id = new_id
        self._groups: dict[tuple[str, int], Group] = {}
        self._behind: dict[int, Member] = {}
        self._number = self._tip_number = self._credit = 0

    def add(self, member: Member) -> None:
        """Answer a channel that is open now, and give it its first work; others have theirs before that."""
        self._bring_groups()
        group = self._group_of(member)
        member.open(group.group_id)
        self.members[member.channel_id] = group.members[member.channel_id] = member
        if (job := self._aggregate.jobs.active) is not None:
            member.bring(job, job.tip.min_ntime)

    def remove(self, member: Member) -> None:
        """A channel is gone; nothing happens if it was not there."""
        if self.members.pop(member.channel_id, None) is not None:
            self._group_of(member).members.pop(member.channel_id, None)
            self._behind.pop(member.channel_id, None)

    def addressed(self, group_id: int) -> list[Member]:
        """The members of the group with this id, none where there is no such group."""
        return [
            member
            for group in self._groups.values()
            if group.group_id == group_id
            for member in group.members.values()
        ]

    def refresh(self) -> Iterator[None]:
        """Send the newest work to who does not have it; yields where others may have their turn."""
        self._bring_groups()
        while self._behind and (job := self._aggregate.jobs.active) is not None:
            for member in list(islice(self._behind.values(), SLICE)):
                del self._behind[member.channel_id]
                member.bring(job, self._aggregate.min_ntime)
            yield

    def adjust(self, now: float) -> Iterator[None]:
        """Send new targets where shares or silence ask for them; yields where others may have their turn."""
        due = [member for member in self.members.values() if member.is_due(now)]
        for start in range(0, len(due), SLICE):
            for member in due[start : start + SLICE]:
                self.adjust_one(member, now)
            yield

    def adjust_one(self, member: Member, now: float) -> None:
        """Send one channel a new target if its shares or its silence ask for it."""
        if self.members.get(member.channel_id) is member:
            self._bring_groups()
            if self._behind.pop(member.channel_id, None) and (job := self._aggregate.jobs.active) is not None:
                member.bring(job, self._aggregate.min_ntime)
            member.adjust(now, self.given)

    def release(self, member: Member, reason: str) -> None:
        """Give a channel up for good."""
        self._line.release(member, reason)

    def release_all(self, reason: str) -> Iterator[None]:
        """Give all channels up for good; yields where others may have their turn."""
        for number, member in enumerate(tuple(self.members.values()), 1):
            self._line.release(member, reason)
            if number % SLICE == 0:
                yield

    def _bring_groups(self) -> None:
        aggregate = self._aggregate
        job = aggregate.jobs.active
        if job is None or self._number == aggregate.number:
            return
        self._number = aggregate.number
        self._fit(job)
        is_new_tip = self._tip_number != aggregate.tip_number
        self._tip_number = aggregate.tip_number
        self.given = job.job_id
        for (kind, size), group in self._groups.items():
            if kind == "standard":
                self._behind.update(group.members)
            elif group.members:
                alone = next(iter(group.members)) if len(group.members) == 1 else None
                address = group.group_id if alone is None else alone
                announcement = aggregate.announcement(job, size, future=is_new_tip)
                self._line.send_frames(announcement.frames(address, job.job_id))
                if is_new_tip:
                    for member in group.members.values():
                        member.tip_number = aggregate.tip_number

    def _fit(self, job: EdgeJob) -> None:
        """New targets go before the job that asks for them; most jobs ask for none."""
        before, self._credit = self._credit, job.target
        if job.target != before:
            for member in self.members.values():
                if member.target < job.target or member.target == before:
                    member.fit(job)

    def _group_of(self, member: Member) -> Group:
        key = (member.kind, member.size)
        group = self._groups.get(key)
        if group is None:
            group_id = self._new_id() if self._groups else self._first_id
            group = self._groups[key] = Group(group_id)
        return group
