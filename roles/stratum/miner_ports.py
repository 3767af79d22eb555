"""The ports of a server for SV1 miners: each with its class of firmware, and TLS where it is wanted."""

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final, Protocol

from prometheus_client import CollectorRegistry

from roles.runtime import line_connection
from roles.runtime.ban_list import BanList, examine_bans, watch_over
from roles.runtime.daemon import Daemon
from roles.runtime.line_connection import Door, LineConnection, ServedLines
from roles.runtime.peer_server import SERVER_LIMITS, PeerServer, ServerLimits, ServerMetrics
from roles.runtime.peer_stream import StreamLimits
from roles.runtime.tls_identity import TlsIdentity, TlsMetrics
from roles.stratum.miner_session import SessionLimits
from shared_config.address import Address
from shared_config.sv1_server import Sv1ServerSettings

__all__ = ["MINER_SETTINGS", "Serve", "examine_ports", "open_ports", "session_limits"]

MINER_SETTINGS: Final = (
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
)
"""Those that a reception takes over while the daemon runs."""


class Serve(Protocol):
    """Serves one connection to its end, on a port for any or for one class of firmware."""

    def __call__(self, connection: LineConnection, port_class: str | None = None) -> Awaitable[None]: ...


def open_ports(daemon: Daemon[Any, Any], serve: Serve, bans: BanList) -> list[PeerServer[ServedLines]]:
    """A server for each port of a daemon whose configuration is a Sv1ServerSettings; raises TlsUnusable.

    They follow the configuration and the ban list from now on; the caller runs them.
    """
    config: Sv1ServerSettings = daemon.config
    metrics, identity = ServerMetrics(daemon.metrics, "sv1"), _identity(daemon)
    servers = [
        line_connection.serve(
            address,
            _for(serve, port_class),
            setting=setting,
            metrics=metrics,
            line_limit=config.limits.line_bytes,
            server_limits=ServerLimits.of(config.limits),
            stream_limits=StreamLimits.of(config.limits),
            door=Door(identity if tls is not False else None, must_encrypt=bool(tls)),
        )
        for setting, address, port_class, tls in _ports(config)
    ]

    def take_over(config: Sv1ServerSettings, _shared: object) -> None:
        for server in servers:
            server.limits = ServerLimits.of(config.limits)

    watch_over(bans, servers)
    daemon.reloads.on(SERVER_LIMITS, take_over)
    return servers


def examine_ports(config: Sv1ServerSettings, find: Callable[[Path], Path]) -> None:
    """Look at the ban list, and at the certificate, if one is named; raises OperatorError."""
    examine_bans(config, find)
    if config.tls is not None:
        metrics = TlsMetrics(CollectorRegistry(), "sv1")
        TlsIdentity(find(config.tls.certificate), find(config.tls.key), metrics=metrics)


def session_limits(config: Sv1ServerSettings, own_shares_per_minute: float) -> SessionLimits:
    """Bounds on the sessions of a configuration."""
    return SessionLimits.of(
        config.limits,
        keepalive_s=config.keepalive_s,
        verdict_s=config.verdict_s,
        own_shares_per_minute=own_shares_per_minute,
    )


def _for(serve: Serve, port_class: str | None) -> Callable[[LineConnection], Awaitable[None]]:
    return lambda connection: serve(connection, port_class=port_class)


def _ports(config: Sv1ServerSettings) -> Iterator[tuple[str, Address, str | None, bool | None]]:
    """Each port's setting, address and class of firmware, and whether its miners must speak TLS."""
    yield "listen_address", config.listen_address, config.firmware, None
    for index, port in enumerate(config.ports):
        yield f"ports.{index}.listen_address", port.listen_address, port.firmware, port.tls


def _identity(daemon: Daemon[Any, Any]) -> TlsIdentity | None:
    """The certificate for miners that speak TLS, read anew on SIGHUP; raises TlsUnusable."""
    files = daemon.config.tls
    if files is None:
        return None
    identity = TlsIdentity(
        daemon.resolve(files.certificate),
        daemon.resolve(files.key),
        metrics=TlsMetrics(daemon.metrics, "sv1"),
    )

    def read_anew(config: Sv1ServerSettings, _shared: object) -> Callable[[], None]:
        wanted = config.tls or files
        return identity.prepare(daemon.resolve(wanted.certificate), daemon.resolve(wanted.key))

    daemon.reloads.prepare(["tls.certificate", "tls.key"], read_anew, always=True)
    return identity
