"""The channels of one connection, and how their work reaches them.

Channels are a group: each gets its first job and tip under its own id, and what comes later is sent once, to
the group's id (see `protocols.mining.group` for what that means for targets). A client that requires standard
jobs is sent each job and tip channel by channel, all jobs before the tips, and nothing goes to the group; one
that requires work selection brings its own work and is sent none.
"""

from enum import Enum, auto

from protocols.mining.channel import Channel
from protocols.mining.errors import MaxTargetOutOfRange, UnknownChannel
from protocols.mining.group import Group
from protocols.mining.job import Tip, Work
from protocols.sv2.layout import Message
from protocols.sv2.mining import SetTarget, UpdateChannel, UpdateChannelError
from protocols.sv2.setup import REQUIRES_STANDARD_JOBS, REQUIRES_WORK_SELECTION
from roles.pool.meters import Meters
from roles.pool.miner_channel import MinerChannel
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
    """Keeps the channels; every method that returns messages returns all that is to be sent, in order."""

    def __init__(self, workshop: Workshop, meters: Meters) -> None:
        self.addressing = Addressing.GROUP
        self.members: dict[int, MinerChannel] = {}
        self.group = Group(GROUP)
        self.next_id = FIRST_CHANNEL
        self._workshop = workshop
        self._meters = meters
        self._tip: Tip | None = None
        self._tip_number = 0
        self._work_number = 0

    def add(self, member: MinerChannel, request_id: int) -> list[Message]:
        """The answer that opens a channel, and its first work; others have what they miss before that."""
        messages = self.refresh()
        channel = member.channel
        self.members[channel.channel_id] = member
        self.next_id = channel.channel_id + 1
        self._meters.channels.labels(member.kind).inc()
        # Some clients take any other frame before the answer for a refusal: the first channel has none.
        messages.append(channel.open_success(request_id, GROUP))
        if self.addressing is Addressing.NOWHERE or self._tip is None:
            return messages
        messages += channel.begin(self._work(), self._tip)
        if self.addressing is Addressing.GROUP:
            self.group.join(channel)
        return messages

    def close(self, channel_id: int) -> list[MinerChannel]:
        """The channels that this id means, which are gone now: one, all for the group's, or none."""
        ids = tuple(self.members) if channel_id == GROUP else (channel_id,)
        closed = [member for each in ids if (member := self.members.pop(each, None)) is not None]
        for member in closed:
            self.group.leave(member.channel)
            self._meters.channels.labels(member.kind).dec()
        return closed

    def refresh(self) -> list[Message]:
        """The present work, where it has not been sent yet."""
        workshop = self._workshop
        if workshop.tip is None or self._work_number == workshop.work_number:
            return []
        is_new_tip = self._tip_number != workshop.tip_number
        before, self._tip = self._tip, workshop.tip
        self._tip_number, self._work_number = workshop.tip_number, workshop.work_number
        if self.addressing is Addressing.NOWHERE:
            return []
        if not is_new_tip:
            return self._follow(workshop.tip)
        messages: list[Message] = []
        if before is None or before.block_target != workshop.tip.block_target:
            targets = (member.fit(workshop) for member in self.members.values())
            messages += [target for target in targets if target is not None]
            self._meters.retargets.inc(len(messages))
        return messages + self._begin(workshop.tip)

    def adjust(self, now: float) -> list[Message]:
        """New targets for the channels whose shares, or whose silence, ask for one; in monotonic seconds."""
        if self.addressing is Addressing.NOWHERE:
            return []
        messages = self.refresh()
        for member in self.members.values():
            if member.is_due(now):
                messages += self._changed(member.channel, member.adjust(self._workshop, now))
        return messages

    def adjust_one(self, member: MinerChannel, now: float) -> list[Message]:
        """The same for one channel, at once."""
        if self.addressing is Addressing.NOWHERE:
            return []
        return self.refresh() + self._changed(member.channel, member.adjust(self._workshop, now))

    def update(self, message: UpdateChannel, now: float) -> list[Message]:
        """A client has declared another rate or easiest target: what that brings, or the error."""
        member = self.members.get(message.channel_id)
        if member is None:
            return [UpdateChannelError(message.channel_id, UnknownChannel.code)]
        # What the channel has missed belongs under the target that it had.
        messages = self.refresh()
        try:
            target = member.update(message.nominal_hash_rate, message.maximum_target, self._workshop, now)
        except MaxTargetOutOfRange as error:
            return [*messages, UpdateChannelError(message.channel_id, error.code)]
        return messages + self._changed(member.channel, target)

    def _changed(self, channel: Channel, target: SetTarget | None) -> list[Message]:
        """The new target is for work that differs, so the two go together."""
        if target is None:
            return []
        self._meters.retargets.inc()
        return [target] if self.addressing is Addressing.NOWHERE else [target, channel.follow(self._work())]

    def _begin(self, tip: Tip) -> list[Message]:
        if self.addressing is Addressing.CHANNEL:
            pairs = [member.channel.begin(self._work(), tip) for member in self.members.values()]
            return [job for job, _ in pairs] + [activation for _, activation in pairs]
        if not self.members:
            self.group.retire()
            return []
        return [*self.group.begin(self._work(), tip)]

    def _follow(self, tip: Tip) -> list[Message]:
        if self.addressing is Addressing.CHANNEL:
            return [member.channel.follow(self._work()) for member in self.members.values()]
        return [self.group.follow(self._work(), tip)] if self.members else []

    def _work(self) -> Work:
        return self._workshop.work(self.group.revision)
