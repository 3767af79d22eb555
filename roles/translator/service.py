"""The composition root of the translator."""

import asyncio
import time
from functools import partial

from prometheus_client import Gauge

from protocols.ehash.messages import EXTENSION, MINING_MESSAGES
from protocols.sv2.codec import MINING
from protocols.sv2.limits import FrameLimits
from roles.runtime import sv2_connection
from roles.runtime.ban_list import open_bans
from roles.runtime.daemon import Daemon
from roles.runtime.sv2_connection import Sv2Connection
from roles.stratum.client_metrics import ClientMetrics
from roles.stratum.lodger import LodgingTerms
from roles.stratum.miner_ports import MINER_SETTINGS, open_ports, session_limits
from roles.stratum.miner_session import SessionLimits
from roles.stratum.mining_client import ClientTiming, MiningClient, Server
from roles.stratum.mining_session import SessionTiming as UpstreamTiming
from roles.stratum.mining_setup import ClientIdentity
from roles.stratum.reception_metrics import ReceptionMetrics
from roles.stratum.reception_pages import ReceptionPages
from roles.stratum.upstream_overview import upstreams
from roles.stratum.worker_metrics import WorkerMetrics
from roles.translator.translator import Translator
from shared_config.miner_side import MinerSide
from shared_config.translator import TranslatorSettings

UPSTREAM = "proxy"
LISTENER = "listener"
_DRAIN_S = 2.0


TranslatorDaemon = Daemon[TranslatorSettings, MinerSide]


async def service(daemon: TranslatorDaemon) -> None:
    """Serve until the daemon stops; raises OperatorError for what a person can mend."""
    config, readiness = daemon.config, daemon.readiness
    readiness.declare(LISTENER)
    client = _client(daemon)
    bans = open_bans(daemon, daemon.metrics)
    translator = Translator(
        client,
        extranonce2_size=config.extranonce2_size,
        terms=_terms(config, daemon.shared),
        limits=_session_limits(config),
        bans=bans,
        remembered=config.limits.remembered_figures,
        session_s=config.session_s,
        parked_sessions=config.limits.parked_sessions,
        gather=config.gather_ms / 1e3,
    )
    _show(daemon, translator, client)
    servers = open_ports(daemon, translator.serve, bans)

    def take_over(config: TranslatorSettings, shared: MinerSide) -> None:
        translator.bind(_terms(config, shared), _session_limits(config))
        translator.keep_sessions(config.session_s, config.limits.parked_sessions)

    bans.changed.append(translator.cut_barred)
    daemon.reloads.on(["shared.hold_s", "shown_shares_per_minute", *MINER_SETTINGS], take_over)
    async with asyncio.TaskGroup() as group:
        mining = group.create_task(client.run())
        listening = [group.create_task(server.run()) for server in servers]
        readiness.met(LISTENER)
        await daemon.stopping.wait()
        await translator.drain(_DRAIN_S)
        translator.close()
        for task in listening:
            task.cancel()
        await asyncio.wait(listening)
        mining.cancel()


def _client(daemon: TranslatorDaemon) -> MiningClient:
    """The client that all miners share, not yet connected to the proxy."""
    config, proxy, readiness = daemon.config, daemon.shared.proxy, daemon.readiness
    assert proxy is not None, "the configuration was reviewed"
    catalogue = MINING.with_messages(*MINING_MESSAGES)
    frame_limits = FrameLimits(catalogue)
    readiness.declare(UPSTREAM, "not connected yet")

    async def dial() -> Sv2Connection:
        return await sv2_connection.connect(
            proxy.address,
            proxy.authority_key,
            limit=frame_limits,
            allow_unauthenticated=proxy.address.is_loopback,
        )

    def changed(connected: bool) -> None:
        if connected:
            readiness.met(UPSTREAM)
        else:
            readiness.unmet(UPSTREAM, client.failure)

    client = MiningClient(
        Server(dial, ClientIdentity(proxy.address.host, proxy.address.port, device="translator")),
        extensions=(EXTENSION,),
        catalogue=catalogue,
        metrics=ClientMetrics(daemon.metrics),
        timing=ClientTiming(session=UpstreamTiming(gather=config.gather_ms / 1e3)),
        on_change=changed,
        channel_limit=config.limits.connections + 2 * config.limits.parked_sessions,
        submission_limit=config.limits.open_submits,
    )
    return client


def _show(daemon: TranslatorDaemon, translator: Translator, client: MiningClient) -> None:
    """Tell of the miners, in metrics and on pages."""
    registry, most = daemon.metrics, daemon.config.limits.metric_names
    registry.register(ReceptionMetrics("hashpool_translator", translator))
    seated = Gauge(
        "hashpool_translator_miners_seated",
        "Miners served that the native hub serves by itself.",
        registry=registry,
    )
    seated.set_function(lambda: float(translator.seated))
    by_name = WorkerMetrics("hashpool_translator", translator.workers, time.monotonic, most)
    registry.register(by_name)
    daemon.reloads.on(["limits.metric_names"], lambda it, _: setattr(by_name, "most", it.limits.metric_names))
    told = partial(upstreams, client)
    pages = ReceptionPages(
        "translator", translator, daemon.readiness, daemon.show_peer, told, purpose="The proxy."
    )
    pages.serve(daemon.api)


def _terms(config: TranslatorSettings, shared: MinerSide) -> LodgingTerms:
    return LodgingTerms(config.start_difficulty, config.verdict_s, shared.hold_s)


def _session_limits(config: TranslatorSettings) -> SessionLimits:
    return session_limits(config, config.shown_shares_per_minute)
