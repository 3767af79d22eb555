"""The composition root of the solo pool."""

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path

from protocols.bitcoin.descriptor import script_from_text
from protocols.bitcoin.transaction import TxOut
from protocols.translation.extranonce import Layout
from roles.node_client.client import NodeClient
from roles.runtime import line_connection
from roles.runtime.ban_list import examine_bans, open_bans, watch_over
from roles.runtime.daemon import Daemon
from roles.runtime.line_connection import ServedLines
from roles.runtime.peer_server import SERVER_LIMITS, PeerServer, ServerLimits, ServerMetrics
from roles.runtime.peer_stream import StreamLimits
from roles.solo_pool.api import Overview
from roles.solo_pool.metrics import SoloPoolMetrics
from roles.solo_pool.miner import Terms
from roles.solo_pool.reward import Rewards
from roles.solo_pool.solo_pool import SoloPool
from roles.solo_pool.workshop import Workshop
from roles.stratum.miner_session import SessionLimits
from roles.stratum.worker_metrics import WorkerMetrics
from roles.templates import zmq_feed
from roles.templates.meters import NodeMeters
from roles.templates.selection import Constraints
from roles.templates.source import Pace, Source
from roles.templates.submission import Submitter, is_taken
from shared_config.pool_side import PoolSide
from shared_config.solo_pool import SoloPoolSettings

LISTENER = "listener"
LONGEST_OUTPUT = len(TxOut(0, bytes(34)).serialize())
"""What an address of any kind takes in the coinbase."""
LOOK_S = 1.0
MINER_SETTINGS = (
    "start_difficulty",
    "shares_per_minute",
    "keepalive_s",
    "verdict_s",
    "limits.authorize_s",
    "limits.idle_s",
    "limits.line_s",
    "limits.bad_shares_s",
    "limits.shares_per_s",
    "limits.cost",
    "limits.workers",
    "limits.open_submits",
    "limits.handshake_s",
)
"""Those that miners to come are served by when they are changed while the daemon runs."""

_log = logging.getLogger(__name__)

SoloDaemon = Daemon[SoloPoolSettings, PoolSide]


async def service(daemon: SoloDaemon) -> None:
    """Serve until the daemon stops, then wait for the node's verdict on blocks under way."""
    config, shared = daemon.config, daemon.shared
    daemon.readiness.declare(LISTENER)
    meters = NodeMeters(daemon.metrics, "solo_pool")
    default = script_from_text(config.reward_script, shared.network) if config.reward_script else None
    async with NodeClient.of(shared.node, daemon.state.parent) as node:
        source = Source(
            node, shared.network, Pace(config.fee_check_s), readiness=daemon.readiness, meters=meters
        )

        def judged(verdict: str | None) -> None:
            if is_taken(verdict):
                source.poke()

        submitter = Submitter(node, meters, judged)
        pool, server = _open(daemon, source, submitter, default)
        size = len(TxOut(0, default).serialize()) if default else 0
        constraints = Constraints(max(LONGEST_OUTPUT, size), 1)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(source.run()),
                    group.create_task(_follow(source, pool, constraints)),
                    group.create_task(_watch(pool)),
                    group.create_task(server.run()),
                ]
                if config.zmq_block_address is not None:
                    tasks.append(group.create_task(zmq_feed.follow(config.zmq_block_address, source.poke)))
                daemon.readiness.met(LISTENER)
                await daemon.stopping.wait()
                await pool.drain()
                await submitter.drain()
                for task in tasks:
                    task.cancel()
        finally:
            await submitter.close()


def _open(
    daemon: SoloDaemon, source: Source, submitter: Submitter, default: bytes | None
) -> tuple[SoloPool, PeerServer[ServedLines]]:
    """The pool and its listener; `default` is the script of miners that name no address."""
    config, shared = daemon.config, daemon.shared
    layout = Layout(config.extranonce2_size)
    bans = open_bans(daemon, daemon.metrics)

    def is_away() -> bool:
        since, node_away_s = source.down_since, daemon.config.node_away_s
        away_s = 0.0 if since is None else time.monotonic() - since
        return node_away_s is not None and away_s >= node_away_s

    pool = SoloPool(
        Workshop(
            config.coinbase_tag,
            layout,
            block_hashes=shared.regtest.block_difficulty if shared.regtest else None,
            fee_gain=config.fee_gain_sat,
        ),
        Rewards(shared.network, default),
        submitter,
        layout=layout,
        terms=_terms(config),
        limits=_session_limits(config),
        bans=bans,
        is_away=is_away,
        remembered=config.limits.remembered_figures,
        firmware=config.firmware,
    )
    server = line_connection.serve(
        config.listen_address,
        pool.serve,
        setting="listen_address",
        metrics=ServerMetrics(daemon.metrics, "sv1"),
        line_limit=config.limits.line_bytes,
        server_limits=ServerLimits.of(config.limits),
        stream_limits=StreamLimits.of(config.limits),
    )
    watch_over(bans, [server])
    bans.changed.append(pool.cut_barred)
    _show(daemon, pool)
    _reload(daemon, pool, server)
    return pool, server


def _show(daemon: SoloDaemon, pool: SoloPool) -> None:
    """What people see: metrics, also by name, and the JSON API."""
    daemon.metrics.register(SoloPoolMetrics(pool))
    most = daemon.config.limits.metric_names
    by_name = WorkerMetrics("hashpool_solo_pool", pool.workers, time.monotonic, most)
    daemon.metrics.register(by_name)
    daemon.reloads.on(["limits.metric_names"], lambda it, _: setattr(by_name, "most", it.limits.metric_names))
    url = daemon.shared.node.rpc_url
    Overview(pool, daemon.readiness, daemon.show_peer, node=url).serve(daemon.api)


def _reload(daemon: SoloDaemon, pool: SoloPool, server: PeerServer[ServedLines]) -> None:
    """What SIGHUP changes."""

    def take_over(config: SoloPoolSettings, _shared: PoolSide) -> None:
        server.limits = ServerLimits.of(config.limits)
        pool.bind(_terms(config), _session_limits(config))

    daemon.reloads.on([*SERVER_LIMITS, *MINER_SETTINGS], take_over)
    # It is looked up each time.
    daemon.reloads.on(["node_away_s"], lambda *_: None)


async def _follow(source: Source, pool: SoloPool, constraints: Constraints) -> None:
    """Give miners the node's templates as they come."""
    async with source.watch() as changed:
        while True:
            await changed.wait()
            changed.clear()
            template = source.current
            if template is not None:
                await pool.take(source.draft(template, constraints))


async def _watch(pool: SoloPool) -> None:
    """Let miners go when the node has been away for too long."""
    while True:
        await asyncio.sleep(LOOK_S)
        if pool.is_away() and len(pool):
            _log.warning("the node is away for too long: miners are released", extra={"miners": len(pool)})
            pool.release()


def examine(config: SoloPoolSettings, find: Callable[[Path], Path]) -> None:
    """Look at the ban list; raises OperatorError."""
    examine_bans(config, find)


def _terms(config: SoloPoolSettings) -> Terms:
    return Terms(config.start_difficulty, config.shares_per_minute)


def _session_limits(config: SoloPoolSettings) -> SessionLimits:
    return SessionLimits.of(
        config.limits,
        keepalive_s=config.keepalive_s,
        verdict_s=config.verdict_s,
        own_shares_per_minute=config.shares_per_minute,
    )
