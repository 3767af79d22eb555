"""What both instances are put together of: ports, relay, trunks, figures and pages."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from prometheus_client import Gauge

from protocols.translation.slicing import Slicing
from roles.runtime.ban_list import open_bans
from roles.runtime.daemon import Daemon
from roles.runtime.line_connection import ServedLines
from roles.runtime.peer_server import PeerServer
from roles.stratum.lodger import LodgingTerms
from roles.stratum.miner_ports import MINER_SETTINGS, open_ports, session_limits
from roles.stratum.trunks import Trunks
from roles.stratum.worker_metrics import WorkerMetrics
from roles.sv1_proxy.accounts import Name
from roles.sv1_proxy.guest import Guest
from roles.sv1_proxy.metrics import PREFIX, RelayMetrics
from roles.sv1_proxy.pages import InstancePages
from roles.sv1_proxy.relay import Make, Relay
from roles.sv1_proxy.upstreams import open_trunks
from shared_config.sv1_upstream import Sv1PoolSettings, Sv1ProxySettings

__all__ = ["LISTENER", "UPSTREAM", "Instance", "Side", "assemble"]

UPSTREAM: Final = "upstream"
LISTENER: Final = "listener"
DRAIN_S: Final = 2.0

_log = logging.getLogger(__name__)

G = TypeVar("G", bound=Guest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Side(Generic[G]):
    """What the instances differ in: their miners; who we are at a pool, whether that gives ehash; how long
    miners are held by a configuration and its shared file, and how many shares a minute they show at least;
    `settings` are those that these are read from.
    """

    make: Make[G]
    name_at: Callable[[Sv1PoolSettings], Name]
    gives_ehash: Callable[[str], bool]
    hold_s: Callable[[Any, Any], float | None]
    own_shares_per_minute: Callable[[Any], float]
    settings: tuple[str, ...]
    earned: Callable[[G], int | None] = lambda _: None
    """What a miner's key has earned, where the wallet has it."""


@dataclass(slots=True)
class Instance(Generic[G]):
    """One of them, ready to run."""

    relay: Relay[G]
    trunks: Trunks
    pages: InstancePages
    servers: Sequence[PeerServer[ServedLines]]

    async def run(self, daemon: Daemon[Any, Any], *parts: Coroutine[Any, Any, None]) -> None:
        """Serve, beside other parts, until the daemon stops; verdicts under way are waited for."""
        async with asyncio.TaskGroup() as group:
            mining = [group.create_task(part) for part in (*parts, self.trunks.run())]
            listening = [group.create_task(server.run()) for server in self.servers]
            daemon.readiness.met(LISTENER)
            await daemon.stopping.wait()
            await self.relay.drain(DRAIN_S)
            self.relay.close()
            for task in listening:
                task.cancel()
            await asyncio.wait(listening)
            for task in mining:
                task.cancel()


def assemble(daemon: Daemon[Any, Any], side: Side[G]) -> Instance[G]:
    """An instance by its configuration; raises OperatorError."""
    config: Sv1ProxySettings = daemon.config
    daemon.readiness.declare(UPSTREAM, "not connected yet")
    daemon.readiness.declare(LISTENER)
    bans = open_bans(daemon, daemon.metrics)
    slices = config.slices
    relay: Relay[G] = Relay(
        side.make,
        slicing=Slicing(slices.twelve_and_more, slices.eight_to_eleven, slices.four_to_seven),
        terms=_terms(side, config, daemon.shared),
        limits=session_limits(config, side.own_shares_per_minute(config)),
        bans=bans,
        remembered=config.limits.remembered_figures,
        session_s=config.session_s,
        parked_sessions=config.limits.parked_sessions,
    )
    trunks = relay.trunks = _trunks(daemon, side, relay)
    daemon.metrics.register(RelayMetrics(relay))
    by_name = WorkerMetrics(PREFIX, relay.workers, time.monotonic, config.limits.metric_names)
    daemon.metrics.register(by_name)
    pages = InstancePages(
        relay,
        trunks,
        daemon.readiness,
        daemon.show_peer,
        gives_ehash=side.gives_ehash,
        earned=side.earned,
    )
    servers = open_ports(daemon, relay.serve, bans)

    def take_over(config: Sv1ProxySettings, shared: Any) -> None:
        by_name.most = config.limits.metric_names
        relay.bind(_terms(side, config, shared), session_limits(config, side.own_shares_per_minute(config)))
        relay.keep_sessions(config.session_s, config.limits.parked_sessions)
        trunks.failback(config.upstream.failback_s)

    bans.changed.append(relay.cut_barred)
    daemon.reloads.on(
        [*MINER_SETTINGS, "limits.metric_names", "upstream.failback_s", *side.settings], take_over
    )
    return Instance(relay, trunks, pages, servers)


def _trunks(daemon: Daemon[Any, Any], side: Side[G], relay: Relay[G]) -> Trunks:
    config: Sv1ProxySettings = daemon.config
    tokenless = Gauge(
        f"{PREFIX}_without_tokens",
        "1 while the pool that is mined at gives no ehash.",
        registry=daemon.metrics,
    )
    trunks: Trunks

    def changed(connected: bool) -> None:
        gives_ehash = connected and side.gives_ehash(trunks.upstream)
        tokenless.set(connected and not gives_ehash)
        if not connected:
            daemon.readiness.unmet(UPSTREAM, trunks.failure or "the connection was lost")
            return
        daemon.readiness.met(UPSTREAM)
        daemon.readiness.note(UPSTREAM, _note(trunks, gives_ehash=gives_ehash))

    def account(pool: Sv1PoolSettings) -> tuple[str, str]:
        name = side.name_at(pool)
        return name.user, name.password

    trunks = open_trunks(
        config, account, relay, registry=daemon.metrics, find=daemon.resolve, on_change=changed
    )
    return trunks


def _note(trunks: Trunks, *, gives_ehash: bool) -> str:
    """What stands beside "ready": which pool of several it is, and that it gives no tokens."""
    told = []
    if len(trunks.upstreams) > 1:
        told.append(f"mining at {trunks.upstream}")
    if not gives_ehash:
        told.append(f"{trunks.upstream} gives no ehash")
    for better in trunks.upstreams:
        if better.name == trunks.upstream:
            break
        told.append(f"{better.name}: {better.failure}")
    return "; ".join(told)


def _terms(side: Side[G], config: Sv1ProxySettings, shared: Any) -> LodgingTerms:
    return LodgingTerms(config.start_difficulty, config.verdict_s, side.hold_s(config, shared))
