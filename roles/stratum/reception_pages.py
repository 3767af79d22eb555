"""What a reception tells of its miners, under the health address of its daemon."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from roles.runtime.api import Api, Endpoint
from roles.runtime.readiness import Readiness
from roles.stratum.latencies import Latencies
from roles.stratum.lodger import Lodger
from roles.stratum.miner_pages import Key, miner_endpoints, page
from roles.stratum.overview import Miner, Summary, Upstreams, of_session, of_tally
from roles.stratum.reception import Reception

__all__ = ["ReceptionPages"]


class ReceptionPages:
    """All miners together and one by one, and their upstream.

    `show_peer` says how much people see of an address, `upstreams` what they are told of the upstream from
    how long its verdicts take.
    """

    def __init__(
        self,
        daemon: str,
        reception: Reception[Any],
        readiness: Readiness,
        show_peer: Callable[[str], str | None],
        upstreams: Callable[[Latencies], Upstreams],
        *,
        purpose: str,
    ) -> None:
        self._daemon = daemon
        self._reception = reception
        self._readiness = readiness
        self._show_peer = show_peer
        self._upstreams = upstreams
        self._purpose = purpose
        self._loop = asyncio.get_running_loop()

    def serve(self, api: Api) -> None:
        """Answer for all of it."""
        api.add(
            Endpoint("/api/v1/summary", "All miners together.", Summary, lambda _: self.summary()),
            *miner_endpoints(partial(page, self)),
            Endpoint("/api/v1/upstream", self._purpose, Upstreams, lambda _: self.upstreams()),
        )

    def summary(self) -> Summary:
        """All miners together."""
        return of_tally(
            self._reception.totals,
            self._loop.time(),
            daemon=self._daemon,
            miners=len(self.present()),
            remembered=len(self._reception.roll),
            upstream=self.upstreams().upstream,
            readiness=self._readiness,
        )

    def upstreams(self) -> Upstreams:
        """The upstream, and how long its verdicts take."""
        return self._upstreams(self._reception.totals.verdicts or Latencies())

    def present(self) -> dict[Key, Lodger]:
        """The miners that have named themselves."""
        served = (miner for miner in self._reception if miner.identity is not None)
        return {(miner.session.desk.tally.number,): miner for miner in served}

    def describe(self, key: Key, miner: Lodger) -> Miner:
        """What is told of one of them."""
        session, identity = miner.session, miner.identity
        tally = session.desk.tally
        return of_session(
            key,
            session.since,
            tally,
            self._loop.time(),
            worker=identity.user if identity else "",
            agent=miner.agent,
            address=self._show_peer(session.peer),
            difficulty=session.told,
            hashes=session.hashes,
            ehash=self._ehash(miner),
        )

    def _ehash(self, miner: Lodger) -> int | None:
        """What is known to be credited to a miner; None where only an upstream knows."""
        identity = miner.identity
        return miner.session.desk.tally.ehash if identity and identity.key is not None else None
