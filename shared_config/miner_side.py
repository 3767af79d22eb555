"""config/shared/miner.toml: what the daemons of the miner side agree on; nothing of the pool's is in it."""

from typing import ClassVar

from shared_config.settings import Settings, SharedSettings, Side
from shared_config.values import AuthorityKey, HttpUrl, PeerAddress, SecondsOrForever


class PoolPeerSettings(Settings):
    """The pool that the proxy mines at."""

    address: PeerAddress
    authority_key: AuthorityKey | None = None


class MintUrlSettings(Settings):
    """The mint that the wallet uses."""

    url: HttpUrl


class ProxyPeerSettings(Settings):
    """The proxy, for the translator and SV2 miners."""

    address: PeerAddress
    authority_key: AuthorityKey | None = None


class MinerSide(SharedSettings):
    """The shared file of the miner side."""

    side: ClassVar[Side] = "miner"
    obsolete: ClassVar = {
        "network": "the network is the pool's; name the pool in [pool] and the proxy in [proxy]",
        "ehash": "amounts are the pool's; the miner side needs no minimum_difficulty",
    }

    hold_s: SecondsOrForever = 60.0
    """How long miners are kept when everything upstream is lost; None keeps them for ever."""
    pool: PoolPeerSettings
    mint: MintUrlSettings
    proxy: ProxyPeerSettings
