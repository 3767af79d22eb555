"""config/sv1_proxy_miner.toml."""

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from shared_config.miner_side import MinerSide
from shared_config.proxy import WalletSettings
from shared_config.settings import Finding, Side
from shared_config.sv1_upstream import Sv1ProxySettings
from shared_config.wallet_api import WalletApiSettings


class Sv1ProxyMinerSettings(Sv1ProxySettings):
    """sv1_proxy, miner-side instance: SV1 miners at an SV1 pool, and the wallet that holds their ehash."""

    side: ClassVar[Side] = "miner"

    instance: Literal["miner"]
    """Which of the two instances of sv1_proxy this is."""
    default_identity: str = Field(default="miner", min_length=1, max_length=100)
    """Of a miner that names none."""
    identities: int = Field(default=10_000, ge=1, le=1_000_000)
    """Most names that get a key of their own; beyond, miners are refused."""
    shown_shares_per_minute: float = Field(default=2.0, ge=0, le=600)
    """Of a miner from which the pool asks for fewer: it is told an easier difficulty, never a harder one, and
    what is good for that alone is answered here and earns nothing. With 0 it is told the pool's.
    """
    news_s: float = Field(default=2.0, ge=0.1, le=3_600)
    """How long after a share the mint is asked what the miner has earned: no SV1 pool tells of it."""
    wallet: WalletSettings = WalletSettings()
    wallet_api: WalletApiSettings = WalletApiSettings()

    def review(self, shared: MinerSide) -> Iterator[Finding]:
        """The wallet is asked on this machine only."""
        yield from super().review(shared)
        yield from self.wallet_api.review()
