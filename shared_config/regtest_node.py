"""config/regtest_node.toml."""

from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from protocols.bitcoin.networks import Network
from shared_config.pool_side import PoolSide
from shared_config.settings import DaemonSettings, Finding, Side
from shared_config.values import ListenAddress


class RegtestNodeSettings(DaemonSettings):
    """The node of a development chain; its cookie is ``.cookie`` in its state directory."""

    side: ClassVar[Side] = "pool"

    rpc_address: ListenAddress
    body_bytes: int = Field(default=1 << 25, ge=1 << 16, le=1 << 28)
    """The longest request that is read; a block in hex has up to 8 MB."""
    body_s: float = Field(default=30.0, ge=1, le=600)
    """How long a request may take to arrive."""
    connections: int = Field(default=256, ge=1, le=10_000)
    """Of RPC clients."""
    long_polls: int = Field(default=64, ge=1, le=10_000)
    """Calls of getblocktemplate that wait at once."""
    work_queue: int = Field(default=64, ge=1, le=10_000)
    """Requests under way, long polls apart; more are answered with 503."""
    checkpoint_blocks: int = Field(default=1_000, ge=1, le=1_000_000)
    """Blocks after which the chain's indexes are written; a crash costs the time to take so many again."""
    mempool_transactions: int = Field(default=5_000, ge=0, le=1_000_000)
    """Further ones are refused."""

    def review(self, shared: PoolSide) -> Iterator[Finding]:
        """It serves regtest only."""
        if shared.network is not Network.REGTEST:
            yield Finding(
                "network", "must be regtest for regtest_node", "use bitcoind elsewhere", shared=True
            )
