"""What the proxy tells of its miners and of its pools, under its health address."""

from collections.abc import Callable
from functools import partial

from protocols.bitcoin.target import work as work_of
from protocols.translation.difficulty import HASHES_PER_DIFFICULTY
from roles.proxy.figures import Figures, Seat
from roles.runtime.api import Api, Endpoint
from roles.runtime.readiness import Readiness
from roles.stratum.latencies import Latencies
from roles.stratum.miner_pages import Key, miner_endpoints, name_of, page
from roles.stratum.mining_client import MiningClient
from roles.stratum.overview import Miner, Summary, Upstreams, hash_rates, shares, text, unix
from roles.stratum.upstream_overview import upstreams


class Overview:
    """The proxy as people see it; `show_peer` says how much they see of an address.

    `earned` tells what the wallet has by the key of an index.
    """

    def __init__(
        self,
        figures: Figures,
        client: MiningClient,
        readiness: Readiness,
        show_peer: Callable[[str], str | None],
        earned: Callable[[int], int],
    ) -> None:
        self._earned = earned
        self._figures = figures
        self._client = client
        self._readiness = readiness
        self._show_peer = show_peer

    def serve(self, api: Api) -> None:
        """Answer for all of it."""
        api.add(
            Endpoint("/api/v1/summary", "All miners together.", Summary, lambda _: self.summary()),
            *miner_endpoints(partial(page, self)),
            Endpoint("/api/v1/upstream", "The pools.", Upstreams, lambda _: self.upstreams()),
        )

    def summary(self) -> Summary:
        """All miners together."""
        totals, now = self._figures.totals, self._figures.clock()
        return Summary(
            daemon="proxy",
            started=unix(totals.rate.began, now),
            miners=len(self._figures.present),
            remembered=len(self._figures.roll),
            hash_rate=hash_rates(totals.rate, now),
            shares=shares(totals),
            best_share=totals.best_difficulty,
            last_share=None if totals.last is None else unix(totals.last, now),
            ehash=totals.ehash,
            upstream=self._client.upstream or None,
            ready=self._readiness.ready,
            reasons=self._readiness.reasons,
        )

    def upstreams(self) -> Upstreams:
        """The pools, and how long their verdicts take."""
        return upstreams(self._client, self._figures.totals.verdicts or Latencies())

    def present(self) -> dict[Key, Seat]:
        """The channels that are open, or about to be."""
        return {(number,): seat for number, seat in self._figures.present.items()}

    def describe(self, key: Key, seat: Seat) -> Miner:
        """What is told of one of them."""
        channel, now = seat.channel, self._figures.clock()
        tally, index = channel.tally, channel.attribution.key_index
        hashes = float(work_of(channel.target)) if channel.target else 0.0
        return Miner(
            id=name_of(key),
            worker=text(channel.user),
            user_agent=text(seat.agent) or None,
            address=self._show_peer(seat.peer),
            connected_since=unix(seat.since, now),
            known_since=unix(tally.rate.began, now),
            difficulty=hashes / HASHES_PER_DIFFICULTY or None,
            hash_rate=hash_rates(tally.rate, now, hashes),
            shares=shares(tally),
            best_share=tally.best_difficulty,
            last_share=None if tally.last is None else unix(tally.last, now),
            ehash=tally.ehash,
            worker_ehash=None if index is None else self._earned(index),
        )
