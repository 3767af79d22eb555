"""config/template_provider.toml."""

from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from shared_config.limits import ConnectionLimits
from shared_config.pool_side import PoolSide
from shared_config.settings import DaemonSettings, Finding, Side
from shared_config.values import ListenAddress, PeerAddress


class TemplateProviderSettings(DaemonSettings):
    """The template provider: SV2 template distribution over a node's JSON-RPC."""

    side: ClassVar[Side] = "pool"
    credentials: ClassVar = {"shared.bitcoin.rpc_password_file": "bitcoin_rpc_password"}

    listen_address: ListenAddress
    certificate_validity_s: int = Field(default=86_400, ge=60, le=31_536_000)
    """Lifetime of the certificate that handshakes show; it is renewed after half of it."""
    fee_check_s: float = Field(default=10.0, ge=0.5, le=600)
    """How often the same tip's template is looked at for better fees."""
    fee_gain_sat: int = Field(default=1_000, ge=0, le=100_000_000)
    """A template that pays so much more is sent out before the tip changes."""
    stale_template_s: float = Field(default=10.0, ge=0, le=600)
    """How long templates of the tip before can still be solved and asked for."""
    zmq_block_address: PeerAddress | None = None
    """bitcoind's zmqpubhashblock, needs the zmq extra; the long poll works without."""
    limits: ConnectionLimits = ConnectionLimits(connections=64, connections_per_host=64)

    def review(self, shared: PoolSide) -> Iterator[Finding]:
        """There is a node."""
        yield from shared.needs_node()
