"""The pool put together: templates in, work out, shares into the ledger, the ledger to the mint.

This is the process that keeps the books; `branches` are further ones that only serve miners, as it does too.
"""

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial

from prometheus_client import CollectorRegistry

from protocols.noise.authority import encode_public, public_of
from protocols.sv2.template_distribution import SubmitSolution
from roles.credit.issuance import Issuance, open_issuance
from roles.node_client.client import NodeClient
from roles.pool.api import Hall, Overview
from roles.pool.blocks import BlockDesk
from roles.pool.books import Books
from roles.pool.branch_desk import KeptBooks
from roles.pool.branches import Branches, BranchMetrics
from roles.pool.claims import KeptClaims
from roles.pool.front_end import FrontEnd, PoolDaemon
from roles.pool.intercom import Assignment
from roles.pool.meters import Meters
from roles.pool.prefixes import PrefixBook
from roles.pool.records import fresh_number, open_records
from roles.pool.resume_store import DIRECTORY
from roles.pool.salvage import Salvage
from roles.pool.schema import MIGRATIONS
from roles.pool.supply import Supply, reward_script
from roles.pool.tallies import Tallies
from roles.pool.template_link import Origin, TemplateLink
from roles.runtime.authority import authority_secret
from roles.runtime.errors import PortInUse
from roles.runtime.listen import listen
from roles.runtime.peer_server import PeerServer
from roles.runtime.store_watch import watch_store
from roles.runtime.sv2_connection import ServedConnection
from shared_config.address import Address
from shared_config.pool import PoolSettings
from shared_config.pool_side import PoolSide

ORPHANS_S = 5.0
"""How long the address may still be held by branches of a keeper that was killed."""
ORPHANS_LOOK_S = 0.05
GATHER_S = 0.008
"""How long shares wait for others to share a commit with, where those of branches are on their way."""
AT_ONCE = 256
"""So many do not wait for them."""
LOST_S = 600.0
"""After the end of a branch the chain is searched with each tip for a block that it may have sent."""

_log = logging.getLogger(__name__)


async def service(daemon: PoolDaemon) -> None:
    """Run the pool until it is told to stop."""
    daemon.readiness.declare("listener", "waiting for work")
    script = reward_script(daemon.config, daemon.shared)
    secret = authority_secret(daemon.state)
    async with _open(daemon, script) as pool, asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(each) for each in pool.activities()]
        stopping = tasks.create_task(daemon.stopping.wait())
        working = tasks.create_task(pool.can_serve())
        await asyncio.wait({stopping, working}, return_when=asyncio.FIRST_COMPLETED)
        working.cancel()
        if not daemon.stopping.is_set():
            server = await pool.server(secret)
            serving = tasks.create_task(server.run())
            daemon.readiness.met("listener")
            where = {"address": str(server.address), "authority_key": encode_public(public_of(secret))}
            _log.info("serving miners", extra=where)
            await daemon.stopping.wait()
            serving.cancel()
            await asyncio.wait({serving, tasks.create_task(pool.branches.stop())})
        else:
            await pool.branches.stop()
        for task in running:
            task.cancel()
        await asyncio.wait(running)
        pool.claims.close()
        await pool.blocks.look_once()


@asynccontextmanager
async def _open(daemon: PoolDaemon, script: bytes) -> AsyncIterator["Pool"]:
    registry = CollectorRegistry()
    async with (
        open_issuance(daemon.state, daemon.shared, MIGRATIONS, registry) as issuance,
        NodeClient.of(daemon.shared.node, daemon.state.parent) as node,
    ):
        if daemon.config.processes > 1:
            issuance.ledger.gather_s, issuance.ledger.at_once = GATHER_S, AT_ONCE
        prefixes = await PrefixBook.open(issuance.database, daemon.config.server_id)
        pool = Pool(daemon, registry, issuance, node, script=script, prefixes=prefixes)
        await pool.blocks.load()
        yield pool


