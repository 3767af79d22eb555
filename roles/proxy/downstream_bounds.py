"""How much one connection of a miner, or of a translator, may take of the proxy."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DownstreamBounds:
    """Channels of one connection, open requests that wait, its shares a second; and in seconds how long an
    open request, the set-up and a connection without a channel may take.
    """

    channels: int = 16_384
    open_requests: int = 1_024
    shares_per_s: float = 5_000.0
    opening_s: float = 5.0
    setup_s: float = 10.0
    idle_s: float = 3_600.0
