"""The channels of one connection, and how their work reaches them.

Channels are a group: each gets its first job and tip under its own id, and what comes later is sent once, to
the group's id (see `protocols.mining.group` for what that means for targets). A client that requires standard
jobs is sent each job and tip channel by channel, all jobs before the tips, and nothing goes to the group; one
that requires work selection brings its own work and is sent none.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from enum import Enum, auto
from itertools import islice

from protocols.mining.channel import ExtendedChannel
from protocols.mining.errors import MaxTargetOutOfRange, UnknownChannel
from protocols.mining.group import Group
from protocols.mining.job import GroupJob, Tip, Work
from protocols.sv2.codec import encode
from protocols.sv2.frame import Frame
from protocols.sv2.mining import SetTarget, UpdateChannel, UpdateChannelError
from protocols.sv2.setup import REQUIRES_STANDARD_JOBS, REQUIRES_WORK_SELECTION
from protocols.sv2.tlv import Tlv
from roles.pool.meters import Meters
from roles.pool.miner_channel import MinerChannel
from roles.pool.resume_store import SessionRecord
from roles.pool.workshop import Workshop

GROUP = 1
FIRST_CHANNEL = 2


class Addressing(Enum):
    """Where work is sent."""

    GROUP = auto()
    CHANNEL = auto()
    NOWHERE = auto()

    @classmethod
    def of(cls, flags: int) -> "Addressing":
        """What a client wants that was set up with these flags."""
        if flags & REQUIRES_WORK_SELECTION:
            return cls.NOWHERE
        return cls.CHANNEL if flags & REQUIRES_STANDARD_JOBS else cls.GROUP


class Roster:
    """Keeps the channels; every method that returns frames returns all that is to be sent, in order."""

    __slots__ = (
        "_behind", "_group", "_meters", "_tip", "_work_number", "_workshop", "addressing", "members",
        "next_id", "record", "tip_number",
    )  # fmt: skip

    def __init__(self, workshop: Workshop, meters: Meters) -> None:
        self.addressing = Addressing.GROUP
        self.members: dict[int, MinerChannel] = {}
        self.next_id = FIRST_CHANNEL
        self._group: Group | None = None
        self._behind: dict[int, MinerChannel] | None = None
        self.record: SessionRecord | None = None
        """Where it is written down what goes to the group, if channels can be resumed."""
        self._workshop = workshop
        self._meters = meters
        self._tip: Tip | None = None
        self.tip_number = 0
        self._work_number = 0

    @property
    def group(self) -> Group:
        """What the channels have in common, from the first one on."""
        if self._group is None:
            self._group = Group(GROUP)
        return self._group

    def add(self, member: MinerChannel, request_id: int, tlvs: Iterable[Tlv] = ()) -> list[Frame]:
        """The answer that opens a channel, and its first work; others have what they miss before that."""
        frames = self.refresh()
        channel = member.channel
        self.members[channel.channel_id] = member
        self.next_id = channel.channel_id + 1
        self._meters.channels.labels(member.kind).inc()
        # Some clients take any other frame before the answer for a refusal: the first channel has none.
        frames.append(encode(channel.open_success(request_id, GROUP), tlvs))
        if self.addressing is Addressing.NOWHERE or self._tip is None:
            return frames
        # One that has been resumed has work of this tip, which stays good.
        has_work = channel.jobs.active is not None
        if isinstance(channel, ExtendedChannel):
            job = (channel.advance if has_work else channel.turn)(self._work(), self._tip)
            self._note(member)
            return frames + self._announced(channel.channel_id, job.job_id, future=True)
        messages = (channel.go_on if has_work else channel.begin)(self._work(), self._tip)
        self._note(member)
        return [*frames, *map(encode, messages)]

    def close(self, channel_id: int) -> list[MinerChannel]:
        """The channels that this id means, which are gone now: one, all for the group's, or none."""
        return self._close(tuple(self.members) if channel_id == GROUP else (channel_id,))

    def close_some(self, count: int) -> list[MinerChannel]:
        """The first so many channels, which are gone now."""
        return self._close(tuple(islice(self.members, count)))

    def _close(self, ids: Sequence[int]) -> list[MinerChannel]:
        closed = [member for each in ids if (member := self.members.pop(each, None)) is not None]
        for member in closed:
            self.group.leave(member.channel)
            if self._behind:
                self._behind.pop(member.channel.channel_id, None)
        for kind, count in Counter(member.kind for member in closed).items():
            self._meters.channels.labels(kind).dec(count)
        return closed

    @property
    def is_behind(self) -> bool:
        """Whether channels that get their work one by one have it to come."""
        return bool(self._behind)

    def refresh(self) -> list[Frame]:
        """The present work as it is sent to the group, if it has not been; channels that get theirs one by
        one are behind then.
        """
        workshop = self._workshop
        if workshop.tip is None or self._work_number == workshop.work_number:
            return []
        is_new_tip = self.tip_number != workshop.tip_number
        before, self._tip = self._tip, workshop.tip
        self.tip_number, self._work_number = workshop.tip_number, workshop.work_number
        if self.addressing is Addressing.NOWHERE:
            return []
        if not self.members:
            if is_new_tip and self._group is not None:
                self._group.retire()
            return []
        if self.addressing is Addressing.CHANNEL:
            self._behind = dict(self.members)
            return []
        if not is_new_tip:
            job = self.group.extend(self._work(), workshop.tip)
            self._note_shared(job)
            return self._announced(GROUP, job.job_id, future=False)
        frames: list[Frame] = []
        if before is None or before.block_target != workshop.tip.block_target:
            targets = (member.fit(workshop) for member in self.members.values())
            frames += [encode(target) for target in targets if target is not None]
            self._meters.retargets.inc(len(frames))
        job = self.group.turn(self._work(), workshop.tip)
        self._note_shared(job)
        return frames + self._announced(GROUP, job.job_id, future=True)

    def catch_up(self, count: int) -> list[Frame]:
        """The present work for so many of the channels that are behind, all their jobs before the tips."""
        return self._bring(list(islice((self._behind or {}).values(), count)))

    def due(self, now: float) -> list[MinerChannel]:
        """The channels whose shares, or whose silence, may ask for a new target; in monotonic seconds."""
        if self.addressing is Addressing.NOWHERE:
            return []
        return [member for member in self.members.values() if member.is_due(now)]

    def adjust(self, due: Sequence[MinerChannel], now: float) -> list[Frame]:
        """The new targets of channels that were due, unless they are gone by now."""
        frames = self.refresh()
        present = [member for member in due if member.channel.channel_id in self.members]
        frames += self._bring(present)
        for member in present:
            frames += self._changed(member, member.adjust(self._workshop, now))
        return frames

    def adjust_one(self, member: MinerChannel, now: float) -> list[Frame]:
        """The new target of one channel, at once."""
        if self.addressing is Addressing.NOWHERE:
            return []
        frames = self.refresh() + self._bring([member])
        return frames + self._changed(member, member.adjust(self._workshop, now))

    def update(self, message: UpdateChannel, now: float) -> list[Frame]:
        """A client has declared another rate or easiest target: what that brings, or the error."""
        member = self.members.get(message.channel_id)
        if member is None:
            return [encode(UpdateChannelError(message.channel_id, UnknownChannel.code))]
        # What the channel has missed belongs under the target that it had.
        frames = self.refresh() + self._bring([member])
        try:
            target = member.update(message.nominal_hash_rate, message.maximum_target, self._workshop, now)
        except MaxTargetOutOfRange as error:
            return [*frames, encode(UpdateChannelError(message.channel_id, error.code))]
        return frames + self._changed(member, target)

    def _changed(self, member: MinerChannel, target: SetTarget | None) -> list[Frame]:
        """The new target is for work that differs, so the two go together."""
        if target is None:
            return []
        self._meters.retargets.inc()
        if self.addressing is Addressing.NOWHERE:
            return [encode(target)]
        job = member.channel.follow(self._work())
        self._note(member)
        return [encode(target), encode(job)]

    def _bring(self, members: Sequence[MinerChannel]) -> list[Frame]:
        """The present work for those of the channels that are behind: new targets, jobs, tips."""
        behind, tip = self._behind, self._tip
        if not behind or tip is None:
            return []
        missing = [each for each in members if behind.pop(each.channel.channel_id, None) is not None]
        targets: list[Frame] = []
        for member in missing:
            active = member.channel.jobs.active
            if active is None or active.tip.block_target != tip.block_target:
                target = member.fit(self._workshop)
                targets += [] if target is None else [encode(target)]
        self._meters.retargets.inc(len(targets))
        jobs: list[Frame] = []
        tips: list[Frame] = []
        for member in missing:
            channel = member.channel
            if channel.jobs.active is not None and channel.jobs.active.tip is tip:
                jobs.append(encode(channel.follow(self._work())))
                self._note(member)
                continue
            job, activation = channel.begin(self._work(), tip)
            self._note(member)
            jobs.append(encode(job))
            tips.append(encode(activation))
        return targets + jobs + tips

    def _note(self, member: MinerChannel) -> None:
        """Write down the job that a channel is about to be sent."""
        job = member.channel.jobs.active
        if member.record is not None and job is not None:
            member.record.job(job.job_id, self._workshop.work_number, job.work.revision)

    def _note_shared(self, job: GroupJob) -> None:
        if self.record is not None:
            self.record.job(job.job_id, self._workshop.work_number, job.work.revision)

    def _work(self) -> Work:
        return self._workshop.work(self.group.revision)

    def _announced(self, channel_id: int, job_id: int, *, future: bool) -> list[Frame]:
        return self._workshop.announcement(self.group.revision, future=future).frames(channel_id, job_id)
