"""The miners that are at the proxy now, and what is counted of each and of all."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from protocols.bitcoin.target import work as work_of
from protocols.translation.difficulty import HASHES_PER_DIFFICULTY
from roles.stratum.latencies import Latencies
from roles.stratum.miner_roll import MinerRoll
from roles.stratum.tally import Tally
from roles.stratum.work_rate import WorkRate
from roles.stratum.worker_metrics import Worker

if TYPE_CHECKING:
    from roles.proxy.downstream_channel import DownstreamChannel, Line

__all__ = ["Figures", "Seat"]


@dataclass(frozen=True, slots=True, eq=False)
class Seat:
    """A miner's channel, and the connection that it is on; `since` in monotonic seconds."""

    channel: "DownstreamChannel"
    line: "Line"
    peer: str
    host: str
    agent: str
    since: float


class Figures:
    """`present` are those that are here, by the numbers of their tallies."""

    def __init__(self, remembered: int = 2_000, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._totals = Tally(rate=WorkRate(clock()), verdicts=Latencies())
        self._late: dict[Callable[[], None], None] = {}
        self.roll = MinerRoll(remembered)
        self.present: dict[int, Seat] = {}

    @property
    def totals(self) -> Tally:
        """The books of all, after those who count late have caught up."""
        for catch_up in self._late:
            catch_up()
        return self._totals

    def watch(self, catch_up: Callable[[], None]) -> None:
        """Somebody counts what it finds only when it is called."""
        self._late[catch_up] = None

    def forget(self, catch_up: Callable[[], None]) -> None:
        """It has found the last of it."""
        if self._late.pop(catch_up, self) is None:
            catch_up()

    def enter(self, channel: "DownstreamChannel", line: "Line", *, peer: str, host: str, agent: str) -> None:
        """A channel is about to open: it goes on where one of its miner's name has left."""
        now = self.clock()
        channel.tally = self.roll.recall(channel.user, host, self.roll.begin(now))
        self.present[channel.tally.number] = Seat(channel, line, peer, host, agent, now)

    def leave(self, channel: "DownstreamChannel") -> None:
        """A channel has gone."""
        seat = self.present.pop(channel.tally.number, None)
        tally = channel.tally
        if seat is not None and (tally.total or tally.last is not None):
            self.roll.leave(channel.user, seat.host, tally)

    def workers(self) -> Iterator[Worker]:
        """Those that are here, for metrics."""
        for seat in self.present.values():
            channel = seat.channel
            hashes = work_of(channel.target) if channel.target else 0
            yield Worker(channel.user, channel.tally, hashes / HASHES_PER_DIFFICULTY)

    def found(self, best: bytes | None, now: float) -> None:
        """Shares are good as far as the edge sees; `best` is the hash of the best, if it is a record."""
        totals = self._totals
        totals.last = now if totals.last is None else max(totals.last, now)
        if best is not None:
            totals.best = min(totals.best, int.from_bytes(best, "little"))

    def accepted(self, work: float, squares: float, seconds: Sequence[float], now: float) -> None:
        """Shares of so much work were accepted, after so many seconds each."""
        self._totals.credit_many(work, squares, len(seconds), now)
        if self._totals.verdicts is not None:
            self._totals.verdicts.add_all(seconds)

    def heard(self, seconds: float) -> None:
        """The upstream took so long for its word on a share."""
        if self._totals.verdicts is not None:
            self._totals.verdicts.add(seconds)
