"""What serves miners, the same in each process of a pool; where the books are kept it need not know."""

import time
from collections.abc import Coroutine

from prometheus_client import CollectorRegistry

from protocols.mining.credit_target import CreditRule
from protocols.mining.vardiff import FASTEST
from roles.credit.disk import DiskWatch
from roles.credit.issuance import valuation_of
from roles.pool.admission import Admission
from roles.pool.books import Books
from roles.pool.figures import Figures
from roles.pool.floor import Floor
from roles.pool.meters import Meters
from roles.pool.notices import Notices
from roles.pool.resumptions import Resumptions
from roles.pool.revival import Revival
from roles.pool.session import Session
from roles.pool.share_desk import ShareDesk
from roles.pool.supply import Supply
from roles.pool.terms import Terms
from roles.runtime.ban_list import open_bans, watch_over
from roles.runtime.daemon import Daemon
from roles.runtime.peer_server import SERVER_LIMITS, PeerServer, ServerLimits, ServerMetrics
from roles.runtime.peer_stream import StreamLimits
from roles.runtime.sv2_connection import ServedConnection, Sv2Connection, serve
from roles.stratum.client_messages import CLIENT_FRAMES
from roles.stratum.difficulties import Difficulties
from shared_config.address import Address
from shared_config.pool import PoolSettings
from shared_config.pool_side import PoolSide

PoolDaemon = Daemon[PoolSettings, PoolSide]

MINER_SETTINGS = (
    "vardiff.shares_per_minute",
    "acknowledgement",
    "users",
    "limits.channels_per_connection",
    "limits.channels_per_host",
    "limits.shares_per_s",
    "limits.channel_shares_per_s",
    "limits.idle_s",
)
"""Those that are taken over while the daemon runs; some only for connections and channels to come."""
RELOADABLE_TERMS = (
    "shares_per_minute", "users", "channels", "channels_of_host", "shares_per_s", "channel_shares_per_s",
    "ack_size", "ack_delay_s", "setup_s", "idle_s",
)  # fmt: skip


class FrontEnd:
    """The listener for miners and what stands behind it."""

    def __init__(
        self,
        daemon: PoolDaemon,
        registry: CollectorRegistry,
        meters: Meters,
        supply: Supply,
        books: Books,
        *,
        identity: bytes,
    ) -> None:
        config = daemon.config
        terms = terms_of(config, daemon.shared)
        self._daemon = daemon
        self._terms = terms
        self._bans = open_bans(daemon, registry)
        self._servers: list[PeerServer[ServedConnection]] = []
        daemon.reloads.on([*SERVER_LIMITS, *MINER_SETTINGS], self._take_over)
        self.figures = Figures(config.limits.remembered_figures, time.monotonic)
        self._registry = registry
        self._supply = supply
        self.notices = Notices(identity, meters)
        self._disk = DiskWatch(
            daemon.state, config.limits.disk_reserve_bytes, meters.disk_free, daemon.readiness
        )
        self.difficulties = Difficulties(config.limits.remembered_difficulties)
        meters.remembered.set_function(lambda: float(len(self.difficulties)))
        meters.figures.set_function(lambda: float(len(self.figures.roll)))
        admission = Admission(
            terms,
            supply.workshop,
            books.prefixes,
            self.difficulties,
            figures=self.figures,
            bans=self._bans,
        )
        self.floor = Floor(
            terms,
            supply.workshop,
            admission,
            ShareDesk(terms, books.shares, books.blocks, meters, self._disk, bars_key=self._bans.has_key),
            self.notices,
            meters,
            resumptions=Resumptions(books.records, books.claims, Revival(supply.workshop), admission, meters),
        )
        self._bans.changed.append(self.floor.bans_changed)
        meters.hashrate.set_function(self.floor.hashrate)
        # What is recorded of work must be there before anybody is sent it.
        supply.listeners.append(books.records.note_work)
        supply.listeners.append(lambda _: self.floor.work_changed())

    def activities(self) -> tuple[Coroutine[None, None, None], ...]:
        """What runs beside the listener, each until cancelled."""
        return (
            self._supply.link.run(),
            self._disk.run(),
            self.floor.announce(),
            self.floor.follow_miners(),
            self.floor.turn_away(),
        )

    def server(self, address: Address, secret: bytes, *, has_siblings: bool) -> PeerServer[ServedConnection]:
        """The listener for miners and proxies, who are shared with siblings at the same address."""
        config = self._daemon.config

        async def handle(connection: Sv2Connection) -> None:
            await Session(connection, self.floor).run()

        server = serve(
            address,
            secret,
            handle,
            limit=CLIENT_FRAMES,
            setting="listen_address",
            certificate_s=config.certificate_validity_s,
            metrics=ServerMetrics(self._registry, "pool"),
            server_limits=ServerLimits.of(config.limits),
            stream_limits=StreamLimits.of(config.limits),
            has_siblings=has_siblings,
        )
        watch_over(self._bans, [server])
        self._servers.append(server)
        return server

    def _take_over(self, config: PoolSettings, shared: PoolSide) -> None:
        for server in self._servers:
            server.limits = ServerLimits.of(config.limits)
        wanted = terms_of(config, shared)
        for name in RELOADABLE_TERMS:
            setattr(self._terms, name, getattr(wanted, name))


def terms_of(config: PoolSettings, shared: PoolSide) -> Terms:
    """The terms that the configuration sets for miners."""
    return Terms(
        rule=CreditRule(shared.ehash.minimum_difficulty, config.vardiff.floor_hashes),
        valuation=valuation_of(shared.ehash),
        mint_url=shared.mint.url,
        shares_per_minute=config.vardiff.shares_per_minute,
        keyless=shared.ehash.keyless == "accept",
        users=None if config.users is None else frozenset(config.users),
        channels=config.limits.channels_per_connection,
        channels_of_host=config.limits.channels_per_host,
        shares_per_s=config.limits.shares_per_s,
        # A miner whose target has yet to be found must not lose shares by that.
        channel_shares_per_s=max(
            config.limits.channel_shares_per_s, FASTEST * config.vardiff.shares_per_minute / 60
        ),
        keys=config.limits.keys_per_connection,
        ack_size=config.acknowledgement.shares,
        ack_delay_s=config.acknowledgement.delay_ms / 1000,
        setup_s=config.limits.handshake_s,
        idle_s=config.limits.idle_s,
    )
