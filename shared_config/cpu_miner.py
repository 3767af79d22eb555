"""config/cpu_miner.toml."""

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from shared_config.miner_side import MinerSide
from shared_config.settings import DaemonSettings, Finding, Side, needs_key
from shared_config.values import AuthorityKey, PeerAddress


class CpuMinerSettings(DaemonSettings):
    """A miner for development: SV1 at a translator or SV2 at a proxy or pool."""

    side: ClassVar[Side] = "miner"

    protocol: Literal["sv1", "sv2"] = "sv1"
    address: PeerAddress
    """The server that it mines at."""
    authority_key: AuthorityKey | None = None
    """Of the SV2 server."""
    channel: Literal["extended", "standard"] = "extended"
    """The kind of SV2 channel to open."""
    user: str = Field(default="cpu", min_length=1, max_length=100)
    """The user name or identity: a key with or without ``.worker``, or any name."""
    password: str = Field(default="x", max_length=200)
    """For SV1 servers; a proxy takes ``k=<key>`` from it."""
    processes: int = Field(default=1, ge=1, le=256)
    """So many compute hashes side by side."""
    hashes_per_s: int = Field(default=200_000, ge=1, le=10**12)
    """All processes together."""

    def review(self, shared: MinerSide) -> Iterator[Finding]:
        """A server on another machine must be known by its key."""
        proxy = shared.proxy
        key = self.authority_key or (
            proxy.authority_key if proxy is not None and self.address == proxy.address else None
        )
        if self.protocol == "sv2" and needs_key(self.address, key):
            yield Finding("authority_key", "is missing, and the server is not on this machine", wanted=True)
