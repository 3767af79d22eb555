"""What every daemon has that serves SV1 miners behind an upstream."""

from collections.abc import Iterator
from typing import Any

from pydantic import Field

from shared_config.ban import BanSettings
from shared_config.settings import DaemonSettings, Finding
from shared_config.sv1_listener import FirmwareClass, LineLimits, PortSettings, TlsSettings
from shared_config.values import ListenAddress


class Sv1ServerSettings(DaemonSettings):
    """An SV1 server: where it listens, and how it treats who comes."""

    listen_address: ListenAddress
    firmware: FirmwareClass | None = None
    """What every miner of `listen_address` is taken for; without it, the name that it gives tells."""
    tls: TlsSettings | None = None
    """With it, miners may speak TLS on every port that does not say otherwise."""
    ports: tuple[PortSettings, ...] = Field(default=(), strict=False, max_length=16)
    start_difficulty: float | None = Field(default=None, gt=0, le=1e15)
    """In SV1's difficulty: what every miner starts from; without it, each class of firmware from its own."""
    verdict_s: float = Field(default=5.0, ge=0.1, le=60)
    """How long the pool's verdict on a share is waited for."""
    session_s: float = Field(default=180.0, ge=0, le=3_600)
    """How long a miner that names its former session gets its extranonce, work and difficulty back."""
    keepalive_s: float = Field(default=45.0, ge=10, le=60)
    """After so long without other work a miner gets the present one anew; some leave after 90 s."""
    limits: LineLimits = LineLimits()
    ban: BanSettings = BanSettings()

    def review(self, shared: Any) -> Iterator[Finding]:
        """Slowing comes before cutting, and a port with TLS needs a certificate."""
        del shared
        if self.limits.cost.hard_s <= self.limits.cost.soft_s:
            yield Finding("limits.cost.hard_s", "must be more than soft_s, where miners are slowed first")
        for place, port in enumerate(self.ports):
            if port.tls and self.tls is None:
                hint = "write [tls] with certificate and key"
                yield Finding(f"ports.{place}.tls", "needs a certificate, and there is none", hint)
