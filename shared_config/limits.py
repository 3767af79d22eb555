"""Bounds on what peers of a listener can make grow."""

from pydantic import Field

from shared_config.settings import Settings


class ConnectionLimits(Settings):
    """Bounds on the connections of a listener."""

    connections: int = Field(default=10_000, ge=1, le=1_000_000)
    """All together."""
    connections_per_host: int = Field(default=1_000, ge=1, le=1_000_000)
    """Of one address."""
    connections_per_subnet: int = Field(default=4_000, ge=1, le=1_000_000)
    """A /24 of IPv4 or a /64 of IPv6."""
    handshake_s: float = Field(default=10.0, ge=0.1, le=120)
    """From the connection to the end of its set-up."""
    handshakes_at_once: int = Field(default=64, ge=1, le=10_000)
    """Beyond, whoever has been at it for a second makes room."""
    send_buffer_bytes: int = Field(default=1 << 20, ge=1 << 16, le=1 << 28)
    """A peer that lets more pile up is cut off."""
    send_stall_s: float = Field(default=30.0, ge=0.1, le=600)
    """And so is one that takes nothing for so long while there is something for it."""


class MiningLimits(ConnectionLimits):
    """Bounds on the connections of miners."""

    channels_per_connection: int = Field(default=16_384, ge=1, le=65_535)
    """Further ones are refused."""
    idle_s: float = Field(default=300.0, ge=0.1, le=86_400)
    """How long a connection may stay without a channel."""
    shares_per_s: int = Field(default=5_000, ge=1, le=1_000_000)
    """Of one connection, over ten seconds; beyond, it is not read from for a while.

    For a proxy of many miners: 10,000 with 6 shares a minute each send 1,000 a second, and may open all of
    their channels at once, each of which counts as 5 shares.
    """
    channel_shares_per_s: int = Field(default=100, ge=1, le=1_000_000)
    """Of one channel, over ten seconds; those beyond are refused without a look at them."""
