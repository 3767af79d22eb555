"""config/sv1_proxy_pool.toml."""

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from shared_config.pool import VardiffSettings, check_mint
from shared_config.pool_side import PoolSide
from shared_config.settings import Finding, Settings, Side
from shared_config.sv1_listener import LineLimits
from shared_config.sv1_upstream import Sv1ProxySettings
from shared_config.values import SecondsOrForever


class JobLogSettings(Settings):
    """What is kept of the pool's jobs, to prove later what was mined; nothing is kept beyond either bound."""

    days: float = Field(default=400.0, gt=0, le=36_500)
    """Older jobs and verdicts are forgotten."""
    megabytes: int = Field(default=4_096, ge=1, le=1 << 24)
    """Beyond, the oldest are forgotten."""


class CreditingLimits(LineLimits):
    """Bounds on miners, and on the ledger; a miner-side instance with all its miners is one connection."""

    shares_per_s: int = Field(default=5_000, ge=1, le=1_000_000)
    workers: int = Field(default=10_000, ge=1, le=100_000)
    open_submits: int = Field(default=10_000, ge=1, le=100_000)
    remembered_difficulties: int = Field(default=16_384, ge=0, le=1_000_000)
    """Miners, by host and user, whose difficulty is remembered for when they come back."""
    disk_reserve_bytes: int = Field(default=256 << 20, ge=0, le=1 << 50)
    """Of the ledger's disk; with less free, new shares are refused until there is room again."""


class Sv1ProxyPoolSettings(Sv1ProxySettings):
    """sv1_proxy, pool-side instance: mines at any SV1 pool, and credits each share as ehash."""

    side: ClassVar[Side] = "pool"

    instance: Literal["pool"]
    """Which of the two instances of sv1_proxy this is."""
    credit: Literal["local", "upstream-verdict"] = "local"
    """What counts for a share that goes to the pool, too: our own verdict, or the pool's, so that a share
    which the pool refuses or says nothing of earns nothing. All others are judged here in either case.
    """
    handover_ms: float = Field(default=100.0, ge=0, le=10_000)
    """How long shares that are stored wait for others to be handed to the mint with."""
    away_s: SecondsOrForever = 60.0
    """How long miners are kept when all pools are lost; None keeps them for ever."""
    vardiff: VardiffSettings = VardiffSettings()
    """Of each miner; never more than the pool asks for."""
    job_log: JobLogSettings = JobLogSettings()
    limits: CreditingLimits = CreditingLimits()

    def review(self, shared: PoolSide) -> Iterator[Finding]:
        """We have an account at every pool, and know the mint by its key."""
        yield from super().review(shared)
        for place, pool in enumerate(self.pools):
            if pool.user is None:
                reason = "is missing: the account at the pool that all shares are for"
                yield Finding(f"pools.{place}.user", reason, wanted=True)
            elif "{worker}" in pool.user:
                reason = "is one account for all; miners' names stay here"
                yield Finding(f"pools.{place}.user", reason, "leave {worker} out")
        yield from check_mint(shared)
