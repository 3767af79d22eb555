"""config/translator.toml."""

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from shared_config.ban import BanSettings
from shared_config.miner_side import MinerSide
from shared_config.settings import DaemonSettings, Finding, Side, needs_key
from shared_config.sv1_listener import FirmwareClass, LineLimits, PortSettings, TlsSettings
from shared_config.values import ListenAddress


class TranslatorSettings(DaemonSettings):
    """The translator: SV1 miners on one side, the proxy on the other."""

    side: ClassVar[Side] = "miner"
    obsolete: ClassVar = {
        "downstream_address": "write listen_address with host and port",
        "downstream_port": "write listen_address with host and port",
        "downstream_extranonce2_size": "write extranonce2_size",
        "upstreams": "write [proxy] in the shared file",
        "wallet": "the proxy holds the wallet",
        "mint": "the proxy holds the wallet",
        "monitoring_address": "write health_address",
        "user_identity": "miners name themselves by their user name",
    }

    listen_address: ListenAddress
    extranonce2_size: Literal[4, 8] = 8
    """Other sizes trip one firmware or another."""
    firmware: FirmwareClass | None = None
    """What every miner of `listen_address` is taken for; without it, the name that it gives tells."""
    tls: TlsSettings | None = None
    """With it, miners may speak TLS on every port that does not say otherwise."""
    ports: tuple[PortSettings, ...] = Field(default=(), strict=False, max_length=16)
    start_difficulty: float | None = Field(default=None, gt=0, le=1e15)
    """In SV1's difficulty: what every miner starts from; without it, each class of firmware from its own."""
    shown_shares_per_minute: float = Field(default=2.0, ge=0, le=600)
    """Of a miner from which the pool asks for fewer: it is told an easier difficulty, never a harder one, and
    what is good for that alone is answered here and earns nothing. With 0 it is told the pool's.
    """
    verdict_s: float = Field(default=5.0, ge=0.1, le=60)
    """How long the pool's verdict on a share is waited for."""
    session_s: float = Field(default=180.0, ge=0, le=3_600)
    """How long a miner that names its former session gets its extranonce, work and difficulty back."""
    gather_ms: float = Field(default=3.0, ge=0, le=100)
    """How long a share waits for others to go up with: one write for several costs both ends less."""
    keepalive_s: float = Field(default=45.0, ge=10, le=60)
    """After so long without other work a miner gets the present one anew; some leave after 90 s."""
    limits: LineLimits = LineLimits()
    ban: BanSettings = BanSettings()

    def review(self, shared: MinerSide) -> Iterator[Finding]:
        """A proxy on another machine must be known by its key; a port with TLS needs a certificate."""
        if needs_key(shared.proxy.address, shared.proxy.authority_key):
            reason = "is missing, and the proxy is not on this machine"
            yield Finding("proxy.authority_key", reason, "hashpool keys show proxy", wanted=True, shared=True)
        if self.limits.cost.hard_s <= self.limits.cost.soft_s:
            yield Finding("limits.cost.hard_s", "must be more than soft_s, where miners are slowed first")
        for place, port in enumerate(self.ports):
            if port.tls and self.tls is None:
                hint = "write [tls] with certificate and key"
                yield Finding(f"ports.{place}.tls", "needs a certificate, and there is none", hint)
