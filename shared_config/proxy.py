"""config/proxy.toml."""

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from shared_config.ban import BanSettings
from shared_config.limits import MiningLimits
from shared_config.miner_side import MinerSide
from shared_config.settings import DaemonSettings, Finding, Settings, Side
from shared_config.values import ListenAddress, SecondsOrForever
from shared_config.wallet_api import WalletApiSettings


class WalletSettings(Settings):
    """How the wallet turns quotes into tokens."""

    batch_quotes: int = Field(default=50, ge=1, le=100)
    """Most quotes of one minting request."""
    batch_delay_ms: int = Field(default=250, ge=0, le=60_000)
    """How long the first quote of a batch waits for others."""
    recovery_s: float = Field(default=30.0, ge=1, le=86_400)
    """How often quotes that the pool did not tell of are looked for by key; of many keys 10 a second."""
    request_s: float = Field(default=15.0, ge=0.5, le=300)
    """How long an answer of the mint may take."""
    worker_metrics: int = Field(default=100, ge=0, le=10_000)
    """How many workers have metrics of their own, those that earned most; the others' are summed up."""


class AggregateSettings(Settings):
    """What miners are asked for in aggregated mode, where the pool sees all as one and cannot fit each.

    It only says how often each is heard of: shares that miss the pool's own target earn nothing, and are
    answered by the proxy.
    """

    shares_per_minute: float = Field(default=6.0, ge=0.1, le=6_000)
    """Of each miner; the proxy follows its hash rate."""
    floor_hashes: int = Field(default=1 << 16, ge=1, le=1 << 80)
    """The least work of a share: expected hashes."""


class EdgeLimits(MiningLimits):
    """Bounds on the connections of miners and translators."""

    # A translator whose miners are away for the night has no channel.
    idle_s: float = Field(default=86_400.0, ge=0.1, le=864_000)
    """A connection without channels that says nothing for so long is cut off."""
    open_requests: int = Field(default=1_024, ge=1, le=65_535)
    """Of one connection, that wait for the pool's answer; more are refused."""
    metric_names: int = Field(default=100, ge=0, le=10_000)
    """Workers that have metrics by name, those with most work; the others are one, with 0 none is told of."""
    remembered_figures: int = Field(default=2_000, ge=0, le=1_000_000)
    """Miners that have gone whose figures go on when they come back; each takes up to 4 KiB."""
    upstream_channels: int = Field(default=16_384, ge=1, le=65_535)
    """Of all miners together, at the pool, which gives one connection so many by default."""


class ProxySettings(DaemonSettings):
    """The proxy: SV2 to the miners, SV2 to the pool, and the wallet that holds their ehash."""

    side: ClassVar[Side] = "miner"
    obsolete: ClassVar = {
        "locking_pubkey": "keys derive from the wallet's seed, one for each user identity",
        "upstreams": "write [pool] or [[upstreams]] in the shared file",
        "monitoring_address": "write health_address",
    }

    listen_address: ListenAddress
    mode: Literal["per_miner", "aggregated"] = "per_miner"
    """How miners appear upstream: each by a channel of its own, whose difficulty the pool sets and which any
    pool can tell apart; or all by one channel, which costs the pool and the link to it no more for a thousand
    miners than for one, and keeps to pools that give few channels."""
    aggregate: AggregateSettings = AggregateSettings()
    default_identity: str = Field(default="miner", min_length=1, max_length=100)
    """Of a miner that names none."""
    identities: int = Field(default=10_000, ge=1, le=1_000_000)
    """Most user identities that get a key of their own; beyond, channels are refused."""
    certificate_validity_s: int = Field(default=86_400, ge=60, le=31_536_000)
    """Lifetime of the certificate that handshakes show; it is renewed after half of it."""
    opening_s: float = Field(default=5.0, ge=0.1, le=60)
    """How long a miner's request for a channel waits for the pool's answer."""
    failback_s: SecondsOrForever = 120.0
    """How long a better pool has to be back until it is mined at again; None: not while another one lasts."""
    stall_s: float = Field(default=3.0, ge=0.5, le=60)
    """After so long without a word a pool is asked whether it lives, and left after as long again.

    Where there is another pool, it is also left when a share has waited for twice as long.
    """
    work_s: float = Field(default=10.0, ge=1, le=600)
    """How long a pool may open channels and give no work before another one is turned to."""
    wallet: WalletSettings = WalletSettings()
    wallet_api: WalletApiSettings = WalletApiSettings()
    limits: EdgeLimits = EdgeLimits()
    ban: BanSettings = BanSettings()

    def review(self, shared: MinerSide) -> Iterator[Finding]:
        """There is a pool to mine at, each must be known by its key, and the wallet asked on this machine
        only.
        """
        yield from self.wallet_api.review()
        if not shared.pools:
            reason = "is missing: there is no pool to mine at"
            yield Finding("pool", reason, "write [pool], or [[upstreams]] for several", shared=True)
        keys = [] if shared.pool is None else [("pool.authority_key", shared.pool.authority_key)]
        keys += [
            (f"upstreams.{place}.authority_key", upstream.authority_key)
            for place, upstream in enumerate(shared.upstreams)
        ]
        for key, value in keys:
            if value is None:
                reason = "is missing: the proxy mines at no pool that it does not know"
                yield Finding(key, reason, "ask the pool for it", wanted=True, shared=True)
