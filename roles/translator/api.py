"""What the translator tells of its miners and of the proxy, under its health address."""

import asyncio
from collections.abc import Callable
from functools import partial

from roles.runtime.api import Api, Endpoint
from roles.runtime.readiness import Readiness
from roles.stratum.latencies import Latencies
from roles.stratum.miner_pages import Key, miner_endpoints, page
from roles.stratum.mining_client import MiningClient
from roles.stratum.overview import Miner, Summary, Upstreams, of_session, of_tally
from roles.stratum.upstream_overview import upstreams
from roles.translator.miner import Miner as Served
from roles.translator.translator import Translator


class Overview:
    """The translator as people see it; `show_peer` says how much they see of an address."""

    def __init__(
        self,
        translator: Translator,
        client: MiningClient,
        readiness: Readiness,
        show_peer: Callable[[str], str | None],
    ) -> None:
        self._show_peer = show_peer
        self._translator = translator
        self._client = client
        self._readiness = readiness
        self._loop = asyncio.get_running_loop()

    def serve(self, api: Api) -> None:
        """Answer for all of it."""
        api.add(
            Endpoint("/api/v1/summary", "All miners together.", Summary, lambda _: self.summary()),
            *miner_endpoints(partial(page, self)),
            Endpoint("/api/v1/upstream", "The proxy.", Upstreams, lambda _: self.upstreams()),
        )

    def summary(self) -> Summary:
        """All miners together."""
        return of_tally(
            self._translator.totals,
            self._loop.time(),
            daemon="translator",
            miners=len(self.present()),
            remembered=len(self._translator.roll),
            upstream=self._client.upstream or None,
            readiness=self._readiness,
        )

    def upstreams(self) -> Upstreams:
        """The proxy, and how long its verdicts take."""
        return upstreams(self._client, self._translator.totals.verdicts or Latencies())

    def present(self) -> dict[Key, Served]:
        """The miners that have named themselves."""
        served = (miner for miner in self._translator if miner.identity is not None)
        return {(miner.session.desk.tally.number,): miner for miner in served}

    def describe(self, key: Key, miner: Served) -> Miner:
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
            # Where the proxy's wallet holds the key, only the proxy knows.
            ehash=tally.ehash if identity and identity.key is not None else None,
        )
