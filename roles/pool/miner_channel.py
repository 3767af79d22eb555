"""One miner's channel as the pool keeps it: target by vardiff, answers in batches."""

from protocols.bitcoin.target import work as work_of
from protocols.mining.acknowledgement import Acknowledgements
from protocols.mining.channel import ExtendedChannel, StandardChannel
from protocols.mining.credit_target import CreditRule
from protocols.mining.vardiff import Vardiff
from protocols.sv2.mining import SetTarget
from roles.pool.workshop import Workshop
from roles.stratum.pace import Pace

CHANGED_RATE = 1.5
"""A nominal hash rate that differs by less from the one declared before says nothing new."""


class MinerChannel:
    """A channel with what the pool knows of its miner.

    Where a method returns a new target, work that differs is to be sent with it.
    """

    __slots__ = ("_declared", "_rule", "_wanted", "acks", "channel", "name", "pace", "vardiff")

    def __init__(
        self,
        channel: StandardChannel | ExtendedChannel,
        vardiff: Vardiff,
        *,
        rule: CreditRule,
        wanted: int,
        declared: float,
        ack_size: int,
        pace: Pace,
        name: tuple[str, str] = ("", ""),
    ) -> None:
        self.channel = channel
        self.vardiff = vardiff
        self.acks = Acknowledgements(channel.channel_id, ack_size)
        self.pace = pace
        self.name = name
        """Host and user."""
        self._rule = rule
        self._wanted = wanted
        self._declared = declared

    @property
    def kind(self) -> str:
        """standard or extended."""
        return "standard" if isinstance(self.channel, StandardChannel) else "extended"

    @property
    def hashes(self) -> int:
        """What a share takes, 0 where no share has told whether that fits."""
        return self._wanted if self.vardiff.heard else 0

    def is_rushed(self, now: float) -> bool:
        """Whether shares come so fast that `adjust` should not wait; `now` in monotonic seconds."""
        return self.vardiff.is_rushed(work_of(self.channel.target), now)

    def fit(self, workshop: Workshop) -> SetTarget | None:
        """A new target, if blocks have become so much harder or easier that the present one does not fit."""
        return self._aim(self._wanted, workshop)

    def adjust(self, workshop: Workshop, now: float) -> SetTarget | None:
        """A new target, if the shares ask for one; `now` in monotonic seconds."""
        wanted = self.vardiff.wanted(work_of(self.channel.target), now)
        return None if wanted is None else self._aim(wanted, workshop)

    def update(self, hashrate: float, max_target: int, workshop: Workshop, now: float) -> SetTarget | None:
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

    def _aim(self, wanted: int, workshop: Workshop) -> SetTarget | None:
        self._wanted = wanted
        target = self._target(workshop)
        if workshop.tip is None or target == self.channel.target:
            return None
        return self.channel.retarget(target)

    def _target(self, workshop: Workshop) -> int:
        network = workshop.tip.block_target if workshop.tip else 0
        return self._rule.target(self._wanted, network=network, max_target=self.channel.max_target)
