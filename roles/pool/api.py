"""What the pool tells of its miners, under its health address: of all its processes together.

A miner is a channel here: of a native miner, of one behind a proxy, or of a proxy with one channel for all.
"""

from collections.abc import Callable, Mapping
from functools import partial

from protocols.bitcoin.target import work as work_of
from protocols.mining.extranonce import counter_of
from protocols.translation.difficulty import HASHES_PER_DIFFICULTY
from roles.pool.figures import Figures
from roles.pool.miner_channel import MinerChannel
from roles.pool.tallies import Tallies
from roles.runtime.api import Answer, Api, Endpoint
from roles.runtime.errors import HttpRefusal
from roles.runtime.readiness import Readiness
from roles.stratum.miner_pages import Key, Pages, miner_endpoints, name_of, page
from roles.stratum.overview import (
    Count,
    HashRates,
    Miner,
    MinerPage,
    Shares,
    hash_rates,
    shares,
    text,
    unix,
)
from roles.stratum.tally import Tally

Processes = Callable[[], Mapping[int, Pages]]
"""The other processes that serve miners now, by their numbers."""


class PoolSummary(Answer):
    """All miners of all processes together, those that have left included."""

    daemon: str
    started: float
    processes: Count
    """That serve miners now."""
    channels: Count
    """Open now."""
    remembered: Count
    """Gone, and known again if they come back."""
    hash_rate: HashRates
    shares: Shares
    last_share: float | None
    blocks_found: Count
    ready: bool
    reasons: dict[str, str]
    """Why it is not ready, by condition."""


class Hall:
    """The miners of one process, whose number is the first part of their ids."""

    def __init__(self, number: int, figures: Figures, show_peer: Callable[[str], str | None]) -> None:
        self._number = number
        self._figures = figures
        self._show_peer = show_peer

    def present(self) -> dict[Key, MinerChannel]:
        """The channels that are open."""
        return {
            (self._number, counter_of(prefix)): member for prefix, member in self._figures.present.items()
        }

    def describe(self, key: Key, member: MinerChannel) -> Miner:
        """What is told of one of them."""
        now, hashes = self._figures.clock(), float(work_of(member.channel.target))
        member.count()
        # Who has found nothing has no tally, which would be for nothing in a crowd.
        tally = member.tally or Tally(rate=self._figures.new_rate(member.opened))
        return Miner(
            id=name_of(key),
            worker=text(member.user),
            user_agent=None,
            address=self._show_peer(member.host),
            connected_since=unix(member.opened, now),
            known_since=unix(tally.rate.began, now),
            difficulty=hashes / HASHES_PER_DIFFICULTY,
            hash_rate=hash_rates(tally.rate, now, hashes),
            shares=shares(tally),
            best_share=None,
            last_share=None if tally.last is None else unix(tally.last, now),
            ehash=None,
            worker_ehash=None,
        )


class Overview:
    """The pool as people see it."""

    def __init__(
        self,
        hall: Hall,
        figures: Figures,
        tallies: Tallies,
        readiness: Readiness,
        processes: Processes,
    ) -> None:
        self._own: Pages = partial(page, hall)
        self._figures = figures
        self._tallies = tallies
        self._readiness = readiness
        self._processes = processes

    def serve(self, api: Api) -> None:
        """Answer for all of it."""
        api.add(
            Endpoint("/api/v1/summary", "All miners together.", PoolSummary, lambda _: self.summary()),
            *miner_endpoints(self.pages),
        )

    def summary(self) -> PoolSummary:
        """All miners together."""
        self._figures.settle()
        totals, now, sums = self._figures.totals, self._figures.clock(), self._tallies.sums()
        rejected = {
            dict(labels)["code"]: int(value)
            for (name, labels), value in sums.items()
            if name == "hashpool_pool_shares_rejected_total"
        }

        def total(name: str) -> int:
            return int(sum(value for (each, _), value in sums.items() if each == name))

        return PoolSummary(
            daemon="pool",
            started=unix(totals.rate.began, now),
            processes=1 + len(self._processes()),
            channels=total("hashpool_pool_channels"),
            remembered=total("hashpool_pool_figures_remembered"),
            hash_rate=hash_rates(totals.rate, now),
            shares=Shares(
                accepted=total("hashpool_pool_shares_accepted_total"),
                local=0,
                rejected=sum(rejected.values()),
                rejected_by_reason=rejected,
                stale=rejected.get("stale-share", 0),
                unknown=0,
            ),
            last_share=None if totals.last is None else unix(totals.last, now),
            blocks_found=total("hashpool_pool_blocks_found_total"),
            ready=self._readiness.ready,
            reasons=self._readiness.reasons,
        )

    async def pages(self, after: Key, limit: int) -> MinerPage:
        """Miners of one process after the other; raises HttpRefusal when one does not answer."""
        miners: list[Miner] = []
        total, is_last = 0, True
        all_pages: dict[int, Pages] = {0: self._own, **self._processes()}
        for number in sorted(all_pages):
            try:
                # Of those that have been told already, and of those that do not fit, the count is wanted.
                found = await all_pages[number](max(after, (number,)), max(1, limit - len(miners)))
            except TimeoutError as error:
                raise HttpRefusal(503, f"process {number} does not answer") from error
            total += found.total
            if len(miners) < limit and (number,) >= after[:1]:
                miners += found.miners
                is_last = found.next is None
            elif found.miners and (number,) >= after[:1]:
                is_last = False
        return MinerPage(miners=miners, next=None if is_last else miners[-1].id, total=total)
