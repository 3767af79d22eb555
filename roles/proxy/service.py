"""The proxy's composition root."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial

from protocols.mining.credit_target import CreditRule
from protocols.mining.errors import BannedByOperator
from roles.proxy.aggregate import Aggregate, AggregateTerms
from roles.proxy.api import Overview
from roles.proxy.attribution import Registrar
from roles.proxy.downstream import Downstream
from roles.proxy.downstream_bounds import DownstreamBounds
from roles.proxy.downstream_channel import Edge, Line
from roles.proxy.figures import Figures
from roles.proxy.meters import Meters, gauge_figures
from roles.proxy.modes import Aggregated, Mode, PerMiner
from roles.proxy.pools_mint import PoolsMint
from roles.proxy.slices import Slices
from roles.proxy.upstreams import open_upstreams
from roles.proxy.watch import UpstreamWatch
from roles.runtime.authority import authority_secret
from roles.runtime.ban_list import BanList, open_bans, watch_over
from roles.runtime.daemon import Daemon
from roles.runtime.kernel import kernel
from roles.runtime.peer_server import SERVER_LIMITS, PeerServer, ServerLimits, ServerMetrics
from roles.runtime.peer_stream import StreamLimits
from roles.runtime.store_watch import watch_store
from roles.runtime.sv2_connection import ServedConnection, Sv2Connection, serve
from roles.stratum.client_messages import CLIENT_FRAMES
from roles.stratum.worker_metrics import WorkerMetrics
from roles.wallet.household import keep_wallet
from shared_config.miner_side import MinerSide
from shared_config.proxy import ProxySettings

ProxyDaemon = Daemon[ProxySettings, MinerSide]

MINER_SETTINGS = (
    "shared.hold_s",
    "failback_s",
    "opening_s",
    "limits.channel_shares_per_s",
    "limits.channels_per_connection",
    "limits.open_requests",
    "limits.shares_per_s",
    "limits.idle_s",
)
"""Those that are taken over while the daemon runs; of the limits, by connections to come."""
UNIT_BITS = 32
"""Targets of the edge are for whole multiples of 2^32 hashes, a difficulty of 1, from 16 of them on."""


async def service(daemon: ProxyDaemon) -> None:
    """Run the proxy until it is told to stop."""
    async with AsyncExitStack() as stack:
        wallet = await keep_wallet(daemon, daemon.config, daemon.shared.mint.url, stack)
        watch = UpstreamWatch(daemon.readiness, daemon.shared.hold_s, wallet.look_up_soon)
        stack.callback(watch.close)
        relay = kernel().relay if daemon.config.mode == "per_miner" else None
        client = open_upstreams(daemon, watch, relay)
        limits = daemon.config.limits
        meters, hold_s = Meters(daemon.metrics), daemon.shared.hold_s
        mint = PoolsMint(
            daemon.shared.mint.url, wallet.notice, wallet.strangers.heard, daemon.readiness, daemon.metrics
        )
        figures = Figures(limits.remembered_figures)
        _show(daemon, figures)
        rate = limits.channel_shares_per_s
        edge = Edge(client, meters, time.time, hold_s, mint, rate, figures=figures, relay=relay)
        Overview(
            figures, client, daemon.readiness, daemon.show_peer, lambda index: wallet.earned.get(index, 0)
        ).serve(daemon.api)
        bans = open_bans(daemon, daemon.metrics)
        registrar = Registrar(wallet, daemon.config.default_identity, bans)
        slices = Slices(secrets.randbits(32))
        aggregate = await _aggregate(daemon, edge, registrar)
        mode: Mode = partial(_per_miner, edge) if aggregate is None else partial(Aggregated, aggregate)
        bounds = _bounds(daemon.config)

        async def serve_miner(connection: Sv2Connection) -> None:
            await Downstream(
                connection,
                edge=edge,
                mode=mode,
                registrar=registrar,
                slices=slices,
                watch=watch,
                bounds=bounds,
            ).run()

        server = _server(daemon, serve_miner)

        def take_over(config: ProxySettings, shared: MinerSide) -> None:
            nonlocal bounds
            server.limits, bounds = ServerLimits.of(config.limits), _bounds(config)
            edge.hold_s, edge.shares_per_s = shared.hold_s, config.limits.channel_shares_per_s
            watch.hold(shared.hold_s)
            client.failback(config.failback_s)

        watch_over(bans, [server])
        bans.changed.append(partial(_release_barred, bans, edge))
        daemon.reloads.on([*SERVER_LIMITS, *MINER_SETTINGS], take_over)
        async with asyncio.TaskGroup() as tasks:
            watching = watch_store(wallet.kit.database, daemon.readiness)
            parts = [wallet.run(), client.run(), server.run(), watching]
            if aggregate is not None:
                parts.append(aggregate.run())
            running = [tasks.create_task(part) for part in parts]
            await daemon.stopping.wait()
            for task in running:
                task.cancel()


def _show(daemon: ProxyDaemon, figures: Figures) -> None:
    """Tell of the miners in metrics."""
    most = daemon.config.limits.metric_names
    by_name = WorkerMetrics("hashpool_proxy", figures.workers, figures.clock, most)
    daemon.metrics.register(by_name)
    daemon.reloads.on(["limits.metric_names"], lambda it, _: setattr(by_name, "most", it.limits.metric_names))
    gauge_figures(daemon.metrics, figures)


def _server(
    daemon: ProxyDaemon, handle: Callable[[Sv2Connection], Awaitable[None]]
) -> PeerServer[ServedConnection]:
    """The listener for miners, not yet serving."""
    limits = daemon.config.limits
    return serve(
        daemon.config.listen_address,
        authority_secret(daemon.state),
        handle,
        limit=CLIENT_FRAMES,
        setting="listen_address",
        certificate_s=daemon.config.certificate_validity_s,
        metrics=ServerMetrics(daemon.metrics, "downstream"),
        server_limits=ServerLimits.of(limits),
        stream_limits=StreamLimits.of(limits),
    )


def _bounds(config: ProxySettings) -> DownstreamBounds:
    limits = config.limits
    return DownstreamBounds(
        channels=limits.channels_per_connection,
        open_requests=limits.open_requests,
        shares_per_s=limits.shares_per_s,
        opening_s=config.opening_s,
        setup_s=limits.handshake_s,
        idle_s=limits.idle_s,
    )


def _release_barred(bans: BanList, edge: Edge) -> None:
    """Let go of miners that the operator turns away by now."""
    for seat in tuple(edge.figures.present.values()):
        if bans.bars_miner(seat.channel.user, seat.channel.attribution.key):
            seat.line.release(seat.channel, BannedByOperator.code)


def _per_miner(edge: Edge, line: Line, _new_id: Callable[[], int]) -> PerMiner:
    return PerMiner(edge, line)


async def _aggregate(daemon: ProxyDaemon, edge: Edge, registrar: Registrar) -> Aggregate | None:
    """What all miners share upstream, if they do; its own key is that of the default identity."""
    if daemon.config.mode == "per_miner":
        return None
    wanted, user = daemon.config.aggregate, daemon.config.default_identity
    rule = CreditRule(UNIT_BITS, wanted.floor_hashes)
    terms = AggregateTerms(wanted.shares_per_minute, rule, user)
    return Aggregate(edge, await registrar.attribute(user, ()), terms)
