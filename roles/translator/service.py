"""The composition root of the translator."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry

from protocols.ehash.messages import EXTENSION, MINING_MESSAGES
from protocols.sv2.codec import MINING
from protocols.sv2.limits import FrameLimits
from roles.runtime import line_connection, sv2_connection
from roles.runtime.ban_list import BanList, examine_bans, open_bans, watch_over
from roles.runtime.daemon import Daemon
from roles.runtime.line_connection import Door, ServedLines
from roles.runtime.peer_server import SERVER_LIMITS, PeerServer, ServerLimits, ServerMetrics
from roles.runtime.peer_stream import StreamLimits
from roles.runtime.sv2_connection import Sv2Connection
from roles.runtime.tls_identity import TlsIdentity, TlsMetrics
from roles.stratum.client_metrics import ClientMetrics
from roles.stratum.lodger import LodgingTerms
from roles.stratum.miner_session import SessionLimits
from roles.stratum.mining_client import ClientTiming, MiningClient, Server
from roles.stratum.mining_session import SessionTiming as UpstreamTiming
from roles.stratum.mining_setup import ClientIdentity
from roles.stratum.worker_metrics import WorkerMetrics
from roles.translator.api import Overview
from roles.translator.metrics import TranslatorMetrics
from roles.translator.translator import Translator
from shared_config.address import Address
from shared_config.miner_side import MinerSide
from shared_config.translator import TranslatorSettings

MINER_SETTINGS = (
    "shared.hold_s",
    "start_difficulty",
    "keepalive_s",
    "verdict_s",
    "limits.authorize_s",
    "limits.idle_s",
    "limits.line_s",
    "limits.bad_shares_s",
    "limits.shares_per_s",
    "limits.cost",
    "limits.workers",
    "limits.parked_sessions",
    "session_s",
    "shown_shares_per_minute",
)
"""Those that are taken over while the daemon runs: the first by all, the others by miners to come."""
UPSTREAM = "proxy"
LISTENER = "listener"
_DRAIN_S = 2.0


async def service(daemon: Daemon[TranslatorSettings, MinerSide]) -> None:
    """Serve until the daemon stops; raises OperatorError for what a person can mend."""
    config, proxy = daemon.config, daemon.shared.proxy
    assert proxy is not None, "the configuration was reviewed"
    catalogue = MINING.with_messages(*MINING_MESSAGES)
    frame_limits = FrameLimits(catalogue)
    readiness = daemon.readiness
    readiness.declare(UPSTREAM, "not connected yet")
    readiness.declare(LISTENER)

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
    )
    daemon.metrics.register(TranslatorMetrics(translator))
    by_name = WorkerMetrics(
        "hashpool_translator", translator.workers, time.monotonic, config.limits.metric_names
    )
    daemon.metrics.register(by_name)
    Overview(translator, client, readiness, daemon.show_peer).serve(daemon.api)
    server_metrics = ServerMetrics(daemon.metrics, "sv1")
    identity = _identity(daemon)
    servers = [
        line_connection.serve(
            address,
            partial(translator.serve, port_class=port_class),
            setting=setting,
            metrics=server_metrics,
            line_limit=config.limits.line_bytes,
            server_limits=ServerLimits.of(config.limits),
            stream_limits=StreamLimits.of(config.limits),
            door=Door(identity if tls is not False else None, must_encrypt=bool(tls)),
        )
        for setting, address, port_class, tls in _ports(config)
    ]
    _follow_configuration(daemon, bans, servers, translator)
    daemon.reloads.on(["limits.metric_names"], lambda it, _: setattr(by_name, "most", it.limits.metric_names))
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


def _follow_configuration(
    daemon: Daemon[TranslatorSettings, MinerSide],
    bans: BanList,
    servers: Sequence[PeerServer[ServedLines]],
    translator: Translator,
) -> None:
    """What listeners and miners take over while the daemon runs."""

    def take_over(config: TranslatorSettings, shared: MinerSide) -> None:
        for server in servers:
            server.limits = ServerLimits.of(config.limits)
        translator.bind(_terms(config, shared), _session_limits(config))
        translator.keep_sessions(config.session_s, config.limits.parked_sessions)

    watch_over(bans, servers)
    bans.changed.append(translator.cut_barred)
    daemon.reloads.on([*SERVER_LIMITS, *MINER_SETTINGS], take_over)


def _terms(config: TranslatorSettings, shared: MinerSide) -> LodgingTerms:
    return LodgingTerms(config.start_difficulty, config.verdict_s, shared.hold_s)


def _ports(config: TranslatorSettings) -> Iterator[tuple[str, Address, str | None, bool | None]]:
    """Each port's setting, address and class of firmware, and whether its miners must speak TLS."""
    yield "listen_address", config.listen_address, config.firmware, None
    for index, port in enumerate(config.ports):
        yield f"ports.{index}.listen_address", port.listen_address, port.firmware, port.tls


def _identity(daemon: Daemon[TranslatorSettings, MinerSide]) -> TlsIdentity | None:
    """The certificate for miners that speak TLS, read anew on SIGHUP; raises TlsUnusable."""
    files = daemon.config.tls
    if files is None:
        return None
    identity = TlsIdentity(
        daemon.resolve(files.certificate),
        daemon.resolve(files.key),
        metrics=TlsMetrics(daemon.metrics, "sv1"),
    )

    def read_anew(config: TranslatorSettings, _shared: MinerSide) -> Callable[[], None]:
        wanted = config.tls or files
        return identity.prepare(daemon.resolve(wanted.certificate), daemon.resolve(wanted.key))

    daemon.reloads.prepare(["tls.certificate", "tls.key"], read_anew, always=True)
    return identity


def examine(config: TranslatorSettings, find: Callable[[Path], Path]) -> None:
    """Look at the ban list, and at the certificate, if one is named; raises OperatorError."""
    examine_bans(config, find)
    if config.tls is not None:
        metrics = TlsMetrics(CollectorRegistry(), "sv1")
        TlsIdentity(find(config.tls.certificate), find(config.tls.key), metrics=metrics)


def _session_limits(config: TranslatorSettings) -> SessionLimits:
    return SessionLimits.of(
        config.limits,
        keepalive_s=config.keepalive_s,
        verdict_s=config.verdict_s,
        own_shares_per_minute=config.shown_shares_per_minute,
    )
