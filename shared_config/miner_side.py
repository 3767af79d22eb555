"""config/shared/miner.toml: what the daemons of the miner side agree on; nothing of the pool's is in it."""

from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from shared_config.settings import Finding, Settings, SharedSettings, Side
from shared_config.values import AuthorityKey, HttpUrl, PeerAddress, SecondsOrForever


class PoolPeerSettings(Settings):
    """The pool that the proxy mines at; sv1_proxy has its pools in its own file."""

    address: PeerAddress
    authority_key: AuthorityKey | None = None
    """By which the proxy knows it, from its operator."""


class UpstreamSettings(PoolPeerSettings):
    """A pool of several, the best first."""

    name: str = Field(default="", max_length=64)
    """For people and metrics; the address if it is empty."""
    user_identity: str = Field(default="", max_length=128)
    """Who we are at a pool that knows no ehash: its account or payout address. Miners' names follow a dot."""

    @property
    def label(self) -> str:
        """What it is called."""
        return self.name or str(self.address)


class MintUrlSettings(Settings):
    """The mint that the wallet uses."""

    url: HttpUrl


class ProxyPeerSettings(Settings):
    """The proxy, for the translator and SV2 miners."""

    address: PeerAddress
    authority_key: AuthorityKey | None = None
    """By which translators know it; it may be left out on one machine."""


class MinerSide(SharedSettings):
    """The shared file of the miner side."""

    side: ClassVar[Side] = "miner"
    obsolete: ClassVar = {
        "network": "the network is the pool's; name the pool in [pool] and the proxy in [proxy]",
        "ehash": "amounts are the pool's; the miner side needs no minimum_difficulty",
    }

    hold_s: SecondsOrForever = 60.0
    """How long miners are kept when everything upstream is lost; None keeps them for ever."""
    pool: PoolPeerSettings | None = None
    """The pool; with `upstreams` the first of them."""
    upstreams: tuple[UpstreamSettings, ...] = Field(default=(), strict=False, max_length=16)
    """Pools in order of preference: each is turned to while those before it are away."""
    mint: MintUrlSettings
    proxy: ProxyPeerSettings | None = None

    @property
    def pools(self) -> tuple[UpstreamSettings, ...]:
        """All pools, the best first."""
        if self.pool is None:
            return self.upstreams
        first = UpstreamSettings(address=self.pool.address, authority_key=self.pool.authority_key)
        return (first, *self.upstreams)

    def review(self) -> Iterator[Finding]:
        """No pool stands there twice."""
        labels = {} if self.pool is None else {str(self.pool.address): "pool"}
        addresses = dict(labels)
        for place, upstream in enumerate(self.upstreams):
            here = f"upstreams.{place}"
            if other := addresses.get(str(upstream.address)):
                yield Finding(f"{here}.address", f"is also that of {other}", shared=True)
            elif other := labels.get(upstream.label):
                yield Finding(f"{here}.name", f"is also that of {other}", shared=True)
            if not upstream.label.isprintable():
                yield Finding(f"{here}.name", "must be printable", shared=True)
            labels.setdefault(upstream.label, here)
            addresses.setdefault(str(upstream.address), here)