class Pool:
    """The parts of a running pool."""

    def __init__(
        self,
        daemon: PoolDaemon,
        registry: CollectorRegistry,
        issuance: Issuance,
        node: NodeClient,
        *,
        script: bytes,
        prefixes: PrefixBook,
    ) -> None:
        config, shared = daemon.config, daemon.shared
        database, ledger = issuance.database, issuance.ledger
        self._daemon = daemon
        self._database = database
        self._prefixes = prefixes
        tallies = Tallies(registry)
        meters = Meters(registry)
        self._supply = Supply(config, shared, script, readiness=daemon.readiness, meters=meters)
        self.blocks = BlockDesk(database, _Providers(self._supply.link, self), node, meters)
        adopt = self.blocks.adopt
        self._salvage = Salvage(database, node, adopt, script=script, pool=config.coinbase_tag)
        self._salvage_until = 0.0
        # Prefixes rest and blocks are looked at before miners hear of a new tip.
        self._supply.listeners.append(self._work_changed)
        public = issuance.public
        self._records = open_records(config, daemon.state, fresh_number(), self._supply.workshop, meters)
        self.claims = KeptClaims(
            self._records,
            prefixes,
            daemon.state / DIRECTORY,
            recipe=self._supply.workshop.recipe,
            life_s=config.resume_s,
            clock=time.time,
        )
        self._front = FrontEnd(
            daemon,
            registry,
            meters,
            self._supply,
            Books(ledger, self.blocks, prefixes, self.claims, self._records),
            identity=public,
        )
        books = KeptBooks(ledger, self.blocks, prefixes, self._front.difficulties, self.claims)
        self.branches = self._branches(books, tallies, public)
        daemon.reloads.prepare([], self._pass_on, always=True)
        hall = Hall(0, self._front.figures, daemon.show_peer)
        figures, processes = self._front.figures, self.branches.pages
        Overview(hall, figures, tallies, daemon.readiness, processes).serve(daemon.api)
        self._issuer = issuance.issuer(shared, self.branches, registry)
        daemon.metrics.register(tallies)

    def _branches(self, books: KeptBooks, tallies: Tallies, identity: bytes) -> Branches:
        """The further processes, which are yet to be started."""
        daemon, front = self._daemon, self._front

        def assign(number: int) -> Assignment:
            # As it is then: settings may have been taken over since the start.
            config, shared = daemon.config, daemon.shared
            return Assignment(number, config, shared, daemon.state, identity, os.getpid(), fresh_number())

        return Branches(
            daemon.config.processes - 1,
            assign,
            books,
            front.notices,
            tallies=tallies,
            metrics=BranchMetrics(daemon.metrics, tallies),
            readiness=daemon.readiness,
            ended=self._branch_ended,
            worked=front.figures.worked,
        )

    def activities(self) -> tuple[Coroutine[None, None, None], ...]:
        """What runs beside the listener, each until cancelled."""
        return (
            *self._front.activities(),
            self._issuer.run(),
            self.blocks.run(),
            self._salvage.run(),
            self._prefixes.run(),
            self._records.run(self.claims.sweep),
            watch_store(self._database, self._daemon.readiness),
            self.branches.run(),
        )

    async def can_serve(self) -> None:
        """Wait until there is work for miners."""
        await self._supply.has_work.wait()
        await self.branches.gather()

    async def server(self, secret: bytes) -> PeerServer[ServedConnection]:
        """The listener for miners and proxies, here and in the branches."""
        address, has_siblings = self._daemon.config.listen_address, self._daemon.config.processes > 1
        if not has_siblings:
            return self._front.server(address, secret, has_siblings=False)
        await _until_free(address)
        if address.port:
            # The branches take longer, and who listens first is given everybody.
            await self.branches.listen(address)
        server = self._front.server(address, secret, has_siblings=True)
        if not address.port:
            await self.branches.listen(server.address)
        return server

    def _pass_on(self, config: PoolSettings, shared: PoolSide) -> Callable[[], None]:
        return partial(self.branches.reload, config, shared)

    def _work_changed(self, is_new_tip: bool) -> None:
        tip = self._supply.workshop.tip
        if is_new_tip and tip is not None:
            self._prefixes.new_tip(tip.previous)
            self.blocks.look()
            if time.monotonic() < self._salvage_until:
                self._salvage.look()

    def _branch_ended(self) -> None:
        self._salvage_until = time.monotonic() + LOST_S
        self._salvage.look()


class _Providers:
    """The template providers of all processes, as far as blocks are concerned."""

    def __init__(self, link: TemplateLink, pool: Pool) -> None:
        self.shelf = link.shelf
        self._link = link
        self._pool = pool

    def submit(self, block_hash: bytes, origin: Origin, solution: SubmitSolution) -> bool:
        """Send a solution of this process."""
        return self._link.submit(block_hash, origin, solution)

    def settled(self, block_hash: bytes) -> None:
        """Send it no more, whoever found it."""
        self._link.settled(block_hash)
        self._pool.branches.settled(block_hash)


async def _until_free(address: Address) -> None:
    """Wait until nobody listens there: a stranger who also shared it would be given some of our miners.

    Raises PortInUse and ListenFailed.
    """
    deadline = time.monotonic() + ORPHANS_S
    while True:
        try:
            listen(address, "listen_address").close()
        except PortInUse:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(ORPHANS_LOOK_S)
        else:
            return
