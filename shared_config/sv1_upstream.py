"""What both instances of sv1_proxy have: SV1 pools upstream, and SV1 miners that share their extranonce."""

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field

from shared_config.settings import Finding, Settings
from shared_config.sv1_pools import Sv1PoolSettings, Sv1UpstreamLimits, review_pools
from shared_config.sv1_server import Sv1ServerSettings


class SliceSettings(Settings):
    """How the extranonce2 of a pool is shared out: the bytes that tell miners apart, the rest they roll."""

    twelve_and_more: Literal[2, 3, 4] = 4
    """Of an extranonce2 of 12 bytes or more, of which miners roll 8."""
    eight_to_eleven: Literal[2, 3, 4] = 4
    """Miners roll 4; with 4 bytes there are 2^32 miners on a connection, with 2 there are 65,536."""
    four_to_seven: Literal[1, 2] = 2
    """Miners roll 4 of 6 and 7 bytes, 2 of 4 and 5, which some hardware refuses."""


class Sv1ProxySettings(Sv1ServerSettings):
    """What both instances of sv1_proxy have."""

    pools: tuple[Sv1PoolSettings, ...] = Field(default=(), strict=False, max_length=16)
    """In order of preference: each is turned to while those before it are away."""
    slices: SliceSettings = SliceSettings()
    upstream: Sv1UpstreamLimits = Sv1UpstreamLimits()

    def review(self, shared: Any) -> Iterator[Finding]:
        """There is a pool to mine at, and none stands there twice."""
        yield from super().review(shared)
        yield from review_pools("pools", self.pools)
