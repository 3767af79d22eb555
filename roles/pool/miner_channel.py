"""One miner's channel as the pool keeps it: target by vardiff, work by the workshop, answers in batches."""

from protocols.bitcoin.target import work as work_of
from protocols.mining.acknowledgement import Acknowledgements
from protocols.mining.channel import ExtendedChannel, StandardChannel
from protocols.mining.credit_target import CreditRule
from protocols.mining.vardiff import Vardiff
from protocols.sv2.layout import Message
from roles.pool.workshop import Workshop

CHANGED_RATE = 1.5
"""A nominal hash rate that differs by less from the one declared before says nothing new."""


class MinerChannel:
    """A channel with what the pool knows of its miner; every method returns what is to be sent for it."""

    def __init__(
        self,
        channel: StandardChannel | ExtendedChannel,
        vardiff: Vardiff,
        *,
        rule: CreditRule,
        wanted: int,
        declared: float,
        ack_size: int,
    ) -> None:
        self.channel = channel
        self.vardiff = vardiff
        self.acks = Acknowledgements(channel.channel_id, ack_size)
        self._rule = rule
        self._wanted = wanted
        self._declared = declared
        self._tip_number = 0
        self._work_number = 0

    @property
    def kind(self) -> str:
        """standard or extended."""
        return "standard" if isinstance(self.channel, StandardChannel) else "extended"

    def refresh(self, workshop: Workshop) -> list[Message]:
        """What the channel has not been sent yet of the present work."""
        if workshop.tip is None or self._work_number == workshop.work_number:
            return []
        messages: list[Message] = []
        is_new_tip = self._tip_number != workshop.tip_number
        self._tip_number, self._work_number = workshop.tip_number, workshop.work_number
        if not is_new_tip:
            return [self.channel.follow(workshop.work(self.channel.revision))]
        target = self._target(workshop)
        if target != self.channel.target:
            messages.append(self.channel.retarget(target))
        messages += self.channel.begin(workshop.work(self.channel.revision), workshop.tip)
        return messages

    def adjust(self, workshop: Workshop, now: float) -> list[Message]:
        """A new target with its own work, if the shares ask for one; `now` in monotonic seconds."""
        wanted = self.vardiff.wanted(work_of(self.channel.target), now)
        return [] if wanted is None else self._aim(wanted, workshop)

    def update(self, hashrate: float, max_target: int, workshop: Workshop, now: float) -> list[Message]:
        """The client has declared another rate or easiest target; raises MaxTargetOutOfRange."""
        self._rule.target(0, network=max_target, max_target=max_target)
        self.channel.max_target = max_target
        low, high = sorted((hashrate, self._declared))
        wanted = self._wanted
        if hashrate and high > low * CHANGED_RATE:
            self._declared = hashrate
            self.vardiff.restart(now)
            wanted = self.vardiff.hashes_for(hashrate)
        return self._aim(wanted, workshop)

    def _aim(self, wanted: int, workshop: Workshop) -> list[Message]:
        self._wanted = wanted
        target = self._target(workshop)
        if workshop.tip is None or target == self.channel.target:
            return []
        # The new target is for work that differs, so the two go together.
        return [self.channel.retarget(target), *self._differing(workshop)]

    def _differing(self, workshop: Workshop) -> list[Message]:
        if self._tip_number != workshop.tip_number:
            return self.refresh(workshop)
        self._work_number = workshop.work_number
        return [self.channel.follow(workshop.work(self.channel.revision))]

    def _target(self, workshop: Workshop) -> int:
        network = workshop.tip.block_target if workshop.tip else 0
        return self._rule.target(self._wanted, network=network, max_target=self.channel.max_target)
