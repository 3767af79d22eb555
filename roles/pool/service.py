"""The pool put together: templates in, work out, shares into the ledger, the ledger to the mint."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager

from protocols.bitcoin.descriptor import script_from_text
from protocols.bitcoin.errors import CoinbaseError
from protocols.bitcoin.secp256k1 import public_key
from protocols.ehash.amount import Valuation
from protocols.ehash.messages import ISSUANCE
from protocols.mining.credit_target import CreditRule
from protocols.mining.job import coinbase_tag
from protocols.mining.vardiff import RUSH
from protocols.noise.authority import encode_public, public_of
from protocols.sv2.codec import TEMPLATE_DISTRIBUTION, Catalogue
from protocols.sv2.limits import FrameLimits
from roles.credit.issuer import Issuer, IssuerMetrics
from roles.credit.issuer_key import LEDGER_NAME, issuer_secret
from roles.credit.ledger import Ledger, LedgerMetrics
from roles.credit.ledger_rows import Pricing
from roles.node_client.client import NodeClient
from roles.pool.admission import Admission
from roles.pool.blocks import BlockDesk
from roles.pool.disk import DiskWatch
from roles.pool.errors import RewardUnusable
from roles.pool.floor import Floor
from roles.pool.meters import Meters
from roles.pool.notices import Notices
from roles.pool.prefixes import PrefixBook
from roles.pool.recollection import Difficulties
from roles.pool.salvage import Salvage
from roles.pool.schema import MIGRATIONS
from roles.pool.session import Session
from roles.pool.share_desk import ShareDesk
from roles.pool.template_link import TemplateLink
from roles.pool.terms import Terms
from roles.pool.workshop import Workshop
from roles.runtime.authority import authority_secret
from roles.runtime.daemon import Daemon
from roles.runtime.peer_server import PeerServer, ServerLimits, ServerMetrics
from roles.runtime.peer_stream import StreamLimits
from roles.runtime.storage import Database
from roles.runtime.store_watch import watch_store
from roles.runtime.sv2_connection import ServedConnection, Sv2Connection, connect, serve
from roles.stratum.client_messages import CLIENT_FRAMES
from shared_config.address import Address
from shared_config.pool import PoolSettings
from shared_config.pool_side import PoolSide

PoolDaemon = Daemon[PoolSettings, PoolSide]

TEMPLATE_UNREAD = 1 << 25
"""Bytes that a template provider may send ahead of us: a whole block's transactions, and then some."""
LONGEST_TAG = 0xFFFFFFFF

_log = logging.getLogger(__name__)


async def service(daemon: PoolDaemon) -> None:
    """Run the pool until it is told to stop."""
    daemon.readiness.declare("listener", "waiting for work")
    script = reward_script(daemon)
    secret = authority_secret(daemon.state)
    async with _open(daemon, script) as pool, asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(each) for each in pool.activities()]
        stopping = tasks.create_task(daemon.stopping.wait())
        working = tasks.create_task(pool.has_work.wait())
        await asyncio.wait({stopping, working}, return_when=asyncio.FIRST_COMPLETED)
        working.cancel()
        if not daemon.stopping.is_set():
            server = pool.server(secret)
            serving = tasks.create_task(server.run())
            daemon.readiness.met("listener")
            where = {"address": str(server.address), "authority_key": encode_public(public_of(secret))}
            _log.info("serving miners", extra=where)
            await daemon.stopping.wait()
            serving.cancel()
            await asyncio.wait({serving})
        for task in running:
            task.cancel()
        await asyncio.wait(running)
        await pool.blocks.look_once()


def reward_script(daemon: PoolDaemon) -> bytes:
    """The script that rewards go to; raises RewardUnusable when no coinbase can be made as configured."""
    config = daemon.config
    if config.coinbase_reward_script is None:
        raise RewardUnusable("coinbase_reward_script is missing", hint="an address or descriptor of yours")
    try:
        coinbase_tag(config.coinbase_tag, LONGEST_TAG)
    except CoinbaseError as error:
        raise RewardUnusable(f"coinbase_tag is too long: {error}", hint="shorten coinbase_tag") from error
    return script_from_text(config.coinbase_reward_script, daemon.shared.network)


def terms_of(config: PoolSettings, shared: PoolSide) -> Terms:
    """The terms that the configuration sets for miners."""
    return Terms(
        rule=CreditRule(shared.ehash.minimum_difficulty, config.vardiff.floor_hashes),
        valuation=Valuation[shared.ehash.valuation.upper()],
        shares_per_minute=config.vardiff.shares_per_minute,
        keyless=shared.ehash.keyless == "accept",
        users=None if config.users is None else frozenset(config.users),
        channels=config.limits.channels_per_connection,
        channels_of_host=config.limits.channels_per_host,
        shares_per_s=config.limits.shares_per_s,
        # A miner whose target has yet to be found must not lose shares by that.
        channel_shares_per_s=max(
            config.limits.channel_shares_per_s, RUSH * config.vardiff.shares_per_minute / 60
        ),
        keys=config.limits.keys_per_connection,
        ack_size=config.acknowledgement.shares,
        ack_delay_s=config.acknowledgement.delay_ms / 1000,
        setup_s=config.limits.handshake_s,
        idle_s=config.limits.idle_s,
    )


