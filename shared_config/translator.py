"""config/translator.toml."""

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from shared_config.miner_side import MinerSide
from shared_config.settings import Finding, Side, needs_key
from shared_config.sv1_server import Sv1ServerSettings


class TranslatorSettings(Sv1ServerSettings):
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

    extranonce2_size: Literal[4, 8] = 8
    """Other sizes trip one firmware or another."""
    shown_shares_per_minute: float = Field(default=2.0, ge=0, le=600)
    """Of a miner from which the pool asks for fewer: it is told an easier difficulty, never a harder one, and
    what is good for that alone is answered here and earns nothing. With 0 it is told the pool's.
    """
    gather_ms: float = Field(default=6.0, ge=0, le=100)
    """How long a share waits for others to go up with: one write for several costs both ends less."""

    def review(self, shared: MinerSide) -> Iterator[Finding]:
        """A proxy on another machine must be known by its key."""
        yield from super().review(shared)
        if shared.proxy is None:
            yield Finding("proxy", "is missing: where the translator takes work from", shared=True)
        elif needs_key(shared.proxy.address, shared.proxy.authority_key):
            reason = "is missing, and the proxy is not on this machine"
            yield Finding("proxy.authority_key", reason, "hashpool keys show proxy", wanted=True, shared=True)
