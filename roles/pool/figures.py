"""The channels that are open at a process of the pool, and what is counted of each and of all."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from roles.stratum.miner_roll import MinerRoll
from roles.stratum.tally import Tally
from roles.stratum.work_rate import WorkRate

if TYPE_CHECKING:
    from roles.pool.miner_channel import MinerChannel

__all__ = ["Figures"]


class Figures:
    """`present` are the channels by their extranonce prefixes; `totals` counts for all of this process.

    A tally is made with the first share: most channels of a crowd never see one.
    """

    def __init__(self, remembered: int, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.totals = Tally(rate=WorkRate(clock()))
        self.roll = MinerRoll(remembered)
        self.present: dict[bytes, MinerChannel] = {}

    def enter(self, member: "MinerChannel") -> None:
        """A channel is open."""
        self.present[member.channel.prefix] = member

    def leave(self, member: "MinerChannel") -> None:
        """A channel is gone; when its miner comes back, it goes on with its figures."""
        member.count()
        self.present.pop(member.channel.prefix, None)
        if member.tally is not None:
            self.roll.leave(member.user, member.host, member.tally)

    def new_rate(self, began: float) -> WorkRate:
        """Of somebody who has found nothing since then."""
        return WorkRate(began)

    def worked(self, work: float, squares: float, shares: int) -> None:
        """Another process has so many shares more."""
        now = self.clock()
        self.totals.rate.add_many(work, squares, shares, now)
        if shares:
            self.totals.last = now

    def settle(self) -> None:
        """Put in what channels have found since they were looked at."""
        for member in self.present.values():
            member.count()

    def credit(self, member: "MinerChannel", work: int, now: float, shares: int) -> None:
        """So many shares of a channel, which took so many hashes together, are durable and new."""
        tally, totals, hashes = member.tally or self.tally_of(member), self.totals, float(work)
        tally.accepted += shares
        tally.last = totals.last = now
        if shares == 1:
            tally.rate.add(hashes, now)
            totals.rate.add(hashes, now)
        else:
            squares = hashes * hashes / shares
            tally.rate.add_many(hashes, squares, shares, now)
            totals.rate.add_many(hashes, squares, shares, now)

    def tally_of(self, member: "MinerChannel") -> Tally:
        """The tally of a channel, which may begin now, or go on where the miner left."""
        if member.tally is None:
            member.tally = self.roll.recall(member.user, member.host, self.roll.begin(member.opened))
        return member.tally