@asynccontextmanager
async def _open(daemon: PoolDaemon, script: bytes) -> AsyncIterator["Pool"]:
    identity = issuer_secret(daemon.state)
    database = Database.open(daemon.state / LEDGER_NAME, MIGRATIONS, metrics=daemon.metrics)
    try:
        terms = terms_of(daemon.config, daemon.shared)
        ledger = await Ledger.open(
            database,
            public_key(identity),
            Pricing(terms.rule.minimum, terms.valuation),
            metrics=LedgerMetrics(daemon.metrics),
        )
        prefixes = await PrefixBook.open(database, daemon.config.server_id)
        async with NodeClient.of(daemon.shared.bitcoin, daemon.state.parent) as node:
            pool = Pool(
                daemon,
                database,
                ledger,
                node,
                terms=terms,
                script=script,
                identity=identity,
                prefixes=prefixes,
            )
            await pool.blocks.load()
            yield pool
    finally:
        await asyncio.to_thread(database.close)


class Pool:
    """The parts of a running pool."""

    def __init__(
        self,
        daemon: PoolDaemon,
        database: Database,
        ledger: Ledger,
        node: NodeClient,
        *,
        terms: Terms,
        script: bytes,
        identity: bytes,
        prefixes: PrefixBook,
    ) -> None:
        config, shared = daemon.config, daemon.shared
        self._daemon = daemon
        self._database = database
        self._prefixes = prefixes
        self.has_work = asyncio.Event()
        meters = Meters(daemon.metrics)
        self._workshop = Workshop(
            script,
            config.coinbase_tag,
            block_hashes=shared.regtest.block_difficulty if shared.regtest else None,
            listener=self._work_changed,
        )
        provider = shared.template_provider
        self._link = TemplateLink(
            _dialler(provider.address, provider.authority_key, TEMPLATE_DISTRIBUTION, TEMPLATE_UNREAD),
            self._workshop,
            script,
            readiness=daemon.readiness,
            meters=meters,
        )
        self.blocks = BlockDesk(database, self._link, node, meters)
        adopt = self.blocks.adopt
        self._salvage = Salvage(database, node, adopt, script=script, pool=config.coinbase_tag)
        notices = Notices(public_key(identity), meters)
        self._disk = DiskWatch(daemon.state, config.limits.disk_reserve_bytes, meters, daemon.readiness)
        difficulties = Difficulties(config.limits.remembered_difficulties)
        meters.remembered.set_function(lambda: float(len(difficulties)))
        self._floor = Floor(
            terms,
            self._workshop,
            Admission(terms, self._workshop, prefixes, difficulties),
            ShareDesk(terms, ledger, self.blocks, meters, self._disk),
            notices,
            meters,
        )
        meters.hashrate.set_function(self._floor.hashrate)
        mint = shared.mint
        self._issuer = Issuer(
            ledger,
            identity,
            mint.authority_key or b"",
            _dialler(mint.issuance_address, mint.authority_key, ISSUANCE, StreamLimits().unread),
            listener=notices,
            metrics=IssuerMetrics(daemon.metrics),
        )

    def activities(self) -> tuple[Coroutine[None, None, None], ...]:
        """What runs beside the listener, each until cancelled."""
        return (
            self._link.run(),
            self._issuer.run(),
            self.blocks.run(),
            self._salvage.run(),
            self._prefixes.run(),
            self._disk.run(),
            watch_store(self._database, self._daemon.readiness),
            self._floor.announce(),
            self._floor.follow_miners(),
        )

    def server(self, secret: bytes) -> PeerServer[ServedConnection]:
        """The listener for miners and proxies."""
        config = self._daemon.config

        async def handle(connection: Sv2Connection) -> None:
            await Session(connection, self._floor).run()

        return serve(
            config.listen_address,
            secret,
            handle,
            limit=CLIENT_FRAMES,
            setting="listen_address",
            certificate_s=config.certificate_validity_s,
            metrics=ServerMetrics(self._daemon.metrics, "pool"),
            server_limits=ServerLimits.of(config.limits),
            stream_limits=StreamLimits.of(config.limits),
        )

    def _work_changed(self, is_new_tip: bool) -> None:
        tip = self._workshop.tip
        if is_new_tip and tip is not None:
            self._prefixes.new_tip(tip.previous)
            self.blocks.look()
        self.has_work.set()
        self._floor.work_changed()


def _dialler(
    address: Address, authority: bytes | None, catalogue: Catalogue, unread: int
) -> Callable[[], Awaitable[Sv2Connection]]:
    limit, limits = FrameLimits(catalogue), StreamLimits(unread=unread)

    async def dial() -> Sv2Connection:
        return await connect(
            address,
            authority,
            limit=limit,
            limits=limits,
            # The configuration insists on a key unless the peer is on this machine.
            allow_unauthenticated=address.is_loopback,
        )

    return dial
