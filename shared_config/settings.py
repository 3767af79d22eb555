"""Bases of the configuration models: strict, frozen, and able to review themselves as a whole."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared_config.address import Address
from shared_config.values import ListenAddress

Side = Literal["pool", "miner"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a review found: a dotted key, why it cannot stay, and the cure.

    ``wanted`` tells a value that only the operator can fill in, like a peer's public key, from a wrong one;
    ``shared`` a key of the shared file from one of the daemon's own.
    """

    key: str
    reason: str
    hint: str = ""
    wanted: bool = False
    shared: bool = False


class Settings(BaseModel):
    """One table of a configuration file."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, hide_input_in_errors=True
    )

    obsolete: ClassVar[dict[str, str]] = {}
    """Keys that once were or that people bring from elsewhere, and what to write instead."""


class SharedSettings(Settings):
    """The file that all daemons of one side share."""

    side: ClassVar[Side]

    def review(self) -> Iterator[Finding]:
        """What is wrong with the file as a whole."""
        yield from ()


class LogSettings(Settings):
    """How a daemon logs."""

    format: Literal["logfmt", "json"] = "logfmt"
    """Of the lines on stderr."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is said."""


class DaemonSettings(Settings):
    """The own file of a daemon."""

    side: ClassVar[Side]
    credentials: ClassVar[dict[str, str]] = {}
    """Keys that name a secret's file, and the systemd credential that stands for it when they are absent."""

    health_address: ListenAddress
    """Where /health, /ready, /metrics and the JSON API are; nobody is asked for a password there."""
    drain_s: float = Field(default=10.0, ge=0, le=300)
    """How long a daemon that was told to stop may take to finish what it has begun."""
    log: LogSettings = LogSettings()
    peer_addresses: Literal["full", "subnet", "hidden"] = "full"
    """How much of miners' addresses logs and API show; a subnet is a /24 of IPv4 or a /64 of IPv6."""

    def review(self, shared: Any) -> Iterator[Finding]:
        """What is wrong with the file as a whole, given the valid shared file of its side."""
        del shared
        yield from ()


def needs_key(address: Address, key: bytes | None) -> bool:
    """Whether a peer must be known by its authority key: only on this machine may it be unknown."""
    return key is None and not address.is_loopback
