"""What the solo pool tells of its miners, under its health address."""

import asyncio
from collections.abc import Callable
from functools import partial

from roles.runtime.api import Api, Endpoint
from roles.runtime.readiness import Readiness
from roles.solo_pool.miner import SoloMiner
from roles.solo_pool.solo_pool import SoloPool
from roles.stratum.miner_pages import Key, miner_endpoints, page
from roles.stratum.overview import Miner, Summary, of_session, of_tally


class Overview:
    """The solo pool as people see it; `show_peer` says how much they see of an address."""

    def __init__(
        self, pool: SoloPool, readiness: Readiness, show_peer: Callable[[str], str | None], *, node: str
    ) -> None:
        self._pool = pool
        self._readiness = readiness
        self._show_peer = show_peer
        self._node = node
        self._loop = asyncio.get_running_loop()

    def serve(self, api: Api) -> None:
        """Answer for all of it."""
        api.add(
            Endpoint("/api/v1/summary", "All miners together.", Summary, lambda _: self.summary()),
            *miner_endpoints(partial(page, self)),
        )

    def summary(self) -> Summary:
        """All miners together."""
        return of_tally(
            self._pool.totals,
            self._loop.time(),
            daemon="solo_pool",
            miners=len(self.present()),
            remembered=len(self._pool.roll),
            upstream=None if self._readiness.reasons else self._node,
            readiness=self._readiness,
        )

    def present(self) -> dict[Key, SoloMiner]:
        """The miners that have named themselves."""
        served = (miner for miner in self._pool if miner.script is not None)
        return {(miner.session.desk.tally.number,): miner for miner in served}

    def describe(self, key: Key, miner: SoloMiner) -> Miner:
        """What is told of one of them."""
        address = self._show_peer(miner.session.peer)
        return of_session(
            key, miner.session.since, miner.session.desk.tally, self._loop.time(),
            worker=miner.user, agent=miner.agent, address=address,
            difficulty=miner.session.told, hashes=miner.session.hashes,
        )  # fmt: skip
