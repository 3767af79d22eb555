"""The pools that the proxy mines at, in order, and what people are told of the one that is mined at."""

import logging
from functools import partial

from prometheus_client import Gauge

from protocols.ehash.messages import EXTENSION
from protocols.mining.lane import Relay
from protocols.sv2.limits import FrameLimits
from roles.proxy.attribution import Account
from roles.proxy.downstream import CATALOGUE
from roles.proxy.watch import UpstreamWatch
from roles.runtime.daemon import Daemon
from roles.runtime.sv2_connection import connect
from roles.stratum.client_metrics import ClientMetrics
from roles.stratum.mining_client import ClientTiming, MiningClient, Server
from roles.stratum.mining_session import SessionTiming
from roles.stratum.mining_setup import ClientIdentity
from roles.stratum.upstream_meters import UpstreamMeters
from shared_config.miner_side import MinerSide, UpstreamSettings
from shared_config.proxy import ProxySettings

log = logging.getLogger(__name__)

SUBMISSIONS = 1_024
ALL_SUBMISSIONS = 16_384
"""Shares of one upstream channel that wait for the pool's word: of one miner, or of all together."""


def open_upstreams(
    daemon: Daemon[ProxySettings, MinerSide], watch: UpstreamWatch, relay: Relay | None
) -> MiningClient:
    """The client of all pools of the configuration; `watch` hears when one is there and when none is. Shares
    pass through the lanes of a `relay`, if there is one.
    """
    tokenless = Gauge(
        "hashpool_proxy_without_tokens",
        "1 while the pool that is mined at knows no ehash.",
        registry=daemon.metrics,
    )
    client: MiningClient

    def changed(connected: bool) -> None:
        is_tokenless = connected and EXTENSION not in client.extensions
        tokenless.set(is_tokenless)
        if is_tokenless:
            log.warning("mining without tokens: the pool knows no ehash", extra={"pool": client.upstream})
        watch.changed(connected, client.failure, _note(client) if connected else "")

    client = MiningClient(
        *map(_server, daemon.shared.pools),
        extensions=(EXTENSION,),
        catalogue=CATALOGUE,
        metrics=ClientMetrics(daemon.metrics),
        meters=UpstreamMeters(daemon.metrics),
        timing=ClientTiming(
            failback=daemon.config.failback_s,
            session=SessionTiming(stall=daemon.config.stall_s, work=daemon.config.work_s),
        ),
        on_change=changed,
        channel_limit=daemon.config.limits.upstream_channels,
        submission_limit=SUBMISSIONS if daemon.config.mode == "per_miner" else ALL_SUBMISSIONS,
        relay=relay,
    )
    return client


def _server(pool: UpstreamSettings) -> Server:
    return Server(
        partial(connect, pool.address, pool.authority_key, limit=FrameLimits(CATALOGUE)),
        ClientIdentity(pool.address.host, pool.address.port, device="proxy"),
        pool.label,
        Account(pool.user_identity).adapt,
    )


def _note(client: MiningClient) -> str:
    """What stands beside "ready": which pool of several it is, and that it gives no tokens."""
    told = []
    if len(client.upstreams) > 1:
        told.append(f"mining at {client.upstream}")
    if EXTENSION not in client.extensions:
        told.append(f"without tokens, {client.upstream} knows no ehash")
    for better in client.upstreams:
        if better.name == client.upstream:
            break
        told.append(f"{better.name}: {better.failure}")
    return "; ".join(told)
