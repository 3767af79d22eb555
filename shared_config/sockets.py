"""Bounds on the mint's websocket, the table [sockets] of config/mint.toml."""

from pydantic import Field

from shared_config.settings import Settings


class SocketLimits(Settings):
    """How many may listen at /v1/ws, to how much, and how patiently."""

    sockets: int = Field(default=1_000, ge=0, le=1_000_000)
    """At once, of all wallets; 0 for no websocket at all."""
    sockets_per_address: int = Field(default=200, ge=1, le=1_000_000)
    """Of one address (the /64 of an IPv6 one). Some wallets open one for each thing they wait for, and leave
    it open.
    """
    spare_s: float = Field(default=5.0, ge=0, le=86_400)
    """How long a socket without a subscription is safe from giving its place to a new one."""
    subscriptions: int = Field(default=1_000, ge=1, le=100_000)
    """Of one socket."""
    filters: int = Field(default=1_000, ge=1, le=100_000)
    """Quotes or proofs that one subscription names."""
    objects: int = Field(default=2_000, ge=1, le=1_000_000)
    """Quotes and proofs that one socket listens to, all subscriptions together."""
    all_objects: int = Field(default=200_000, ge=1, le=100_000_000)
    """The same of all sockets; each takes about a kilobyte of memory."""
    message_bytes: int = Field(default=1 << 18, ge=1 << 10, le=1 << 24)
    """A longer message ends the socket."""
    objects_per_s: float = Field(default=500.0, gt=0, le=1_000_000)
    """Quotes and proofs of one address that are subscribed to; a message counts as one more. Beyond, its
    messages wait.
    """
    objects_at_once: int = Field(default=10_000, ge=1, le=10_000_000)
    """Of an address that has been silent for long."""
    ping_s: float = Field(default=30.0, ge=1, le=3_600)
    """Between pings; a wallet that does not answer for half as long is cut off."""
    idle_s: float = Field(default=600.0, ge=1, le=86_400)
    """How long a socket without a subscription may be silent."""
    poll_s: float = Field(default=1.0, ge=0.05, le=3_600)
    """Where processes share a PostgreSQL store: how often what others changed there is looked for."""
    send_s: float = Field(default=20.0, ge=0.1, le=600)
    """How long a wallet may leave a notice unread before it is cut off."""
