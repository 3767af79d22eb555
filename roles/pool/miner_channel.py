"""One miner's channel as the pool keeps it: target by vardiff, answers in batches."""

from protocols.bitcoin.target import work as work_of
from protocols.mining.acknowledgement import Acknowledgements
from protocols.mining.channel import ExtendedChannel, StandardChannel
from protocols.mining.vardiff import RUSH_SHARES, Vardiff, probe_hashes, silence_s
from protocols.sv2.mining import SetTarget
from roles.pool.allowance import BURST_S
from roles.pool.figures import Figures
from roles.pool.resume_store import ChannelRecord
from roles.pool.terms import Terms
from roles.pool.workshop import Workshop
from roles.stratum.pace import Pace
from roles.stratum.tally import Tally

CHANGED_RATE = 1.5
"""A nominal hash rate that differs by less from the one declared before says nothing new."""


class NewShares:
    """Accepted shares that estimate and figures have not been told of: how many, the hashes that they took
    together, and when the last one came; `calm` is how many may come before it is looked whether they rush.
    """

    __slots__ = ("calm", "count", "found_at", "work")

    def __init__(self) -> None:
        self.count = self.work = 0
        self.found_at = 0.0
        self.calm = RUSH_SHARES


class MinerChannel:
    """A channel with what the pool knows of its miner, who is `user` at `host`; times in monotonic seconds.

    `wanted` is what its shares take at first; `is_known` if that comes of experience with it.

    What only shares need is made with the first of them: most channels of a crowd never see one. Where a
    method returns a new target, work that differs is to be sent with it.
    """

    __slots__ = (
        "_declared", "_is_known", "_looked", "_new", "_opened", "_pace", "_terms", "_vardiff", "_wanted",
        "acks_made", "channel", "figures", "host", "record", "tally", "user",
    )  # fmt: skip

    def __init__(
        self,
        channel: StandardChannel | ExtendedChannel,
        terms: Terms,
        now: float,
        *,
        wanted: int,
        declared: float,
        is_known: bool = False,
        host: str = "",
        user: str = "",
        figures: Figures | None = None,
    ) -> None:
        self.figures = figures
        self.tally: Tally | None = None
        self.channel = channel
        self.host = host
        self.user = user
        self.record: ChannelRecord | None = None
        """Where it is written down what the channel is given, if it can be resumed."""
        self._terms = terms
        self._opened = self._looked = now
        self._wanted = wanted
        self._declared = declared
        self._is_known = is_known
        self._new: NewShares | None = None
        self.acks_made: Acknowledgements | None = None
        """`acks`, if they have been asked for."""
        self._pace: Pace | None = None
        self._vardiff: Vardiff | None = None

    @property
    def kind(self) -> str:
        """standard or extended."""
        return "standard" if isinstance(self.channel, StandardChannel) else "extended"

    @property
    def opened(self) -> float:
        """When it was opened."""
        return self._opened

    @property
    def acks(self) -> Acknowledgements:
        """The shares that are durable and not answered yet."""
        if self.acks_made is None:
            self.acks_made = Acknowledgements(self.channel.channel_id, self._terms.ack_size)
        return self.acks_made

    @property
    def pace(self) -> Pace:
        """How fast shares may come."""
        if self._pace is None:
            rate = self._terms.channel_shares_per_s
            self._pace = Pace(rate, rate * BURST_S, self._opened)
        return self._pace

    @property
    def vardiff(self) -> Vardiff:
        """What the shares say of the miner's rate."""
        if self._vardiff is None:
            self._vardiff = Vardiff(self._terms.shares_per_minute, self._opened, is_known=self._is_known)
        return self._vardiff

    @property
    def hashes(self) -> int:
        """What a share of this miner takes in the long run, 0 where no share has told."""
        self.count()
        return 0 if self._vardiff is None else self._vardiff.settled_hashes

    def hashrate(self, now: float) -> float:
        """The estimate in hashes a second, 0 before anything is known."""
        self.count()
        return 0.0 if self._vardiff is None else self._vardiff.hashrate(now)

    def credit(self, work: int, now: float, shares: int) -> bool:
        """Count accepted shares; returns whether they come so fast that `adjust` should not wait."""
        # They are put into estimate and figures once a second, with all others that came meanwhile.
        new = self._new
        if new is None:
            new = self._new = NewShares()
        new.work += work
        new.count += shares
        new.found_at = now
        new.calm = calm = new.calm - shares
        return calm <= 0 and self._is_rushed(new, now)

    def _is_rushed(self, new: NewShares, now: float) -> bool:
        self.count()
        # Time alone makes no rush: so many shares must come before it can be one.
        new.calm = self.vardiff.calm_for(work_of(self.channel.target), now)
        return new.calm <= 0

    def count(self) -> None:
        """Put what is new into estimate and figures."""
        new = self._new
        if new is not None and new.count:
            self.vardiff.accepted(new.work, new.count)
            if self.figures is not None:
                self.figures.credit(self, new.work, new.found_at, new.count)
            new.work = new.count = 0

    def refused(self, code: str) -> None:
        """Count a share that earns nothing."""
        if self.figures is not None:
            self.figures.tally_of(self).rejected[code] += 1

    def is_due(self, now: float) -> bool:
        """Whether it is time for `adjust`: shares have come, or their absence may say something."""
        self.count()
        vardiff = self._vardiff
        if vardiff is None:
            return now - self._looked >= silence_s(self._terms.shares_per_minute)
        return vardiff.is_fresh or now - self._looked >= vardiff.patience_s

    def fit(self, workshop: Workshop) -> SetTarget | None:
        """A new target, if blocks have become so much harder or easier that the present one does not fit."""
        return self._aim(self._wanted, workshop)

    def adjust(self, workshop: Workshop, now: float) -> SetTarget | None:
        """A new target, if the shares or their absence ask for one."""
        self._looked = now
        self.count()
        if self._vardiff is None and self.channel.target == self._target(0, workshop):
            # Nothing could be easier.
            return None
        wanted = self.vardiff.wanted(work_of(self.channel.target), now)
        self._calm_down()
        return None if wanted is None else self._aim(wanted, workshop)

    def update(self, hashrate: float, max_target: int, workshop: Workshop, now: float) -> SetTarget | None:
        """The client has declared another rate or easiest target; raises MaxTargetOutOfRange."""
        self._terms.rule.target(0, network=max_target, max_target=max_target)
        self.channel.max_target = max_target
        low, high = sorted((hashrate, self._declared))
        wanted = self._wanted
        if hashrate and high > low * CHANGED_RATE:
            self._declared = hashrate
            self.count()
            self.vardiff.restart(now)
            self._calm_down()
            self._looked = now
            wanted = probe_hashes(hashrate, self._terms.shares_per_minute)
        return self._aim(wanted, workshop)

    def _calm_down(self) -> None:
        if self._new is not None:
            self._new.calm = RUSH_SHARES

    def _aim(self, wanted: int, workshop: Workshop) -> SetTarget | None:
        self._wanted = wanted
        target = self._target(wanted, workshop)
        if workshop.tip is None or target == self.channel.target:
            return None
        message = self.channel.retarget(target)
        if self.record is not None:
            self.record.target(self.channel.since, target)
        return message

    def _target(self, wanted: int, workshop: Workshop) -> int:
        network = workshop.tip.block_target if workshop.tip else 0
        return self._terms.rule.target(wanted, network=network, max_target=self.channel.max_target)
