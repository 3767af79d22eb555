"""Whom the operator of a listener turns away."""

from pydantic import Field

from shared_config.settings import Settings
from shared_config.values import FilePath, IpNetwork


class BanSettings(Settings):
    """Hosts and miners that are turned away; read again on SIGHUP."""

    hosts: tuple[IpNetwork, ...] = Field(default=(), strict=False, max_length=10_000)
    """Addresses and networks."""
    names: tuple[str, ...] = Field(default=(), strict=False, max_length=10_000)
    """User names: the whole, or what precedes the first full stop, for all workers of it; or locking keys."""
    file: FilePath | None = None
    """More of both, one in a line; what follows a # is for people."""
